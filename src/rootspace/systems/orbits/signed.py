"""Orbits under permutations with all sign changes, or with an even number of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from rootspace.systems.constants import kept_per_device, values_of
from rootspace.systems.orbits import counting
from rootspace.systems.orbits.levels import bracket, sorted_base
from rootspace.systems.orbits.orbit import Orbit
from rootspace.systems.orbits.spectrum import inner_product_counts


@dataclass(frozen=True)
class SignedOrbit(Orbit):
    """All permutations and sign changes of a base vector (Weyl group of type B or C).

    >>> from rootspace.systems.orbits.levels import run_length
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
        return bracket("signed", self.levels)

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
        self._check_counts(codes)
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
        magnitudes = torch.empty_like(x).scatter_(1, order, sorted_base(self.levels, x).expand_as(x))
        return torch.where((x < 0) & (magnitudes != 0), -magnitudes, magnitudes)

    def _random(self, k: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
        magnitudes = super()._random(k, generator, like)
        negative = torch.randint(2, (k, self.dim), generator=generator, device=like.device) == 1
        return torch.where(negative & (magnitudes != 0), -magnitudes, magnitudes)

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

    >>> from rootspace.systems.orbits.levels import run_length
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
            return bracket("even", self.levels)
        *upper, (smallest, count) = self.levels
        body = [*upper, (smallest, count - 1), (-smallest, 1)]
        return bracket("even", tuple((value, count) for value, count in body if count))

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
        return self._with_parity(super()._unrank(index, dtype))

    def _with_parity(self, vectors: Tensor) -> Tensor:
        """The vectors with the last sign changed where their parity is wrong."""
        wrong = ((vectors < 0).sum(1) % 2 == 1) != self.odd
        return torch.cat([vectors[:, :-1], torch.where(wrong, -vectors[:, -1], vectors[:, -1])[:, None]], dim=1)

    def _random(self, k: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
        return self._with_parity(super()._random(k, generator, like))

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


@kept_per_device
def _powers(bits: int) -> Tensor:
    """2^(bits-1), ..., 2, 1, and 0 for a place that has no bit."""
    return torch.tensor([1 << k for k in range(bits - 1, -1, -1)] + [0], dtype=torch.int64)
