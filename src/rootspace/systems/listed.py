"""Systems whose vectors are listed: every operation is brute force over a (size, n) table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem

#: Rows of the table compared with all others at a time.
_CHUNK = 1024


class Listed(VectorSystem):
    """What systems with an explicit list share; the index of a vector is its row.

    Cost and memory grow with the number of vectors, so this is for some ten thousand of them.
    """

    @property
    @abstractmethod
    def _table(self) -> Tensor:
        """All vectors, float64 (size, n) on the CPU."""

    @property
    def dim(self) -> int:
        return self._table.shape[1]

    @property
    def size(self) -> int:
        return self._table.shape[0]

    @cached_property
    def squared_norm(self) -> Fraction:
        return Fraction(float(self._table.square().sum(1).mean()))

    @cached_property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(Fraction(value) for value in reversed(self._table.unique().tolist()))

    def _cosines(self) -> Iterable[Tensor]:
        unit = self._table / self._table.norm(dim=1, keepdim=True)
        for start in range(0, self.size, _CHUNK):
            yield unit[start : start + _CHUNK] @ unit.T

    @cached_property
    def max_cosine(self) -> float:
        largest = -1.0
        for chunk_number, cosines in enumerate(self._cosines()):
            rows = torch.arange(cosines.shape[0])
            cosines[rows, rows + chunk_number * _CHUNK] = -2
            largest = max(largest, float(cosines.max()))
        return largest

    @cached_property
    def mcs(self) -> float:
        largest = 0.0
        for cosines in self._cosines():
            absolute = cosines.abs()
            absolute[absolute > 1 - 1e-9] = 0
            largest = max(largest, float(absolute.max()))
        return largest

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        counts: dict[float, int] = {}
        for cosines in self._cosines():
            # rounding joins equal cosines that were computed differently
            for value, count in zip(*cosines.round(decimals=9).unique(return_counts=True), strict=True):
                counts[float(value)] = counts.get(float(value), 0) + int(count)
        return {Fraction(value): Fraction(counts[value], self.size) for value in sorted(counts, reverse=True)}

    def _like(self, x: Tensor) -> Tensor:
        return self._table.to(x.device, x.dtype)

    def _centroid(self) -> tuple[Fraction, ...]:
        return tuple(Fraction(value) for value in self._table.mean(0).tolist())

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        return self._table.to(index.device, dtype)[index]

    def _rank(self, vectors: Tensor) -> Tensor:
        return self._distances(vectors).argmin(1)

    def _contains(self, vectors: Tensor) -> Tensor:
        near = 8 * torch.finfo(vectors.dtype).eps * self.norm
        return self._distances(vectors).amin(1) <= near

    def _distances(self, vectors: Tensor) -> Tensor:
        return torch.cdist(vectors.double(), self._like(vectors.double()), compute_mode="donot_use_mm_for_euclid_dist")

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        row = torch.tensor([float(value) for value in word], dtype=torch.float64)
        found = (self._table == row).all(1).nonzero()
        if not len(found):
            raise ValueError(f"not a vector of {self.spec}")
        return int(found[0, 0])

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(Fraction(value) for value in self._table[index].tolist())

    def _nearest(self, x: Tensor) -> Tensor:
        return self._like(x)[(x @ self._like(x).T).argmax(1)]

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, index = (x @ self._like(x).T).topk(k, dim=1)
        return values, self._like(x)[index]

    def _log_partition(self, z: Tensor) -> Tensor:
        return torch.logsumexp(z @ self._like(z).T, dim=1)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        scores = z @ self._like(z).T
        return torch.logsumexp(scores.scatter(1, self._rank(excluded)[:, None], float("-inf")), dim=1)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        if not (len(z) and k):
            return z.new_empty(len(z), k, self.dim)
        weights = torch.softmax(z @ self._like(z).T, dim=1)
        return self._like(z)[torch.multinomial(weights, k, replacement=True, generator=generator)]
