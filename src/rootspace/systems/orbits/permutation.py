"""Orbits under all permutations of the coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from rootspace.systems.constants import values_of
from rootspace.systems.orbits import best_first, counting
from rootspace.systems.orbits.gaussian import graded_name
from rootspace.systems.orbits.levels import bracket, float_values, inner_of_runs, sorted_base
from rootspace.systems.orbits.orbit import Orbit
from rootspace.systems.orbits.spectrum import inner_product_counts

#: Up to this many states the trellis finds the k nearest vectors: best-first search is faster above, and below for
#: large batches, but it takes k steps one after the other.
FEW_STATES = 16


@dataclass(frozen=True)
class PermutationOrbit(Orbit):
    """All permutations of a base vector (Weyl group of type A).

    >>> from rootspace.systems.orbits.levels import run_length
    >>> PermutationOrbit(run_length([1, 0, 0, -1])).size
    12
    """

    @property
    def _choices(self) -> list[tuple[Fraction, int, bool]]:
        return [(value, level, False) for level, (value, _) in enumerate(self.levels)]

    @cached_property
    def size(self) -> int:
        return counting.arrangements(self._counts)

    @property
    def spec(self) -> str:
        values = [value for value, _ in self.levels]
        counts = dict(self.levels)
        if set(values) <= {1, 0, -1}:
            p, q = counts.get(Fraction(1), 0), counts.get(Fraction(-1), 0)
            return f"V{p}{q}:{self.dim}" if max(p, q) < 10 else f"V{p},{q}:{self.dim}"
        return graded_name(self.levels, self.dim) or bracket("perm", self.levels)

    def _closest_step(self) -> Fraction:
        return min(self._smallest_gap())

    @property
    def mcs(self) -> float:
        if self.levels == tuple((-value, count) for value, count in reversed(self.levels)):
            return max(0.0, self.max_cosine)  # every vector's opposite is in the system
        lowest = inner_of_runs(self.levels, reversed(self.levels))
        return max(self.max_cosine, -float(lowest / self.squared_norm))

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return self._spectrum(inner_product_counts(self.levels))

    def _centroid(self) -> tuple[Fraction, ...]:
        total = sum((value * count for value, count in self.levels), Fraction(0))
        return (total / self.dim,) * self.dim

    def _rank(self, vectors: Tensor) -> Tensor:
        return counting.rank_codes(self._level_codes(vectors), self._counts)

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        values = values_of(index.device, tuple(float(value) for value, _ in self.levels), dtype)
        return values[counting.unrank_codes(index, self._counts)]

    def _contains(self, vectors: Tensor) -> Tensor:
        return self._holds_levels(vectors)

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        values = [value for value, _ in self.levels]
        codes = [values.index(value) for value in word]
        self._check_counts(codes)
        return counting.rank_word(codes, self._counts)

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(self.levels[code][0] for code in counting.unrank_word(index, self._counts))

    def _nearest(self, x: Tensor) -> Tensor:
        order = x.argsort(dim=1, descending=True, stable=True)
        return torch.empty_like(x).scatter_(1, order, sorted_base(self.levels, x).expand_as(x))

    def _contested_places(self, x: Tensor, k: int) -> Tensor | None:
        rest = counting.most_frequent(self._counts)
        top = sum(self._counts[:rest]) + k - 1 if rest > 0 else 0
        bottom = sum(self._counts[rest + 1 :]) + k - 1 if rest + 1 < len(self.levels) else 0
        if top + bottom >= self.dim:
            return None
        order = x.argsort(dim=1, descending=True, stable=True)
        return torch.cat([order[:, :top], order[:, self.dim - bottom :]], dim=1)

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if k == 1 or self._trellis.states <= FEW_STATES:
            return super()._nearest_k(x, k)
        order = x.argsort(dim=1, descending=True, stable=True)
        nearest = torch.empty_like(x).scatter_(1, order, sorted_base(self.levels, x).expand_as(x))
        best = (nearest * x).sum(1, keepdim=True)
        places = order[:, best_first.contested_places(x.device, self._counts, k)]
        part, levels = x.gather(1, places), float_values(self.levels, x)
        words = levels[best_first.best_words(part.detach(), levels, self._counts, k)]
        vectors = nearest[:, None].repeat(1, k, 1).scatter_(2, places[:, None].expand(-1, k, -1), words)
        # the differences are small, so that words which lose nothing get the very same value
        values = best - ((words[:, :1] - words) @ part[:, :, None])[..., 0]
        values, order = values.sort(dim=1, descending=True, stable=True)
        return values, vectors.gather(1, order[..., None].expand_as(vectors))

    def _log_partition(self, z: Tensor) -> Tensor:
        if len(self.levels) == 3 and self._counts[0] == self._counts[2] == 1:
            return self._log_partition_of_pairs(z)
        return super()._log_partition(z)

    def _log_partition_of_pairs(self, z: Tensor) -> Tensor:
        """Closed form for one high level, one low level, and the rest: O(n), for the roots of A_n.

        Subtracting the diagonal is safe: the pairs on it are outweighed by those with the largest and the
        smallest coordinate, so at least a third of the double sum remains.
        """
        high, rest, low = (float(value) for value, _ in self.levels)
        up, down = (high - rest) * z, (low - rest) * z
        square = torch.logsumexp(up, 1) + torch.logsumexp(down, 1)
        diagonal = torch.logsumexp(up + down, 1)
        return rest * z.sum(1) + square + torch.log1p(-(diagonal - square).exp())
