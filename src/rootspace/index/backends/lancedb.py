"""LanceDB: a table on disk of which every write is a version; paths and labels are columns of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.errors import InputError, require
from rootspace.index.backends.base import Backend, Payload, cosine_of_hamming, no_probes, pack_signs, padded

_TABLE = "items"
#: Ids named in one condition of a delete.
_CHUNK = 1000


class LanceDB(Backend):
    """The table `items` with the columns id, vector, path and label, searched without an index: exactly."""

    name = "lancedb"
    dtypes = ("float32", "float16", "binary")

    def __init__(self, folder: Path, dim: int, dtype: str, writing: bool, settings: Mapping[str, Any]) -> None:
        lancedb = require("lancedb", extra="lancedb")
        self.arrow = pa = require("pyarrow", extra="lancedb")
        self.folder, self.dim, self.binary = folder, dim, dtype == "binary"
        value, width = {"float32": pa.float32(), "float16": pa.float16(), "binary": pa.uint8()}[dtype], dim
        width = -(-dim // 8) if self.binary else dim
        fields = [("id", pa.int64()), ("vector", pa.list_(value, width)), ("path", pa.string()), ("label", pa.string())]
        self.schema, self.dtype = pa.schema(fields), np.dtype("uint8" if self.binary else dtype)
        try:
            database = lancedb.connect(str(folder))
            if not (folder / f"{_TABLE}.lance").is_dir():
                if not writing:
                    raise InputError(f"{folder}: holds no table; the index is damaged, build it anew")
                self.table = database.create_table(_TABLE, schema=self.schema)
            else:
                self.table = database.open_table(_TABLE)
        except (RuntimeError, ValueError, OSError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{folder}: LanceDB cannot open it ({_short(error)}); build the index anew") from None

    @property
    def count(self) -> int:
        return int(self.table.count_rows())

    def ids(self) -> np.ndarray:
        found = self.table.search().select(["id"]).limit(self.count).to_arrow()["id"].to_numpy()
        return np.asarray(found, dtype=np.int64)

    def add(self, ids: np.ndarray, vectors: np.ndarray, payload: Payload) -> None:
        pa, stored = self.arrow, self._stored(vectors)
        column = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored.shape[1])
        texts = [[_plain(text) for text in part] for part in (payload.paths, payload.labels)]
        arrays = [pa.array(ids), column, *(pa.array(part, type=pa.string()) for part in texts)]
        self.table.add(pa.Table.from_arrays(arrays, schema=self.schema))

    def delete(self, ids: np.ndarray) -> None:
        for start in range(0, len(ids), _CHUNK):
            self.table.delete(f"id IN ({', '.join(map(str, ids[start : start + _CHUNK].tolist()))})")

    def search(self, queries: np.ndarray, k: int, probes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        no_probes(self.name, probes)
        width = min(k, self.count)
        if not width or not len(queries):
            return padded(np.zeros((len(queries), 0)), np.zeros((len(queries), 0)), k)
        asked = self.table.search(list(self._stored(queries)), vector_column_name="vector")
        asked = asked.distance_type("hamming" if self.binary else "dot").limit(width).select(["id", "_distance"])
        try:
            found = asked.to_arrow()
        except RuntimeError as error:  # `compact`, by another process, takes the files of versions before it away
            raise InputError(f"{self.folder}: was compacted or damaged since it was opened; open it anew") from error
        # the answers of several queries come in any order
        ids, distances = found["id"].to_numpy(), found["_distance"].to_numpy()
        owner = found["query_index"].to_numpy() if len(queries) > 1 else np.zeros(len(ids))
        order = np.lexsort((distances, owner))
        ids, distances = ids[order].reshape(len(queries), width), distances[order].reshape(len(queries), width)
        return padded(cosine_of_hamming(distances, self.dim) if self.binary else 1 - distances, ids, k)

    def compact(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that readers of older versions fail: `search` tells them what to do
            self.table.optimize(cleanup_older_than=timedelta(0))

    def _stored(self, vectors: np.ndarray) -> np.ndarray:
        return pack_signs(vectors) if self.binary else vectors.astype(self.dtype)


def _plain(text: str) -> str:
    """A text as Arrow can hold it: bytes of a file name that are no UTF-8 become the replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80]
