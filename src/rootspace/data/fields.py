"""Which column or key of somebody's data holds the picture or text, which the class, and which the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rootspace.errors import InputError

TEXTS = ("text", "title", "name", "sentence", "document")
"""What a column of texts is usually called."""


@dataclass(frozen=True)
class Fields:
    """Names of columns or keys; None takes the usual ones. Data with no picture's column are texts, or with `text`."""

    image: str | None = None
    label: str | None = None
    source: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.image is not None and self.text is not None:
            raise InputError(f"columns: {self.image!r} for images and {self.text!r} for texts; give one of them")

    def are_texts(self, there: Sequence[str], images: Sequence[str], texts: bool | None) -> bool:
        """Whether rows with these columns are taken for texts: as asked, or where no column is one of `images`.

        `texts` is what the caller wants, None if it has no wish.
        """
        if self.image is not None or self.text is not None:
            return self.text is not None
        if texts is not None:
            return texts
        return not any(name in there for name in images) and any(name in there for name in TEXTS)


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
