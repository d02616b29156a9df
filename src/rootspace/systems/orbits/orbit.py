"""Orbits of a base vector under a group that permutes coordinates, and changes signs or not.

They are the orbits of the Weyl groups of types A, B/C and D in the coordinates where these groups permute and
change signs (Humphreys, *Reflection Groups and Coxeter Groups*, 2.10), and Slepian's permutation modulation
(Proc. IEEE 53, 1965), whose decoding by sorting is `nearest`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem
from rootspace.systems.constants import values_of
from rootspace.systems.orbits import counting, trellis
from rootspace.systems.orbits.levels import Levels, float_values, nearest_level, sorted_base
from rootspace.systems.orbits.trellis import Trellis


@dataclass(frozen=True)
class Orbit(VectorSystem):
    """What the three kinds of orbit share: levels with multiplicities, and the trellis over coordinates.

    levels: the distinct values of the base vector (their magnitudes, where signs change) with their
    multiplicities, largest first.
    """

    levels: Levels

    def __post_init__(self) -> None:
        if list(self.levels) != sorted(set(self.levels), reverse=True) or len(dict(self.levels)) != len(self.levels):
            raise ValueError("levels must be different and descend")
        if any(count < 1 for _, count in self.levels):
            raise ValueError("every level needs a multiplicity of at least 1")
        if self.squared_norm == 0:
            raise ValueError("the base vector is zero: its orbit has no direction")
        if self.size < 2:
            raise ValueError("the orbit of this base vector is one single vector; a system needs two")

    # what a kind of orbit adds to its levels

    @property
    def _choices(self) -> list[tuple[Fraction, int, bool]]:
        """The values a coordinate may take: (value, level it uses, whether it counts as a sign change)."""
        raise NotImplementedError

    @property
    def _odd(self) -> bool:
        """Which parity of sign changes words have; of no meaning where parity does not matter."""
        return False

    # exact scalars

    @cached_property
    def dim(self) -> int:
        return sum(self._counts)

    @cached_property
    def squared_norm(self) -> Fraction:
        return sum((value * value * count for value, count in self.levels), Fraction(0))

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(count for _, count in self.levels)

    @cached_property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(sorted({value for value, _, _ in self._choices}, reverse=True))

    @property
    def max_cosine(self) -> float:
        return float(1 - self._closest_step() / self.squared_norm)

    def _closest_step(self) -> Fraction:
        """squared norm - largest inner product of two different vectors."""
        raise NotImplementedError

    def _smallest_gap(self) -> list[Fraction]:
        """The squared gap of the two closest levels; swapping them moves the inner product by this much."""
        gaps = [(a - b) ** 2 for (a, _), (b, _) in pairwise(self.levels)]
        return [min(gaps)] if gaps else []

    def _spectrum(self, inner_products: dict[Fraction, int]) -> dict[Fraction, Fraction]:
        return {inner / self.squared_norm: Fraction(count) for inner, count in inner_products.items()}

    # indices: `counting` numbers the arrangements of the levels

    def _level_codes(self, vectors: Tensor) -> Tensor:
        """The nearest level of each coordinate: (B, n) -> int64 (B, n)."""
        return nearest_level(vectors, [value for value, _ in self.levels])

    def _holds_levels(self, magnitudes: Tensor) -> Tensor:
        """Whether each row is an arrangement of the levels: (B, n) -> bool (B,)."""
        codes = self._level_codes(magnitudes)
        values = float_values(self.levels, magnitudes)
        # a value such as 1/3 arrives rounded
        tolerance = 4 * torch.finfo(magnitudes.dtype).eps * float(max(abs(value) for value, _ in self.levels))
        close = ((magnitudes - values[codes]).abs() <= tolerance).all(1)
        for code, count in enumerate(self._counts):
            close &= (codes == code).sum(1) == count
        return close

    # the trellis

    @cached_property
    def _trellis(self) -> Trellis:
        rest = counting.most_frequent(self._counts)
        counted = [level for level in range(len(self.levels)) if level != rest]
        choices = self._choices
        flips = tuple(flip for _, _, flip in choices)
        return Trellis(
            counts=tuple(self._counts[level] for level in counted),
            levels=tuple(-1 if level == rest else counted.index(level) for _, level, _ in choices),
            signs=flips if any(flips) else (),
        )

    @property
    def has_log_partition(self) -> bool:
        return self._trellis.states <= trellis.STATE_LIMIT

    def _require_few_states(self, method: str, instead: str) -> None:
        """Raise `NotImplementedError`, before anything is computed, where the trellis has too many states."""
        if not self.has_log_partition:
            raise NotImplementedError(
                f"{self.spec} has {self._trellis.states:,} states in the recursion over its coordinates, and the limit "
                f"for {method} is {trellis.STATE_LIMIT:,}: {instead}, or take fewer levels, such as dense:n has"
            )

    def _choice_values(self, like: Tensor) -> Tensor:
        return values_of(like.device, tuple(float(value) for value, _, _ in self._choices), like.dtype)

    def _log_partition(self, z: Tensor) -> Tensor:
        self._require_few_states("log_partition", "take a softmax over the classes in use")
        return trellis.log_partition(self._trellis, z[..., None] * self._choice_values(z), self._odd)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        self._require_few_states("log_partition", "take a softmax over the classes in use")
        values = self._choice_values(z)
        chosen = (excluded[..., None] - values).abs().argmin(-1, keepdim=True)
        on = torch.zeros(*z.shape, len(values), dtype=torch.bool, device=z.device).scatter_(-1, chosen, True)
        scores = trellis.deviating_scores(z[..., None] * values, on)
        return trellis.log_partition(self._trellis.deviating(), scores, self._odd)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        self._require_few_states("sample", "use random for uniform draws, nearest_k for near vectors")
        values = self._choice_values(z)
        return values[trellis.sample(self._trellis, z[..., None] * values, k, generator, self._odd)]

    def _random(self, k: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
        # with 53 bits two coordinates practically never tie, so every order is equally likely
        order = torch.rand(k, self.dim, generator=generator, dtype=torch.float64, device=like.device).argsort(dim=1)
        return sorted_base(self.levels, like)[order]

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if k == 1:  # what most callers want, and sorting is enough for it
            vectors = self._nearest(x)
            return (vectors * x).sum(1, keepdim=True), vectors[:, None]
        self._require_few_states("nearest_k", "use nearest")
        places = self._contested_places(x, k)
        rest = float(self.levels[counting.most_frequent(self._counts)][0])
        if places is None:
            return self._nearest_k_among(x, k)
        # every other coordinate holds the most frequent level in all of the k nearest vectors
        _, words = self._nearest_k_among(x.gather(1, places), k, self._shortened(places.shape[1]))
        vectors = x.new_full((x.shape[0], k, self.dim), rest)
        vectors.scatter_(2, places[:, None].expand(-1, k, -1), words)
        values = (vectors @ x[:, :, None])[..., 0]
        values, order = values.sort(dim=1, descending=True, stable=True)
        return values, vectors.gather(1, order[..., None].expand_as(vectors))

    def _nearest_k_among(self, x: Tensor, k: int, orbit: Orbit | None = None) -> tuple[Tensor, Tensor]:
        orbit = orbit or self
        values = orbit._choice_values(x)
        best, chosen = trellis.nearest_k(orbit._trellis, x[..., None] * values, k, orbit._odd)
        return best, values[chosen]

    def _contested_places(self, x: Tensor, k: int) -> Tensor | None:
        """The coordinates that can differ from the most frequent level in one of the k nearest vectors.

        int64 (B, m), or None for all. If a coordinate held a larger level than k others of larger x, swapping
        it with each of them would give k vectors at least as near. So the levels above the most frequent one
        stay within the k - 1 + (their number) largest coordinates, and those below within the smallest.
        """
        raise NotImplementedError

    def _shortened(self, dim: int) -> Orbit:
        """This orbit with fewer copies of its most frequent level."""
        rest = counting.most_frequent(self._counts)
        spare = dim - (self.dim - self._counts[rest])
        # through __new__: a short orbit may be a single vector, which no user may build
        short = object.__new__(type(self))
        levels = tuple((v, spare if i == rest else c) for i, (v, c) in enumerate(self.levels))
        object.__setattr__(short, "levels", levels)
        return short

    def _check_counts(self, codes: list[int]) -> None:
        """Raise `ValueError` unless a word of level codes uses every level as often as it should."""
        if tuple(codes.count(code) for code in range(len(self.levels))) != self._counts:
            raise ValueError(f"not a vector of {self.spec}: its values occur another number of times")
