"""What a user's mistake looks like: one line on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from rootspace.errors import InputError

# click before 8.2 shows the help itself
_NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())

STOPPED = 130
"""The exit code of a run that Ctrl-C ended, as shells give it."""


class Group(click.Group):
    """A command group that ends in one line and an exit code whatever the user did wrong."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Callable[[], Any] = partial(super().main, args, *rest, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        _write_anything()
        try:
            result: Any = run()
        except _NO_ARGUMENTS as error:
            error.show()
            sys.exit(error.exit_code)
        except Exception as error:
            explained = explain(error)
            if explained is None:
                raise
            line, code = explained
            click.echo(" ".join(line.split()), err=True)
            sys.exit(code)
        sys.exit(result if isinstance(result, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of use, not of the alphabet


def explain(error: Exception) -> tuple[str, int] | None:
    """The line to print for an error and the exit code; None for a fault of the program, which keeps its traceback.

    >>> explain(InputError("no such folder"))
    ('Error: no such folder', 2)
    >>> explain(KeyError("a fault")) is None
    True
    """
    if isinstance(error, click.Abort):
        return "Stopped.", STOPPED
    if _is_a(error, "rootspace.train.interrupt", "Interrupted"):
        message = str(error)
        return message[:1].upper() + message[1:], STOPPED
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx is not None else "rootspace"
        message = error.format_message()
        return f"Error: {message}{'' if message.endswith(('.', '?')) else '.'} See '{where} --help'.", 2
    if isinstance(error, click.ClickException):
        return f"Error: {error.format_message()}", error.exit_code
    if isinstance(error, InputError) or _is_a(error, "rootspace.systems.spec", "SpecError"):
        return f"Error: {error}", 2
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"Error: {where}{error.strerror or error}", 2
    if isinstance(error, MemoryError) or out_of_memory(error):
        return "Error: out of memory; a smaller --batch-size, --width or --size, or fewer images, need less", 2
    return None


def _is_a(error: Exception, module: str, name: str) -> bool:
    """Whether the error is of that class, without importing what would take seconds: its module must be loaded."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(error, getattr(loaded, name))


def out_of_memory(error: Exception) -> bool:
    """Whether torch could not get the memory it asked for."""
    # torch's allocator on the CPU has no error class of its own
    return _is_a(error, "torch", "OutOfMemoryError") or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _write_anything() -> None:
    """Let class names and file names be printed that the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):
                stream.reconfigure(errors="backslashreplace")
