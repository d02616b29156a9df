"""The regular polytopes that exist in every dimension, under their own names."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import sqrt

import torch
from torch import Tensor

from rootspace.systems.classical.scored import Scored
from rootspace.systems.constants import values_of
from rootspace.systems.orbits.levels import levels_of
from rootspace.systems.orbits.permutation import PermutationOrbit
from rootspace.systems.orbits.signed import EvenSignedOrbit, SignedOrbit


@dataclass(frozen=True)
class Simplex(Scored):
    """n + 1 vectors in n dimensions, any two at cosine -1/n: the best there is (Rankin 1955; an equiangular frame).

    Vector 0 is (-1, ..., -1); vector i is b everywhere, but b + sqrt(n + 1) at coordinate i, with
    b = (1 - sqrt(n + 1)) / n. These numbers are irrational: `alphabet` and `unrank_exact` give them rounded
    to float64, the norm sqrt(n) and the cosines are exact.

    >>> Simplex(4).size, Simplex(4).max_cosine
    (5, -0.25)
    """

    n: int

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ValueError(f"a simplex has n >= 2 dimensions, got {self.n}")

    @property
    def dim(self) -> int:
        return self.n

    @property
    def size(self) -> int:
        return self.n + 1

    @property
    def squared_norm(self) -> Fraction:
        return Fraction(self.n)

    @property
    def spec(self) -> str:
        return f"simplex:{self.n}"

    @property
    def max_cosine(self) -> float:
        return -1 / self.n

    @property
    def mcs(self) -> float:
        return 1 / self.n

    @cached_property
    def _levels(self) -> tuple[float, float, float]:
        """The value at a vector's own coordinate, at the others, and in vector 0."""
        other = (1 - sqrt(self.n + 1)) / self.n
        return other + sqrt(self.n + 1), other, -1.0

    @property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(Fraction(value) for value in self._levels)

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return {Fraction(1): Fraction(1), Fraction(-1, self.n): Fraction(self.n)}

    def _centroid(self) -> tuple[Fraction, ...]:
        return (Fraction(0),) * self.n

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        own, other, first = values_of(index.device, self._levels, dtype)
        place = torch.arange(1, self.n + 1, device=index.device)
        vectors = torch.where(index[:, None] == place, own, other)
        return torch.where(index[:, None] == 0, first, vectors)

    def _rank(self, vectors: Tensor) -> Tensor:
        return torch.where(vectors.amax(1) > 0, vectors.argmax(1) + 1, 0)

    def _contains(self, vectors: Tensor) -> Tensor:
        error = (vectors - self._unrank(self._rank(vectors), vectors.dtype)).abs().amax(1)
        return error <= 4 * torch.finfo(vectors.dtype).eps * self._levels[0]

    def _scores(self, x: Tensor) -> Tensor:
        total = x.sum(1, keepdim=True)
        return torch.cat([-total, sqrt(self.n + 1) * x + self._levels[1] * total], dim=1)


def simplex(n: int, coordinates: int | None = None) -> Simplex | PermutationOrbit:
    """The n + 1 vectors of the regular simplex, in n coordinates, or in n + 1 with whole numbers: n and -1.

    The second form spans n dimensions of its n + 1.

    >>> simplex(4).spec, simplex(4, coordinates=5).spec
    ('simplex:4', 'perm[4,-1^4]')
    """
    if coordinates in (None, n):
        return Simplex(n)
    if coordinates != n + 1 or n < 2:
        raise ValueError(f"the simplex of n + 1 vectors has n or n + 1 coordinates, n >= 2; got n={n}, {coordinates}")
    return PermutationOrbit(levels_of({n: 1, -1: n}))


def orthoplex(n: int) -> SignedOrbit:
    """The 2n vectors with one coordinate 1 or -1: the same system as weight(n, 1).

    >>> orthoplex(8).spec, orthoplex(8).max_cosine
    ('W1:8', 0.0)
    """
    if n < 2:
        raise ValueError(f"an orthoplex has n >= 2 dimensions, got {n}")
    return SignedOrbit(levels_of({1: 1, 0: n - 1}))


def hypercube(n: int) -> SignedOrbit:
    """The 2^n sign vectors, at max cosine 1 - 2/n: the same system as weight(n, n).

    >>> hypercube(8).size, hypercube(8).max_cosine
    (256, 0.75)
    """
    if n < 2:
        raise ValueError(f"a hypercube has n >= 2 dimensions, got {n}")
    return SignedOrbit(levels_of({1: n}))


def half_cube(n: int) -> EvenSignedOrbit:
    """The 2^(n-1) sign vectors with an even number of -1, at max cosine 1 - 4/n.

    >>> half_cube(8).size, half_cube(8).max_cosine
    (128, 0.5)
    """
    if n < 3:
        raise ValueError(f"a half-cube has n >= 3 dimensions, got {n}")
    return EvenSignedOrbit(levels_of({1: n}))
