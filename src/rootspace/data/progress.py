"""A progress bar for work that takes long, shown on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def tracked(items: Sequence[T], what: str, show: bool = True) -> Iterator[T]:
    """Iterate over `items` with a bar on stderr that shows count and time left, where stderr is a terminal.

    >>> list(tracked([1, 2], "counting", show=False))
    [1, 2]
    """
    yield from _bar(items, what) if show and sys.stderr.isatty() else items


def _bar(items: Sequence[T], what: str) -> Iterable[T]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:  # the bar is a comfort, not a need
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, description=what)
