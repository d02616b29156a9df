"""Errors a user can act on, and the guard for optional dependencies."""

from __future__ import annotations

import importlib
from types import ModuleType


class InputError(ValueError):
    """What the user gave cannot be used: the message says what was expected, what came, and what to do.

    The command line turns it into one line on stderr and exit code 2.
    """


class MissingExtraError(InputError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or raise `MissingExtraError` naming the extra that installs it.

    >>> require("math", extra="train").floor(1.5)
    1
    >>> require("no_such_module", extra="train")
    Traceback (most recent call last):
    rootspace.errors.MissingExtraError: this needs the package 'no_such_module': pip install 'rootspace[train]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        raise MissingExtraError(f"this needs the package '{error.name}': pip install 'rootspace[{extra}]'") from error
