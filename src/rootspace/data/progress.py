"""What is said while data are read: a bar for work that takes long, on a terminal only, and lines of notice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def tracked(items: Iterable[T], what: str, show: bool = True, total: int | None = None) -> Iterator[T]:
    """Iterate over `items` with a bar on stderr that shows count and time left, where stderr is a terminal.

    `total` is how many there will be, where the items do not know it.

    >>> list(tracked([1, 2], "counting", show=False))
    [1, 2]
    """
    yield from _bar(items, what, total) if show and sys.stderr.isatty() else items


def say(text: str, show: bool = True) -> None:
    """A line on stderr for the person who waits; of several processes of one training the first alone says it."""
    if show and os.environ.get("RANK", "0") in ("", "0"):
        print(text, file=sys.stderr, flush=True)


def _bar(items: Iterable[T], what: str, total: int | None) -> Iterable[T]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:  # the bar is a comfort, not a need
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=what)
