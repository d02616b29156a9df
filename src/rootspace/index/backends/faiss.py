"""FAISS: every vector compared with the query, exactly to the storage's precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.errors import InputError, require
from rootspace.files import atomic_file
from rootspace.index.backends.base import Backend, Payload, cosine_of_hamming, no_probes, pack_signs, padded

#: What a coordinate is multiplied by before it is rounded to a signed byte.
INT8_SCALE = 127.0


class Faiss(Backend):
    """A flat index: float32, float16, signed bytes of 127 x, or signs compared by Hamming distance."""

    name = "faiss"
    dtypes = ("float32", "float16", "int8", "binary")

    def __init__(self, folder: Path, dim: int, dtype: str, writing: bool, settings: Mapping[str, Any]) -> None:
        self.faiss = require("faiss", extra="index")
        self.path, self.dim, self.binary = folder / "vectors.faiss", dim, dtype == "binary"
        self.scale = INT8_SCALE if dtype == "int8" else 1.0
        if not self.path.is_file():
            if not writing:
                raise InputError(f"{self.path}: no such file; the index is damaged, build it anew")
            self.index = self._new(dtype)
            self.save()
            return
        read = self.faiss.read_index_binary if self.binary else self.faiss.read_index
        try:
            self.index = read(str(self.path))
        except RuntimeError as error:
            raise InputError(f"{self.path}: FAISS cannot read it ({str(error)[:80]}); build the index anew") from None

    def _new(self, dtype: str) -> Any:
        f = self.faiss
        if self.binary:
            return f.IndexBinaryIDMap2(_kept(f.IndexBinaryFlat(8 * -(-self.dim // 8))))
        quantiser = f.ScalarQuantizer
        kinds = {"float16": quantiser.QT_fp16, "int8": quantiser.QT_8bit_direct_signed}
        if dtype == "float32":
            flat = f.IndexFlatIP(self.dim)
        else:
            flat = f.IndexScalarQuantizer(self.dim, kinds[dtype], f.METRIC_INNER_PRODUCT)
        return f.IndexIDMap2(_kept(flat))

    @property
    def count(self) -> int:
        return int(self.index.ntotal)

    def ids(self) -> np.ndarray:
        found: np.ndarray = self.faiss.vector_to_array(self.index.id_map)
        return found

    def add(self, ids: np.ndarray, vectors: np.ndarray, payload: Payload) -> None:
        self.index.add_with_ids(pack_signs(vectors) if self.binary else self._scaled(vectors), ids)

    def _scaled(self, vectors: np.ndarray) -> np.ndarray:
        return vectors if self.scale == 1 else np.rint(self.scale * vectors)

    def delete(self, ids: np.ndarray) -> None:
        self.index.remove_ids(ids)

    def search(self, queries: np.ndarray, k: int, probes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        no_probes(self.name, probes)
        if not self.count:
            return padded(np.zeros((len(queries), 0)), np.zeros((len(queries), 0)), k)
        # queries are scaled as vectors are: where 32 divides the dimension, FAISS cuts them to whole numbers as well
        asked = pack_signs(queries) if self.binary else self._scaled(queries)
        values, ids = self.index.search(asked, min(k, self.count))
        return padded(cosine_of_hamming(values, self.dim) if self.binary else values / self.scale**2, ids, k)

    def save(self) -> None:
        write = self.faiss.write_index_binary if self.binary else self.faiss.write_index
        with atomic_file(self.path) as temporary:
            write(self.index, str(temporary))


def _kept(inner: Any) -> Any:
    """An index that the one wrapped around it owns: Python must not free it too."""
    inner.this.disown()
    return inner
