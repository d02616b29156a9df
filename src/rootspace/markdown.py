"""Text from users in Markdown: escaped, one cell of a table after another."""

from __future__ import annotations

from collections.abc import Iterable

_MARKS = ("\\", "|", "*", "_", "`", "<", ">", "[", "]")


def escape(text: str) -> str:
    """Text on one line that Markdown shows as it is written.

    >>> escape("<b> a|b ")
    '\\\\<b\\\\> a\\\\|b'
    """
    for mark in _MARKS:
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())


def line(cells: Iterable[str]) -> str:
    """A line of a table, of cells that are Markdown already.

    >>> line(["a", "**b**"])
    '| a | **b** |'
    """
    return "| " + " | ".join(cells) + " |"
