"""Orbits of a base vector under permutations, signed permutations, and even-signed permutations.

They are the orbits of the Weyl groups of types A, B/C and D in the coordinates where these groups permute and
change signs (Humphreys, *Reflection Groups and Coxeter Groups*, 2.10), and Slepian's permutation modulation
(Proc. IEEE 53, 1965), whose decoding by sorting is `nearest`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rootspace.systems import counting, trellis
from rootspace.systems.base import VectorSystem
from rootspace.systems.constants import kept_per_device, values_of
from rootspace.systems.spectrum import inner_product_counts
from rootspace.systems.trellis import Trellis

Levels = tuple[tuple[Fraction, int], ...]


def run_length(values: Iterable[Fraction | int | float]) -> Levels:
    """Group numbers into (value, multiplicity) pairs, largest value first.

    >>> [(int(value), count) for value, count in run_length([0, 1, 0, -1])]
    [(1, 1), (0, 2), (-1, 1)]
    """
    return levels_of(Counter(Fraction(value) for value in values))


def levels_of(counts: Mapping[Any, int]) -> Levels:
    """(value, multiplicity) pairs, largest value first, from a mapping; multiplicities of 0 are left out."""
    return tuple(sorted(((Fraction(value), count) for value, count in counts.items() if count), reverse=True))


@dataclass(frozen=True)
class _Orbit(VectorSystem):
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
        return _nearest_value(vectors, [value for value, _ in self.levels])

    def _holds_levels(self, magnitudes: Tensor) -> Tensor:
        """Whether each row is an arrangement of the levels: (B, n) -> bool (B,)."""
        codes = self._level_codes(magnitudes)
        values = _values(self.levels, magnitudes)
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

    def _choice_values(self, like: Tensor) -> Tensor:
        return values_of(like.device, tuple(float(value) for value, _, _ in self._choices), like.dtype)

    def _log_partition(self, z: Tensor) -> Tensor:
        return trellis.log_partition(self._trellis, z[..., None] * self._choice_values(z), self._odd)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        values = self._choice_values(z)
        chosen = (excluded[..., None] - values).abs().argmin(-1, keepdim=True)
        on = torch.zeros(*z.shape, len(values), dtype=torch.bool, device=z.device).scatter_(-1, chosen, True)
        scores = trellis.deviating_scores(z[..., None] * values, on)
        return trellis.log_partition(self._trellis.deviating(), scores, self._odd)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        values = self._choice_values(z)
        return values[trellis.sample(self._trellis, z[..., None] * values, k, generator, self._odd)]

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
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

    def _nearest_k_among(self, x: Tensor, k: int, orbit: _Orbit | None = None) -> tuple[Tensor, Tensor]:
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

    def _shortened(self, dim: int) -> _Orbit:
        """This orbit with fewer copies of its most frequent level."""
        rest = counting.most_frequent(self._counts)
        spare = dim - (self.dim - self._counts[rest])
        # through __new__: a short orbit may be a single vector, which no user may build
        short = object.__new__(type(self))
        levels = tuple((v, spare if i == rest else c) for i, (v, c) in enumerate(self.levels))
        object.__setattr__(short, "levels", levels)
        return short


@dataclass(frozen=True)
class PermutationOrbit(_Orbit):
    """All permutations of a base vector (Weyl group of type A).

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
        return _bracket("perm", self.levels)

    def _closest_step(self) -> Fraction:
        return min(self._smallest_gap())

    @property
    def mcs(self) -> float:
        base = [value for value, count in self.levels for _ in range(count)]
        if base == [-value for value in reversed(base)]:  # every vector's opposite is in the system
            return max(0.0, self.max_cosine)
        lowest = sum(a * b for a, b in zip(base, reversed(base), strict=True))
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
        _check_counts(self, codes)
        return counting.rank_word(codes, self._counts)

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(self.levels[code][0] for code in counting.unrank_word(index, self._counts))

    def _nearest(self, x: Tensor) -> Tensor:
        order = x.argsort(dim=1, descending=True, stable=True)
        return torch.empty_like(x).scatter_(1, order, _sorted_base(self.levels, x).expand_as(x))

    def _contested_places(self, x: Tensor, k: int) -> Tensor | None:
        rest = counting.most_frequent(self._counts)
        top = sum(self._counts[:rest]) + k - 1 if rest > 0 else 0
        bottom = sum(self._counts[rest + 1 :]) + k - 1 if rest + 1 < len(self.levels) else 0
        if top + bottom >= self.dim:
            return None
        order = x.argsort(dim=1, descending=True, stable=True)
        return torch.cat([order[:, :top], order[:, self.dim - bottom :]], dim=1)

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


@dataclass(frozen=True)
class SignedOrbit(_Orbit):
    """All permutations and sign changes of a base vector (Weyl group of type B or C).

    >>> SignedOrbit(run_length([1, 1, 0, 0])).size
    24
    """

    def __post_init__(self) -> None:
        if any(value < 0 for value, _ in self.levels):
            raise ValueError("give the levels of a signed orbit as magnitudes")
        super().__post_init__()

    @property
    def _choices(self) -> list[tuple[Fraction, int, bool]]:
        plus = [(value, level, False) for level, (value, _) in enumerate(self.levels)]
        return plus + [(-value, level, False) for value, level, _ in plus if value > 0]

    @cached_property
    def _nonzeros(self) -> int:
        return sum(count for value, count in self.levels if value > 0)

    @cached_property
    def size(self) -> int:
        return counting.arrangements(self._counts) << self._nonzeros

    @property
    def spec(self) -> str:
        if {value for value, _ in self.levels} <= {Fraction(1), Fraction(0)}:
            return f"W{self._nonzeros}:{self.dim}"
        return _bracket("signed", self.levels)

    def _closest_step(self) -> Fraction:
        smallest = min(value for value, _ in self.levels if value > 0)
        return min([*self._smallest_gap(), 2 * smallest**2])

    @property
    def mcs(self) -> float:
        return max(0.0, self.max_cosine)  # every vector's opposite is in the system

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return self._spectrum(inner_product_counts(self.levels, signed=True))

    def _centroid(self) -> tuple[Fraction, ...]:
        return (Fraction(0),) * self.dim

    # index = arrangement of the magnitudes, then one bit for each nonzero coordinate, the first one highest

    def _sign_bits(self) -> int:
        return self._nonzeros

    def _rank(self, vectors: Tensor) -> Tensor:
        codes = self._level_codes(vectors.abs())
        place = (vectors != 0).cumsum(1) - 1
        weight = _powers(vectors.device, self._sign_bits())[place.clamp(0, self._sign_bits())]
        bits = torch.where(vectors < 0, weight, 0).sum(1)
        return (counting.rank_codes(codes, self._counts) << self._sign_bits()) + bits

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        values = values_of(index.device, tuple(float(value) for value, _ in self.levels), dtype)
        magnitudes = values[counting.unrank_codes(index >> self._sign_bits(), self._counts)]
        place = (magnitudes != 0).cumsum(1) - 1
        weight = _powers(index.device, self._sign_bits())[place.clamp(0, self._sign_bits())]
        negative = (index[:, None] & weight) != 0
        return torch.where(negative & (magnitudes != 0), -magnitudes, magnitudes)

    def _contains(self, vectors: Tensor) -> Tensor:
        return self._holds_levels(vectors.abs())

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        values = [value for value, _ in self.levels]
        codes = [values.index(abs(value)) for value in word]
        _check_counts(self, codes)
        signs = [value < 0 for value in word if value != 0][: self._sign_bits()]
        bits = sum(1 << (self._sign_bits() - 1 - place) for place, sign in enumerate(signs) if sign)
        return (counting.rank_word(codes, self._counts) << self._sign_bits()) + bits

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        word = [self.levels[c][0] for c in counting.unrank_word(index >> self._sign_bits(), self._counts)]
        nonzero = [place for place, value in enumerate(word) if value != 0]
        for k, place in enumerate(nonzero[: self._sign_bits()]):
            if index >> (self._sign_bits() - 1 - k) & 1:
                word[place] = -word[place]
        return tuple(word)

    def _nearest(self, x: Tensor) -> Tensor:
        order = x.abs().argsort(dim=1, descending=True, stable=True)
        magnitudes = torch.empty_like(x).scatter_(1, order, _sorted_base(self.levels, x).expand_as(x))
        return torch.where((x < 0) & (magnitudes != 0), -magnitudes, magnitudes)

    def _contested_places(self, x: Tensor, k: int) -> Tensor | None:
        # only zero, the last level, has no sign to choose
        if self.levels[-1][0] != 0 or counting.most_frequent(self._counts) != len(self.levels) - 1:
            return None
        top = self._nonzeros + k - 1
        return x.abs().argsort(dim=1, descending=True, stable=True)[:, :top] if top < self.dim else None


@dataclass(frozen=True)
class EvenSignedOrbit(SignedOrbit):
    """All permutations and even numbers of sign changes of a base vector without a zero (Weyl group of type D).

    levels: the magnitudes; odd: whether the base vector has an odd number of negative coordinates. (With a
    zero among the levels this orbit is the `SignedOrbit`.)

    >>> EvenSignedOrbit(run_length([1, 1, 1, 1])).size
    8
    """

    odd: bool = False

    def __post_init__(self) -> None:
        if any(value == 0 for value, _ in self.levels):
            raise ValueError("with a zero coordinate even sign changes give every sign: use a SignedOrbit")
        super().__post_init__()

    @property
    def _odd(self) -> bool:
        return self.odd

    @property
    def _choices(self) -> list[tuple[Fraction, int, bool]]:
        return [(value, level, value < 0) for value, level, _ in super()._choices]

    @cached_property
    def size(self) -> int:
        return counting.arrangements(self._counts) << (self.dim - 1)

    @property
    def spec(self) -> str:
        if not self.odd:
            return _bracket("even", self.levels)
        *upper, (smallest, count) = self.levels
        body = [*upper, (smallest, count - 1), (-smallest, 1)]
        return _bracket("even", tuple((value, count) for value, count in body if count))

    def _closest_step(self) -> Fraction:
        second, smallest = [value for value, count in self.levels for _ in range(min(count, 2))][-2:]
        return min([*self._smallest_gap(), (second + smallest) ** 2])

    @property
    def mcs(self) -> float:
        if self.dim % 2 == 0:
            return super().mcs
        # of odd dimension: the opposite vector is missing; the farthest one has its smallest coordinate kept
        lowest = 2 * self.levels[-1][0] ** 2 - self.squared_norm
        return max(self.max_cosine, -float(lowest / self.squared_norm))

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return self._spectrum(inner_product_counts(self.levels, even=True))

    # the last sign follows from the others, so it has no bit

    def _sign_bits(self) -> int:
        return self.dim - 1

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        vectors = super()._unrank(index, dtype)
        wrong = ((vectors < 0).sum(1) % 2 == 1) != self.odd
        return torch.cat([vectors[:, :-1], torch.where(wrong, -vectors[:, -1], vectors[:, -1])[:, None]], dim=1)

    def _contains(self, vectors: Tensor) -> Tensor:
        return super()._contains(vectors) & (((vectors < 0).sum(1) % 2 == 1) == self.odd)

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        if (sum(value < 0 for value in word) % 2 == 1) != self.odd:
            raise ValueError(f"a vector of {self.spec} has another parity of signs")
        return super()._rank_exact(word)

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        word = super()._unrank_exact(index)
        wrong = (sum(value < 0 for value in word) % 2 == 1) != self.odd
        return (*word[:-1], -word[-1] if wrong else word[-1])

    def _nearest(self, x: Tensor) -> Tensor:
        vectors = super()._nearest(x)
        wrong = ((vectors < 0).sum(1) % 2 == 1) != self.odd
        # the cheapest sign to change is that of the smallest coordinate, which has the smallest level
        last = x.abs().argsort(dim=1, descending=True, stable=True)[:, -1:]
        sign = torch.where(wrong[:, None], -1.0, 1.0).to(x.dtype)
        return vectors.scatter(1, last, vectors.gather(1, last) * sign)

    def _contested_places(self, x: Tensor, k: int) -> Tensor | None:
        return None


def _values(levels: Levels, like: Tensor) -> Tensor:
    return values_of(like.device, tuple(float(value) for value, _ in levels), like.dtype)


def _sorted_base(levels: Levels, like: Tensor) -> Tensor:
    """The base vector in descending order, (n,)."""
    return values_of(like.device, tuple(float(value) for value, count in levels for _ in range(count)), like.dtype)


def _nearest_value(x: Tensor, descending: list[Fraction]) -> Tensor:
    """The position of the nearest of some descending values: -> int64, the shape of x."""
    middles = tuple(float((a + b) / 2) for a, b in pairwise(descending))
    return len(middles) - torch.bucketize(x.contiguous(), values_of(x.device, middles[::-1], x.dtype))


@kept_per_device
def _powers(bits: int) -> Tensor:
    """2^(bits-1), ..., 2, 1, and 0 for a place that has no bit."""
    return torch.tensor([1 << k for k in range(bits - 1, -1, -1)] + [0], dtype=torch.int64)


def _check_counts(orbit: _Orbit, codes: list[int]) -> None:
    if tuple(codes.count(code) for code in range(len(orbit.levels))) != orbit._counts:
        raise ValueError(f"not a vector of {orbit.spec}: its values occur another number of times")


def _bracket(kind: str, levels: Levels) -> str:
    parts = [f"{value}^{count}" if count > 1 else f"{value}" for value, count in levels]
    return f"{kind}[{','.join(parts)}]"
