"""Anchors of headings, the same in the repository and on the site."""

from __future__ import annotations

import unicodedata


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading: letters, marks, decimal digits, "_" and "-", with "-" for a space.

    >>> anchor("Steps over 10⁹ classes: what they cost")
    'steps-over-10-classes-what-they-cost'
    """
    kept = (c for c in heading.strip().lower() if c in "- " or unicodedata.category(c) in ("Nd", "Pc") or _letter(c))
    return "".join(kept).replace(" ", "-")


def _letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"
