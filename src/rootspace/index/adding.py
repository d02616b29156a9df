"""Images or texts into an index: embedded, named by their paths, each file once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rootspace.index.pictures import Pictures

if TYPE_CHECKING:
    from rootspace.index.database import Index

#: Embeddings stored in one write while images are read.
WRITE = 65_536

Progress = Callable[[int], None]


def add_images(
    index: Index,
    sources: Sequence[str | Path],
    skip_bad: bool,
    progress: Progress | bool | None,
    label: str | None,
    replace: bool,
    repeated: list[str] | None,
) -> list[str]:
    """See `Index.add_images`."""
    old: dict[str, list[int]] = {}
    labels = set(index.model.label_names)
    for item in index.items():
        old.setdefault(item.path, []).append(item.id)
        labels.add(item.label)
    pictures = Pictures(
        [Path(source) for source in sources],
        index.model.preprocessing,
        skip_bad,
        known=set() if replace else set(old),
        classes=labels,
        show=progress is True,
    )
    embeddings: list[np.ndarray] = []
    paths: list[str] = []
    names: list[str] = []
    done = 0

    def write() -> None:
        index.add(np.concatenate(embeddings), paths, names)
        # after the new ones are there: a process that stops in between leaves both, and not neither
        if replace and (gone := [number for path in dict.fromkeys(paths) for number in old.pop(path, ())]):
            index.delete(gone)
        for part in (embeddings, paths, names):
            part.clear()

    for cells, payload in pictures.batches():
        embeddings.append(index.model.embed(cells).cpu().numpy())
        paths += map(pictures.stored, payload.paths)
        names += payload.labels if label is None else [label] * len(payload.paths)
        done += len(cells)
        if len(paths) >= WRITE:
            write()
        if callable(progress):
            progress(done)
    if paths:
        write()
    if repeated is not None:
        repeated += pictures.repeated
    return pictures.skipped
