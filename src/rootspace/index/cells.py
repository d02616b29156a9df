"""Cells of an inverted file: the vectors of a system, on the embedding's own coordinates or on learned ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rootspace.errors import InputError
from rootspace.index.roots import nearest_roots
from rootspace.systems import InfeasibleError, SpecError, V, VectorSystem, parse, plan, weight
from rootspace.systems.base import INT64_MAX
from rootspace.systems.planning.catalogue import members_within

#: Items for each cell of the system. Embeddings leave many cells empty, so those in use hold some tens.
ITEMS_A_CELL = 8

#: Families whose members come in all sizes, with fast decoders; the one with the best separation that fits is taken.
FAMILIES = ("A", "D", "V21", "W3", "W4", "V22", "V33", "graded4", "graded")

#: Embeddings that the coordinates are learned from, and how often they are improved.
SAMPLE, ROUNDS = 16_384, 12

#: Embeddings decoded at a time.
_CHUNK = 65_536


@dataclass(frozen=True)
class Cells:
    """Cell of an embedding x: the index of the vector of `system` nearest to (x - mean) @ axes.

    mean (n,), axes (n, system.dim) float32; both None for the embedding's own coordinates.
    """

    system: VectorSystem
    mean: np.ndarray | None = None
    axes: np.ndarray | None = None

    def of(self, embeddings: np.ndarray) -> np.ndarray:
        """(N, n) -> int64 (N,)."""
        return self._by_chunk(embeddings, lambda x: self._topk(x, 1)[:, 0])

    def nearest(self, queries: np.ndarray, k: int) -> np.ndarray:
        """The k nearest cells, best first: (Q, n) -> int64 (Q, k)."""
        return self._by_chunk(queries, lambda x: self._topk(x, k))

    def _topk(self, x: Tensor, k: int) -> Tensor:
        if self.system.dim >= 4 and self.system == V(self.system.dim, 1, 1):
            return nearest_roots(x, k)
        return self.system.decode(x)[:, None] if k == 1 else self.system.topk(x, k)[1]

    def _by_chunk(self, embeddings: np.ndarray, find: Callable[[Tensor], Tensor]) -> np.ndarray:
        starts = range(0, max(1, len(embeddings)), _CHUNK)
        parts = (torch.from_numpy(self._coordinates(embeddings[start : start + _CHUNK])) for start in starts)
        return np.concatenate([find(part).numpy() for part in parts])

    def _coordinates(self, embeddings: np.ndarray) -> np.ndarray:
        x = np.array(embeddings, dtype=np.float32)
        return x if self.mean is None or self.axes is None else (x - self.mean) @ self.axes


def system_for(n_items: int, dim: int) -> VectorSystem:
    """The system whose vectors are the cells for so many items: the planner's best separated one that fits.

    It has at least a vector for every `ITEMS_A_CELL` items and at most `dim` coordinates. More coordinates see more of
    an embedding, so the largest dimension is wanted, which of these families is the best separated one. Where none
    has as many vectors in so few dimensions, the one with the most is taken.

    >>> system_for(30_000, 64).spec, system_for(30_000, 13).spec, system_for(1_000_000, 384).spec
    ('V11:62', 'V22:13', 'V11:355')
    >>> system_for(10**6, 4).spec
    'W3:4'
    """
    wanted = max(2, n_items // ITEMS_A_CELL)
    try:
        options = [option.system for option in plan(wanted, FAMILIES, dim=dim)]
    except InfeasibleError:
        members = [system for name in FAMILIES for system in members_within(name, dim)]
        return max(members, key=lambda system: system.size, default=weight(dim, 1))
    return min(options, key=lambda system: (system.max_cosine, -system.dim))


def parse_cells(spec: str, dim: int) -> VectorSystem:
    """The system of a spec, as cells of embeddings of `dim` coordinates; `InputError` where it cannot be that."""
    try:
        system = parse(spec)
    except SpecError as error:
        raise InputError(f"cells: {error}") from None
    if system.dim > dim:
        raise InputError(f"cells: {spec} has {system.dim} coordinates, the embeddings have {dim}; take at most as many")
    if system.size > INT64_MAX:
        raise InputError(f"cells: {spec} has {system.bits:.0f} bits of vectors, more than an index counts; take fewer")
    return system


def learn(system: VectorSystem, embeddings: np.ndarray, seed: int = 0) -> Cells:
    """Coordinates in which embeddings (N, n) lie near the system's vectors.

    They are the principal axes, as many as the system has coordinates, turned so that the embeddings' sum of inner
    products with their nearest vectors grows: the vectors are found by decoding, then the best turn is an orthogonal
    Procrustes problem, in turns (as ITQ does it for signs: Gong and Lazebnik, CVPR 2011).
    """
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(embeddings))[:SAMPLE]
    x = np.asarray(embeddings[np.sort(chosen)], dtype=np.float32)
    mean = x.mean(axis=0)
    centred = torch.from_numpy(x - mean)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes.flip(1)[:, : system.dim]
    projected = torch.nn.functional.normalize(centred @ axes, dim=1)
    turn = torch.from_numpy(np.linalg.qr(random.standard_normal((system.dim, system.dim)))[0].astype(np.float32))
    for _ in range(ROUNDS):
        wanted = projected.T @ system.nearest(projected @ turn)
        left, _, right = torch.linalg.svd(wanted)
        turn = left @ right
    return Cells(system, mean, np.ascontiguousarray((axes @ turn).numpy()))


def cells_for(embeddings: np.ndarray, n_items: int, spec: str | None = None) -> Cells:
    """The cells of an index of `n_items`, of which embeddings (N, n) are some.

    spec None: `system_for` as many, on learned coordinates. A system of n dimensions: on the embedding's own, as
    for a model whose classes have that system's vectors. A system of fewer: on learned ones.
    """
    dim = embeddings.shape[1]
    if spec is None:
        return learn(system_for(n_items, dim), embeddings)
    system = parse_cells(spec, dim)
    return Cells(system) if system.dim == dim else learn(system, embeddings)
