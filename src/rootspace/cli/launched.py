"""A command that several processes run together, as `torchrun` starts them: one of them speaks, all of them end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from rootspace.cli.errors import STOPPED, explain
from rootspace.cli.options import Command

T = TypeVar("T")


def launched() -> bool:
    """Whether this is one of several processes."""
    return "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return not launched() or os.environ["RANK"] == "0"


@contextmanager
def together() -> Iterator[None]:
    """What one process cannot do, none does."""
    if not launched():
        yield
        return
    from rootspace.train import processes

    with processes.together():
        yield


def in_turn(read: Callable[[], T]) -> T:
    """What `read` gives, called first in one process of each machine, so that the others find what it left on disk."""
    if not launched():
        return read()
    from rootspace.train import processes

    return processes.in_turn(read)


class TogetherCommand(Command):
    """A command that meets the other processes first, and whose errors are printed by one of them."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        if is_first():
            return super().make_context(*args, **extra)
        try:
            return super().make_context(*args, **extra)
        except click.exceptions.Exit:  # the help: all processes show it, or none would be sure to
            raise
        except click.ClickException as error:
            time.sleep(3)  # a launcher ends all processes once one has ended: the first must have spoken
            sys.exit(error.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        if not launched():
            return super().invoke(ctx)
        from rootspace.train import processes

        with _one_voice():
            processes.join(cpu=ctx.params.get("device") == "cpu")
            with processes.watched(lambda: "start the same command again, with --resume where a run had begun"):
                result = super().invoke(ctx)
            processes.leave()
        return result


@contextmanager
def _one_voice() -> Iterator[None]:
    """Print an error in one process only, and end all of them with its exit code."""
    from rootspace.train import processes

    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a launcher sends it once one process has ended
        lost = isinstance(error, processes.ProcessLostError)
        explained = ("Stopped.", STOPPED) if isinstance(error, KeyboardInterrupt) else explain(error)
        speaks = processes.speaks(patience=0.0 if lost else 2.0)
        if explained is None:
            processes.told()
            raise
        line, code = explained
        if speaks:
            click.echo(" ".join(line.split()), err=True)
            processes.told()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # torch's own end would wait for processes that are gone, or abort
