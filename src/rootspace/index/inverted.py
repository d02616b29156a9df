"""`SystemIndex`: an inverted file whose cells are the vectors of a system, found by decoding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from rootspace.errors import InputError
from rootspace.index import codes
from rootspace.index.cells import SAMPLE, Cells, cells_for, parse_cells
from rootspace.index.checks import check_ids, unit_vectors
from rootspace.index.items import live_ids
from rootspace.index.segments import Segment, SegmentFolder, find_ids
from rootspace.systems import VectorSystem, parse

FORMAT = "rootspace-system-index"
#: Cells that a search looks into unless told otherwise.
PROBES = 64

#: Numbers of candidates' vectors held at a time.
_ELEMENTS = 2**21


class SystemIndex:
    """Vectors under ids, in a folder, sorted by cell: the index of the nearest vector of a system.

    A coarse quantiser with any number of cells and no centroids: the cell of an item is found by decoding, the cells
    near a query by k-best decoding, and what lies in them is compared exactly (to the precision of `dtype`). On disk
    each `add` is a segment: the cells in use, where each begins, and the ids and codes of its items; all memory-mapped.
    `delete` marks rows; `compact` makes one segment of all, with cells chosen anew for as many items. A write is one
    rename: a process that stops leaves the state before.

    >>> import tempfile
    >>> vectors = torch.randn(500, 16, generator=torch.Generator().manual_seed(0)).numpy()
    >>> with SystemIndex.create(Path(tempfile.mkdtemp()) / "cells", dim=16) as index:
    ...     index.add(np.arange(500), vectors)
    ...     cosines, ids = index.search(vectors[:2], k=3, probes=4)
    >>> ids[:, 0].tolist(), cosines.shape
    ([0, 1], (2, 3))
    """

    def __init__(self, folder: SegmentFolder) -> None:
        """Over an open folder; use `create` or `open`."""
        self.folder = folder
        self.dim: int = folder.about["dim"]
        self.dtype: str = folder.about["dtype"]

    @classmethod
    def create(
        cls, path: str | Path, dim: int, dtype: str = "float32", system: VectorSystem | str | None = None
    ) -> SystemIndex:
        """A new index in the folder `path`, open for writing.

        system: whose vectors are the cells (or its spec); None chooses one for as many items as there are, at the
        first `add` and at every `compact`. `InputError` for another dtype, a system that has more dimensions, or a
        folder that holds something.
        """
        codes.check_dtype(dtype, dim)
        spec = system.spec if isinstance(system, VectorSystem) else system
        if spec is not None:
            spec = parse_cells(spec, dim).spec
        about = {"dim": dim, "dtype": dtype, "asked": spec, "cells": None}
        return cls(SegmentFolder.create(Path(path), FORMAT, about))

    @classmethod
    def open(cls, path: str | Path, writing: bool = False, verify: bool = True) -> SystemIndex:
        """The index in a folder; `verify` compares checksums, which reads every byte. `InputError` if it is damaged."""
        return cls(SegmentFolder(Path(path), FORMAT, writing, verify))

    def __enter__(self) -> SystemIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock."""
        self.folder.close()

    def __len__(self) -> int:
        return self.folder.live

    def ids(self) -> np.ndarray:
        """The ids there are, int64 (len,), in no order."""
        return live_ids(self.folder)

    @property
    def cells(self) -> Cells | None:
        """The cells in use; None before anything was added."""
        if not self.folder.segments:
            return None
        arrays = self.folder.segments[0].arrays
        return Cells(parse(self.folder.about["cells"]), arrays.get("mean"), arrays.get("axes"))

    @property
    def cells_in_use(self) -> int:
        """How many cells hold an item, counted anew in every segment."""
        return sum(len(segment.arrays["cells"]) for segment in self.folder.segments)

    def add(self, ids: np.ndarray, embeddings: np.ndarray | Tensor) -> None:
        """Store embeddings (N, n) by direction, under ids (N,) that are new; `InputError` otherwise."""
        vectors, ids = unit_vectors(embeddings, self.dim), check_ids(ids)
        if len(ids) != len(vectors):
            raise InputError(f"ids: expected one for each of {len(vectors)} embeddings, got {len(ids)}")
        if len(taken := np.intersect1d(ids, self.ids())):
            raise InputError(f"ids: {taken[0]} is there already; delete it first, or give another")
        if not len(ids):
            return
        cells = self.cells or cells_for(vectors, len(vectors), self.folder.about["asked"])
        self._append(cells, ids, codes.encode(vectors, self.dtype), cells.of(vectors))

    def delete(self, ids: np.ndarray) -> None:
        """Drop the vectors with these ids; `InputError` naming those that are not there, and nothing is dropped."""
        ids = check_ids(ids)
        if len(unknown := np.setdiff1d(ids, self.ids())):
            raise InputError(f"ids: {', '.join(map(str, unknown[:5].tolist()))} not in the index; nothing was deleted")
        dead = {}
        for number, segment in enumerate(self.folder.segments):
            rows = np.flatnonzero(np.isin(segment.arrays["ids"], ids))
            if len(rows):
                dead[number] = rows
        if dead:
            self.folder.commit(dead=dead)

    def compact(self) -> None:
        """One segment of all that is there, with cells chosen anew (but for a system that was asked for)."""
        if not self.folder.segments:
            return
        alive = [(segment, segment.rows_alive()) for segment in self.folder.segments]
        names = [name for name in ("codes", "scales", "packed") if name in alive[0][0].arrays]
        stored = {name: np.concatenate([segment.arrays[name][rows] for segment, rows in alive]) for name in names}
        n_items, asked = len(self), self.folder.about["asked"]
        cells = self.cells
        if cells is None or asked is None:
            spread = slice(None, None, -(-n_items // SAMPLE))
            cells = cells_for(codes.decode(stored, spread, self.dim).numpy(), n_items)
        chunks = [
            codes.decode(stored, slice(start, start + SAMPLE), self.dim).numpy() for start in range(0, n_items, SAMPLE)
        ]
        numbers = np.concatenate([cells.of(chunk) for chunk in chunks])
        self._append(cells, self.ids(), stored, numbers, alone=True)

    def search(
        self, queries: np.ndarray | Tensor, k: int = 10, probes: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items in the `probes` nearest cells: (Q, n) -> cosines float32 (Q, k), ids int64 (Q, k).

        Descending; -1 stands for no item, where the cells hold fewer than k. probes None: `PROBES`. As many probes as
        the system has vectors, or more, search everything, exactly.
        """
        if k < 1:
            raise InputError(f"k: expected a whole number of at least 1, got {k}")
        if probes is not None and probes < 1:
            raise InputError(f"probes: expected a whole number of at least 1, got {probes}")
        asked = torch.from_numpy(unit_vectors(queries, self.dim))
        cosines, ids = torch.full((len(asked), k), -1.0), np.full((len(asked), k), -1)
        cells = self.cells
        if cells is None or not len(asked):
            return cosines.numpy(), ids
        width = probes or PROBES
        near = cells.nearest(asked.numpy(), width) if width < cells.system.size else None
        for segment in self.folder.segments:
            found = _all(segment, asked, k) if near is None else _probed(segment, asked, near, k)
            cosines, ids = _best(cosines, ids, *found, k)
        return cosines.clamp(-1, 1).numpy(), ids  # rounding may leave it

    def _append(
        self, cells: Cells, ids: np.ndarray, stored: Mapping[str, np.ndarray], numbers: np.ndarray, alone: bool = False
    ) -> None:
        order = np.argsort(numbers, kind="stable")
        used, first = np.unique(numbers[order], return_index=True)
        arrays = {
            "cells": used,
            "offsets": np.append(first, len(ids)).astype(np.int64),
            "ids": ids[order],
            **{name: array[order] for name, array in stored.items()},
        }
        if cells.mean is not None and cells.axes is not None:
            arrays |= {"mean": cells.mean, "axes": cells.axes}
        self.folder.commit(append=arrays, rows=len(ids), alone=alone, about={"cells": cells.system.spec})


def _probed(segment: Segment, queries: Tensor, near: np.ndarray, k: int) -> tuple[Tensor, np.ndarray]:
    """The best of a segment's items in the cells near (Q, p): cosines (Q, k'), ids (Q, k'), -1 for none."""
    arrays = segment.arrays
    place = find_ids(near.reshape(-1), arrays["cells"]).reshape(near.shape)
    offsets = arrays["offsets"]
    starts = offsets[place]
    lengths = np.where(place >= 0, offsets[place + 1] - starts, 0)
    totals = lengths.sum(axis=1)
    width = min(k, int(totals.max(initial=0)))
    cosines, ids = torch.full((len(queries), width), -1.0), np.full((len(queries), width), -1)
    if not width:
        return cosines, ids
    # queries with equally many candidates together: little padding
    order = np.argsort(-totals, kind="stable")
    start = 0
    while start < len(order) and totals[order[start]]:
        most = int(totals[order[start]])
        now = order[start : start + max(1, _ELEMENTS // (most * queries.shape[1]))]
        start += len(now)
        rows, real = _rows(starts[now], lengths[now], most)
        if segment.dead is not None:
            real &= ~segment.dead[rows]
        vectors = codes.decode(arrays, rows.reshape(-1), queries.shape[1]).reshape(len(now), most, -1)
        scores = torch.bmm(vectors, queries[now][:, :, None])[:, :, 0]
        scores.masked_fill_(torch.from_numpy(~real), -torch.inf)
        kept = min(width, most)
        best, columns = scores.topk(kept, dim=1)
        found = arrays["ids"][np.take_along_axis(rows, columns.numpy(), axis=1)]
        ids[now, :kept] = np.where(best.isneginf().numpy(), -1, found)
        cosines[now, :kept] = best.masked_fill(best.isneginf(), -1.0)
    return cosines, ids


def _rows(starts: np.ndarray, lengths: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of runs (Q, p), side by side and padded with row 0: int64 (Q, most), and which are real."""
    totals = lengths.sum(axis=1)
    real = np.arange(most) < totals[:, None]
    # a run's rows: its start, counted on from the place at which it begins among its query's candidates
    shift = starts - (np.cumsum(lengths, axis=1) - lengths)
    rows = np.zeros(real.shape, dtype=np.int64)
    rows[real] = np.repeat(shift.reshape(-1), lengths.reshape(-1)) + np.nonzero(real)[1]
    return rows, real


def _all(segment: Segment, queries: Tensor, k: int) -> tuple[Tensor, np.ndarray]:
    """The best of all of a segment's items: cosines (Q, k'), ids (Q, k')."""
    ids = segment.arrays["ids"]
    cosines, found = torch.full((len(queries), 0), -1.0), np.zeros((len(queries), 0), dtype=np.int64)
    step = max(1, _ELEMENTS // max(len(queries), queries.shape[1]))
    for start in range(0, segment.rows, step):
        rows = slice(start, start + step)
        scores = queries @ codes.decode(segment.arrays, rows, queries.shape[1]).T
        if segment.dead is not None:
            scores[:, torch.from_numpy(segment.dead[rows])] = -torch.inf
        best, columns = scores.topk(min(k, scores.shape[1]), dim=1)
        names = np.where(best.isneginf().numpy(), -1, ids[rows][columns.numpy()])
        cosines, found = _best(cosines, found, best.masked_fill(best.isneginf(), -1.0), names, k)
    return cosines, found


def _best(cosines: Tensor, ids: np.ndarray, more: Tensor, more_ids: np.ndarray, k: int) -> tuple[Tensor, np.ndarray]:
    """The k best of both, those with id -1 last: (Q, a), (Q, b) -> (Q, min(k, a + b))."""
    joined, names = torch.cat([cosines, more], dim=1), np.concatenate([ids, more_ids], axis=1)
    keys = joined.masked_fill(torch.from_numpy(names < 0), -torch.inf)
    order = keys.topk(min(k, keys.shape[1]), dim=1).indices
    return joined.gather(1, order), np.take_along_axis(names, order.numpy(), axis=1)
