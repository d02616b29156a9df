"""What a user's mistake looks like: one line on stderr and exit code 2, never a traceback."""

from __future__ import annotations

from typing import Any

import click

from rootspace.errors import InputError
from rootspace.systems import SpecError


class Group(click.Group):
    """A command group that turns input errors into exit code 2 and an interrupted run into 130."""

    def invoke(self, ctx: click.Context) -> Any:
        # imported here: plan and info do without the training engine
        from rootspace.train.interrupt import Interrupted

        try:
            return super().invoke(ctx)
        except (InputError, SpecError) as error:
            raise _Failure(str(error), 2) from None
        except Interrupted as stop:
            raise _Failure(str(stop), 130) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise _Failure(f"{where}{error.strerror or error}", 2) from None


class _Failure(click.ClickException):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = code  # type: ignore[misc]
