"""Which column or key of somebody's data holds the picture, which the class, and which the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rootspace.errors import InputError


@dataclass(frozen=True)
class Fields:
    """Names of columns or keys; None takes the usual ones."""

    image: str | None = None
    label: str | None = None
    source: str | None = None


def column(where: str, there: Sequence[str], asked: str | None, usual: Sequence[str], what: str) -> str:
    """The column asked for, or the first usual one that is there; else an `InputError` that names those there."""
    if asked is not None and asked not in there:
        raise InputError(f"{where}: has no column {asked!r} for the {what}; it has {', '.join(map(repr, there))}")
    found = asked or next((name for name in usual if name in there), None)
    if found is None:
        raise InputError(
            f"{where}: which column holds the {what}? expected {' or '.join(map(repr, usual))}, it has "
            f"{', '.join(map(repr, there)) or 'no columns'}; name it"
        )
    return found
