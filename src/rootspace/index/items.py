"""Which items there are, and what is kept of each beside its vector: a path and a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rootspace.index.backends.base import Payload
from rootspace.index.segments import Segment, SegmentFolder, find_ids


class Items:
    """The items in a `SegmentFolder`: of each segment ids ascending (N,), texts end to end, and where each ends.

    Other arrays with one row an item may stand beside them.
    """

    def __init__(self, folder: SegmentFolder) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return self.folder.live

    def ids(self) -> np.ndarray:
        """The ids of all items, int64 (len,), in no order."""
        return live_ids(self.folder)

    def append(self, ids: np.ndarray, payload: Payload, more: Mapping[str, np.ndarray], **about: Any) -> None:
        """Add items under ids (N,) that are new; `more`: other arrays, in ascending order of the ids already."""
        self.folder.commit(append={**_packed(ids, payload), **more}, rows=len(ids), about=about)

    def delete(self, ids: np.ndarray, **about: Any) -> None:
        """Drop the items with these ids, which are there."""
        self.folder.commit(dead=self._places(ids), about=about)

    def missing(self, ids: np.ndarray) -> np.ndarray:
        """Those of the ids (m,) that no item has."""
        found = np.zeros(len(ids), dtype=bool)
        for _, rows in self._find(ids):
            found |= rows >= 0
        return ids[~found]

    def payload(self, ids: np.ndarray) -> Payload:
        """Paths and labels of the items with these ids (m,), which are there."""
        paths, labels = [""] * len(ids), [""] * len(ids)
        for segment, rows in self._find(ids):
            hits = np.flatnonzero(rows >= 0)
            for hit, (path, label) in zip(hits.tolist(), self.texts(segment, rows[hits]), strict=True):
                paths[hit], labels[hit] = path, label
        return Payload(paths, labels)

    def texts(self, segment: Segment, rows: np.ndarray) -> list[tuple[str, str]]:
        """(path, label) of rows (m,) of a segment."""
        ends, text = segment.arrays["ends"], segment.arrays["text"].data  # without an array for each text
        starts = np.where(rows > 0, ends[rows - 1, 1], 0).tolist()
        return [
            (_decoded(text[start:middle]), _decoded(text[middle:end]))
            for start, (middle, end) in zip(starts, ends[rows].tolist(), strict=True)
        ]

    def all(self) -> Iterator[tuple[int, str, str]]:
        """(id, path, label) of every item, in no order."""
        for segment in self.folder.segments:
            rows = segment.rows_alive()
            ids = segment.arrays["ids"][rows].tolist()
            yield from ((number, *texts) for number, texts in zip(ids, self.texts(segment, rows), strict=True))

    def compact(self, **about: Any) -> None:
        """Bring all segments into one, without the dead rows."""
        if len(self.folder.segments) < 2 and all(segment.dead is None for segment in self.folder.segments):
            self.folder.commit(about=about)
            return
        alive = [(segment, segment.rows_alive()) for segment in self.folder.segments]
        own = {"ids", "ends", "text"}
        names = [name for name in (alive[0][0].arrays if alive else ()) if name not in own]
        merged = {name: np.concatenate([segment.arrays[name][rows] for segment, rows in alive]) for name in names}
        ids = self.ids()
        texts = [pair for segment, rows in alive for pair in self.texts(segment, rows)]
        order = np.argsort(ids)
        payload = Payload([path for path, _ in texts], [label for _, label in texts])
        more = {name: array[order] for name, array in merged.items()}
        self.folder.commit(append={**_packed(ids, payload), **more}, rows=len(ids), alone=True, about=about)

    def _find(self, ids: np.ndarray) -> list[tuple[Segment, np.ndarray]]:
        """For each segment the live rows of ids, -1 where it has none."""
        found = []
        for segment in self.folder.segments:
            rows = find_ids(ids, segment.arrays["ids"])
            if segment.dead is not None:
                rows = np.where((rows >= 0) & ~segment.dead[rows], rows, -1)
            found.append((segment, rows))
        return found

    def _places(self, ids: np.ndarray) -> dict[int, np.ndarray]:
        found = {number: rows[rows >= 0] for number, (_, rows) in enumerate(self._find(ids))}
        return {number: rows for number, rows in found.items() if len(rows)}


def live_ids(folder: SegmentFolder) -> np.ndarray:
    """The ids of all rows that count, int64, in no order."""
    parts = [segment.arrays["ids"][segment.rows_alive()] for segment in folder.segments]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _packed(ids: np.ndarray, payload: Payload) -> dict[str, np.ndarray]:
    order = np.argsort(ids)
    texts = [_encoded(part[row]) for row in order.tolist() for part in (payload.paths, payload.labels)]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64).reshape(-1, 2)
    text = np.frombuffer(b"".join(texts), dtype=np.uint8)
    return {"ids": ids[order].astype(np.int64), "ends": ends, "text": text}


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a file name may be no UTF-8


def _decoded(text: memoryview) -> str:
    return bytes(text).decode("utf-8", "surrogateescape")
