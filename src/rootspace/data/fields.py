"""Which column or key of somebody's data holds the picture or text, which the class, and which the source."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from rootspace.errors import InputError

TEXTS = ("text", "title", "name", "sentence", "document")
"""What a column of texts is usually called."""

UNLABELLED = "; with --classes-from samples, 'rootspace train' and 'data build' need no labels"
"""The end of messages that miss labels."""


@dataclass(frozen=True)
class Fields:
    """Names of columns or keys; None takes the usual ones."""

    image: str | None = None
    label: str | None = None
    source: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.image is not None and self.text is not None:
            raise InputError(f"columns: {self.image!r} for images and {self.text!r} for texts; give one of them")

    def are_texts(self, pictures_there: bool, texts_there: bool, wanted: bool | None) -> bool:
        """Whether rows are taken for texts: as named here, as wanted, or where there are texts and no pictures.

        `wanted` is whether the caller wants texts, None if it has no wish.
        """
        if self.image is not None or self.text is not None:
            return self.text is not None
        if wanted is not None:
            return wanted
        return texts_there and not pictures_there


def column(
    where: str,
    there: Sequence[str],
    asked: str | None,
    usual: Sequence[str],
    what: str,
    option: str,
    near: Sequence[str] = (),
) -> str:
    """The column asked for, or the first usual one that is there; else an `InputError` that names those there.

    `option` is the one of the command line that names the column; `near` are further names that one there may be meant
    as. A column that stands twice is an `InputError` too.
    """
    if asked is not None and asked not in there:
        has = f"it has {', '.join(map(repr, there))}"
        raise InputError(f"{where}: has no column {asked!r} for the {what}; {_meant(there, [asked])}{has}")
    found = asked or next((name for name in usual if name in there), None)
    if found is None:
        end = UNLABELLED if what == "label" else ""
        raise InputError(
            f"{where}: which column holds the {what}? expected {' or '.join(map(repr, usual))}, it has "
            f"{', '.join(map(repr, there)) or 'no columns'}; {_meant(there, [*usual, *near])}name it with {option} "
            f"(a command without that option reads a store that 'rootspace data build' makes with it){end}"
        )
    if list(there).count(found) > 1:
        raise InputError(f"{where}: names the column {found!r} {list(there).count(found)} times; rename all but one")
    return found


def _meant(there: Sequence[str], expected: Sequence[str]) -> str:
    """What may be meant by a column that is hardly another than one expected."""
    plain = {name.strip().casefold(): name for name in there}
    for name in expected:
        for match in difflib.get_close_matches(name.strip().casefold(), plain, n=1, cutoff=0.8):
            return f"did you mean {plain[match]!r}? "
    return ""


def shown(value: Any) -> str:
    """A value as messages show it, which is short; of bytes and what may hold some it is the kind.

    >>> shown("007"), shown(b"GIF89a"), shown({"bytes": b"GIF89a"})
    ("'007'", '6 bytes', 'a dict')
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value):,} bytes"
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    if any(isinstance(part, (bytes, bytearray, memoryview, dict, list, tuple)) for part in parts):
        return f"a {type(value).__name__}"
    return f"{value!r:.60}"


def written(name: str, column: str, value: Any, what: str) -> str:
    """The value of a column as a text: a string, or a whole number; no value, and any other, is an `InputError`.

    `name` is how messages call the row.

    >>> written("row 1", "label", "007", "label"), written("row 1", "label", 7.0, "label")
    ('007', '7')
    """
    if isinstance(value, str) and value:
        return value
    # a column of whole numbers is one of floats as soon as one is missing
    if isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        return str(value) if isinstance(value, bool) else str(int(value))
    raise InputError(
        f"{name} has no {what} ({column!r} is {shown(value)}, expected a text or a whole number); take such rows out"
    )


def class_name(name: str, column: str, value: Any, names: Sequence[str] | None) -> str:
    """The class of a row: the one that its number stands for among `names`, else `written`."""
    if names is None:
        return written(name, column, value, "label")
    if isinstance(value, Integral) and 0 <= int(value) < len(names):
        return names[int(value)]
    raise InputError(f"{name} has no label ({column!r} is {shown(value)}); take such rows out first")
