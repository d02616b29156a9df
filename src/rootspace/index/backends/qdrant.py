"""Qdrant's local mode. It keeps all vectors in memory; what it holds is stored here in plain arrays.

Qdrant's own files for local mode are rows of pickled objects, which run code on loading, and one transaction for each
point. So the client runs in memory and is filled, on opening, from segments of ids, vectors, paths and labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.errors import require
from rootspace.index.backends.base import Backend, Payload, no_probes, padded
from rootspace.index.items import Items
from rootspace.index.segments import STATE, SegmentFolder

FORMAT = "rootspace-qdrant-points"
_COLLECTION = "items"
#: Points given to the client at a time.
_CHUNK = 4096


class Qdrant(Backend):
    """The collection `items` with the payload path and label; every vector is compared: exact."""

    name = "qdrant"
    dtypes = ("float32", "float16")
    verifies = True

    def __init__(self, folder: Path, dim: int, dtype: str, writing: bool, settings: Mapping[str, Any]) -> None:
        qdrant = require("qdrant_client", extra="qdrant")
        self.models, self.dtype = qdrant.models, dtype
        if writing and not (folder / STATE).is_file():
            self.folder = SegmentFolder.create(folder, FORMAT, {})
        else:
            self.folder = SegmentFolder(folder, FORMAT, writing)
        self.items = Items(self.folder)
        self.client = qdrant.QdrantClient(":memory:")
        distance = self.models.VectorParams(size=dim, distance=self.models.Distance.COSINE)
        self.client.create_collection(_COLLECTION, vectors_config=distance)
        for segment in self.folder.segments:
            rows = segment.rows_alive()
            for start in range(0, len(rows), _CHUNK):
                part = rows[start : start + _CHUNK]
                self._upload(
                    segment.arrays["ids"][part], segment.arrays["vectors"][part], self.items.texts(segment, part)
                )

    @property
    def count(self) -> int:
        return self.folder.live

    def ids(self) -> np.ndarray:
        return self.items.ids()

    def add(self, ids: np.ndarray, vectors: np.ndarray, payload: Payload) -> None:
        order = np.argsort(ids)
        self.items.append(ids, payload, {"vectors": vectors[order].astype(self.dtype)})
        for start in range(0, len(ids), _CHUNK):
            part = slice(start, start + _CHUNK)
            texts = list(zip(payload.paths[part], payload.labels[part], strict=True))
            self._upload(ids[part], vectors[part].astype(self.dtype), texts)

    def _upload(self, ids: np.ndarray, vectors: np.ndarray, texts: list[tuple[str, str]]) -> None:
        named = [{"path": path, "label": label} for path, label in texts]
        points = self.models.Batch(ids=ids.tolist(), vectors=vectors.astype(np.float32).tolist(), payloads=named)
        self.client.upsert(_COLLECTION, points)

    def delete(self, ids: np.ndarray) -> None:
        self.items.delete(ids)
        self.client.delete(_COLLECTION, self.models.PointIdsList(points=ids.tolist()))

    def search(self, queries: np.ndarray, k: int, probes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        no_probes(self.name, probes)
        width = min(k, self.count)
        if not width:
            return padded(np.zeros((len(queries), 0)), np.zeros((len(queries), 0)), k)
        asked = [self.models.QueryRequest(query=query, limit=width) for query in queries.tolist()]
        found = [answer.points for answer in self.client.query_batch_points(_COLLECTION, asked)]
        values = np.array([[point.score for point in row] for row in found]).reshape(len(queries), width)
        ids = np.array([[point.id for point in row] for row in found]).reshape(len(queries), width)
        return padded(values, ids, k)

    def compact(self) -> None:
        self.items.compact()

    def close(self) -> None:
        self.client.close()
        self.folder.close()
