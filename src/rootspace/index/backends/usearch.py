"""USearch: a graph of near neighbours (HNSW), approximate and fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.errors import InputError, require
from rootspace.files import atomic_file
from rootspace.index.backends.base import Backend, Payload, cosine_of_hamming, no_probes, pack_signs, padded

_KINDS = {"float32": "f32", "float16": "f16", "int8": "i8", "binary": "b1"}


class USearch(Backend):
    """A graph with USearch's own settings for its size; deleted vectors leave their room to later ones.

    `compact` makes the graph anew of the vectors that are left.
    """

    name = "usearch"
    dtypes = tuple(_KINDS)

    def __init__(self, folder: Path, dim: int, dtype: str, writing: bool, settings: Mapping[str, Any]) -> None:
        self.usearch = usearch = require("usearch.index", extra="usearch")
        self.path, self.dim, self.dtype, self.binary = folder / "vectors.usearch", dim, dtype, dtype == "binary"
        if self.path.is_file():
            try:
                self.index = usearch.Index.restore(str(self.path))
            except (RuntimeError, ValueError) as error:
                message = str(error)[:80]
                raise InputError(f"{self.path}: USearch cannot read it ({message}); build the index anew") from None
            return
        if not writing:
            raise InputError(f"{self.path}: no such file; the index is damaged, build it anew")
        self.index = self._new()
        self.save()

    def _new(self) -> Any:
        bits = 8 * -(-self.dim // 8)
        return self.usearch.Index(
            ndim=bits if self.binary else self.dim,
            metric="hamming" if self.binary else "cos",
            dtype=_KINDS[self.dtype],
        )

    @property
    def count(self) -> int:
        return len(self.index)

    def ids(self) -> np.ndarray:
        return np.asarray(self.index.keys).astype(np.int64)

    def add(self, ids: np.ndarray, vectors: np.ndarray, payload: Payload) -> None:
        self.index.add(ids.astype(np.uint64), pack_signs(vectors) if self.binary else vectors)

    def delete(self, ids: np.ndarray) -> None:
        self.index.remove(ids.astype(np.uint64))

    def search(self, queries: np.ndarray, k: int, probes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        no_probes(self.name, probes)
        width = min(k, self.count)
        if not width or not len(queries):
            return padded(np.zeros((len(queries), 0)), np.zeros((len(queries), 0)), k)
        found = self.index.search(pack_signs(queries) if self.binary else queries, width)
        # one query gives one row without its axis
        ids = np.array(found.keys).reshape(len(queries), -1).astype(np.int64)
        counts = np.atleast_1d(getattr(found, "counts", ids.shape[1]))
        absent = np.arange(ids.shape[1]) >= counts[:, None]
        # beyond the count stands whatever was in memory
        distances = np.where(absent, 0, np.array(found.distances).reshape(ids.shape)).astype(np.float32)
        values = cosine_of_hamming(distances, self.dim) if self.binary else 1 - distances
        return padded(np.where(absent, -1, values), np.where(absent, -1, ids), k)

    def compact(self) -> None:
        keys, left = np.asarray(self.index.keys), self._new()
        if len(keys):
            left.add(keys, np.vstack(self.index.get(keys)))  # as they are stored, so that nothing is rounded again
        self.index = left

    def save(self) -> None:
        with atomic_file(self.path) as temporary:
            self.index.save(str(temporary))
