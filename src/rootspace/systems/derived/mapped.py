"""The same vectors in other coordinates: at another norm, with a coordinate fewer, or padded with zeros.

Each is the image of a system under a linear map that keeps all angles. With the map out and its adjoint in,
<x, out(v)> = <into(x), v>, so decoding, k best, sums and samples are those of the inner system.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import isqrt, sqrt

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem
from rootspace.systems.constants import values_of
from rootspace.systems.orbits.levels import nearest_level
from rootspace.systems.orbits.orbit import Orbit
from rootspace.systems.orbits.permutation import PermutationOrbit


def rational_root(square: Fraction) -> Fraction | None:
    """The square root of a fraction where it is a fraction, else None.

    >>> rational_root(Fraction(4, 9)), rational_root(Fraction(2))
    (Fraction(2, 3), None)
    """
    above, below = isqrt(square.numerator), isqrt(square.denominator)
    return Fraction(above, below) if (above**2, below**2) == (square.numerator, square.denominator) else None


@dataclass(frozen=True)
class Mapped(VectorSystem):
    """The image of `inner` under a map that multiplies all inner products by one number."""

    inner: VectorSystem

    @abstractmethod
    def _out(self, vectors: Tensor) -> Tensor:
        """The map: (B, inner n) -> (B, n), the same operations in the same order on every batch."""

    @abstractmethod
    def _into(self, x: Tensor) -> Tensor:
        """Its adjoint: (B, n) -> (B, inner n)."""

    @abstractmethod
    def _back(self, vectors: Tensor) -> Tensor:
        """Its inverse on members, to the dtype's accuracy: (B, n) -> (B, inner n)."""

    @abstractmethod
    def _back_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        """The inner word of a word over the alphabet; raises `ValueError` where there is none."""

    @abstractmethod
    def _out_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]: ...

    @property
    def size(self) -> int:
        return self.inner.size

    @property
    def max_cosine(self) -> float:
        return self.inner.max_cosine

    @property
    def mcs(self) -> float:
        return self.inner.mcs

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return self.inner.cosine_spectrum()

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        return self._out(self.inner._unrank(index, dtype))

    def _rank(self, vectors: Tensor) -> Tensor:
        return self.inner._rank(self._back(vectors))

    def _contains(self, vectors: Tensor) -> Tensor:
        return self.inner._contains(self._back(vectors))

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        return self.inner.rank_exact(self._back_exact(word))

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return self._out_exact(self.inner.unrank_exact(index))

    def _nearest(self, x: Tensor) -> Tensor:
        return self._out(self.inner._nearest(self._into(x)))

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, vectors = self.inner._nearest_k(self._into(x), k)
        return values, self._out(vectors.flatten(0, 1)).reshape(len(x), k, self.dim)

    @property
    def has_log_partition(self) -> bool:
        return self.inner.has_log_partition

    def _log_partition(self, z: Tensor) -> Tensor:
        return self.inner._log_partition(self._into(z))

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        return self.inner._log_partition_without(self._into(z), self._back(excluded))

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        vectors = self.inner._sample_vectors(self._into(z), k, generator)
        return self._out(vectors.flatten(0, 1)).reshape(len(z), k, self.dim)

    def _random(self, k: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
        return self._out(self.inner._random(k, generator, like))


# ---------------------------------------------------------------------- another norm


@dataclass(frozen=True)
class Scaled(Mapped):
    """A system at another norm; coordinates that are not rational are the nearest float64.

    >>> scaled(PermutationOrbit(((Fraction(1), 1), (Fraction(0), 3))), 3).spec
    'scaled(V10:4, 3)'
    """

    square: Fraction

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def squared_norm(self) -> Fraction:
        return self.square

    @property
    def spec(self) -> str:
        return f"scaled({self.inner.spec}, {self.square})"

    @cached_property
    def _factor(self) -> float:
        return sqrt(self.square / self.inner.squared_norm)

    def _image(self, value: Fraction) -> Fraction:
        return Fraction(float(value) * self._factor)

    @cached_property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(self._image(value) for value in self.inner.alphabet)

    def _centroid(self) -> tuple[Fraction, ...]:
        return tuple(self._image(value) for value in self.inner.centroid())

    def _out(self, vectors: Tensor) -> Tensor:
        return vectors * self._factor

    def _into(self, x: Tensor) -> Tensor:
        return x * self._factor

    def _back(self, vectors: Tensor) -> Tensor:
        return vectors / self._factor

    def _out_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        return tuple(self._image(value) for value in word)

    def _back_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        inverse = dict(zip(self.alphabet, self.inner.alphabet, strict=True))
        return tuple(inverse[value] for value in word)


def scaled(system: VectorSystem, squared_norm: int | Fraction) -> VectorSystem:
    """The same directions at another norm, given as its square.

    An orbit stays an orbit where the factor is rational. Raises `ValueError` unless squared_norm > 0.

    >>> scaled(PermutationOrbit(((Fraction(1), 1), (Fraction(0), 3))), 4).spec
    'perm[2,0^3]'
    """
    square = Fraction(squared_norm)
    if square <= 0:
        raise ValueError(f"a squared norm is positive, got {square}")
    if isinstance(system, Scaled):
        return scaled(system.inner, square)
    if isinstance(system, (Flat, Embedded)):
        return replace(system, inner=scaled(system.inner, square))
    if square == system.squared_norm:
        return system
    factor = rational_root(square / system.squared_norm)
    if isinstance(system, Orbit) and factor is not None:
        return replace(system, levels=tuple((value * factor, count) for value, count in system.levels))
    return Scaled(system, square)


# ---------------------------------------------------------------------- more coordinates


@dataclass(frozen=True)
class Embedded(Mapped):
    """A system followed by coordinates that are zero."""

    into_dim: int

    def __post_init__(self) -> None:
        if self.into_dim <= self.inner.dim:
            raise ValueError(f"{self.inner.spec} has {self.inner.dim} coordinates already, got {self.into_dim}")

    @property
    def dim(self) -> int:
        return self.into_dim

    @property
    def squared_norm(self) -> Fraction:
        return self.inner.squared_norm

    @property
    def spec(self) -> str:
        return f"embedded({self.inner.spec}, {self.into_dim})"

    @property
    def _spare(self) -> int:
        return self.into_dim - self.inner.dim

    @cached_property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(sorted({*self.inner.alphabet, Fraction(0)}, reverse=True))

    def _centroid(self) -> tuple[Fraction, ...]:
        return self._out_exact(self.inner.centroid())

    def _out(self, vectors: Tensor) -> Tensor:
        return torch.nn.functional.pad(vectors, (0, self._spare))

    def _into(self, x: Tensor) -> Tensor:
        return x[:, : self.inner.dim]

    def _back(self, vectors: Tensor) -> Tensor:
        return vectors[:, : self.inner.dim]

    def _contains(self, vectors: Tensor) -> Tensor:
        return super()._contains(vectors) & (vectors[:, self.inner.dim :] == 0).all(1)

    def _out_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        return word + (Fraction(0),) * self._spare

    def _back_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        if any(word[self.inner.dim :]):
            raise ValueError(f"a vector of {self.spec} ends in {self._spare} zeros")
        return word[: self.inner.dim]


def embedded(system: VectorSystem, dim: int) -> VectorSystem:
    """The system in `dim` coordinates, those it did not have being zero: norm and angles stay.

    Raises `ValueError` if the system has more coordinates than `dim`.
    """
    if isinstance(system, Embedded) and dim >= system.inner.dim:
        return embedded(system.inner, dim)
    return system if dim == system.dim else Embedded(system, dim)


# ---------------------------------------------------------------------- one coordinate fewer


@dataclass(frozen=True)
class Flat(Mapped):
    """A system of vectors with coordinate sum zero in N coordinates, isometrically in N - 1.

    The reflection that carries (1, ..., 1)/sqrt(N) to the last axis takes x to y_i = x_i - a x_N, with
    a = 1 / (1 + sqrt(N)), and a zero; the zero is left out. Its columns are an orthonormal basis of the
    hyperplane. Both directions cost O(N). Coordinates that are not rational are the nearest float64.

    >>> flat(PermutationOrbit(((Fraction(1), 1), (Fraction(0), 2), (Fraction(-1), 1)))).dim
    3
    """

    def __post_init__(self) -> None:
        _value_pairs(self.inner)

    @property
    def dim(self) -> int:
        return self.inner.dim - 1

    @property
    def squared_norm(self) -> Fraction:
        return self.inner.squared_norm

    @property
    def spec(self) -> str:
        return f"flat({self.inner.spec})"

    @cached_property
    def _a(self) -> float:
        return 1 / (1 + sqrt(self.inner.dim))

    def _image(self, value: Fraction, last: Fraction) -> Fraction:
        return Fraction(float(value) - self._a * float(last))  # as float64 tensors compute it

    @cached_property
    def _preimages(self) -> dict[tuple[Fraction, Fraction], Fraction]:
        """(image, last inner coordinate) -> inner coordinate."""
        return {(self._image(value, last), last): value for value, last in _value_pairs(self.inner)}

    @cached_property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(sorted({image for image, _ in self._preimages}, reverse=True))

    def _centroid(self) -> tuple[Fraction, ...]:
        return (Fraction(0),) * self.dim  # the mean has equal coordinates, and their sum is zero

    def _out(self, vectors: Tensor) -> Tensor:
        shift = self._a * vectors[:, -1:]
        return vectors[:, :-1] - shift

    def _into(self, x: Tensor) -> Tensor:
        last = -x.sum(1, keepdim=True) / sqrt(self.inner.dim)
        return torch.cat([x + self._a * last, last], dim=1)

    def _back(self, vectors: Tensor) -> Tensor:
        # the last coordinate is a sum, which rounds; what it should be is known
        last = self._snap(-vectors.sum(1, keepdim=True) / sqrt(self.inner.dim))
        return self._snap(torch.cat([vectors + self._a * last, last], dim=1))

    def _snap(self, x: Tensor) -> Tensor:
        values = values_of(x.device, tuple(float(value) for value in self.inner.alphabet), x.dtype)
        return values[nearest_level(x, list(self.inner.alphabet))]

    def _contains(self, vectors: Tensor) -> Tensor:
        inner = self._back(vectors)
        near = 8 * torch.finfo(vectors.dtype).eps * self.norm
        return self.inner._contains(inner) & ((self._out(inner) - vectors).abs() <= near).all(1)

    def _out_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        return tuple(self._image(value, word[-1]) for value in word[:-1])

    def _back_exact(self, word: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        for last in self.inner.alphabet:
            if all((image, last) in self._preimages for image in word):
                inner = (*(self._preimages[image, last] for image in word), last)
                try:
                    self.inner.rank_exact(inner)
                except ValueError:
                    continue
                return inner
        raise ValueError(f"not a vector of {self.spec}")


def _value_pairs(system: VectorSystem) -> set[tuple[Fraction, Fraction]]:
    """(value of a coordinate, value of the last one) in vectors of a system of coordinate sum zero."""
    if isinstance(system, PermutationOrbit):
        if sum(value * count for value, count in system.levels) != 0:
            raise ValueError(f"{system.spec} has a coordinate sum other than zero: use flat(centred(...))")
        levels = system.levels
        return {(u, v) for u, count in levels for v, _ in levels if (u != v or count > 1) and system.dim > 1}
    if isinstance(system, Scaled):
        return {(system._image(u), system._image(v)) for u, v in _value_pairs(system.inner)}
    parts: tuple[VectorSystem, ...] | None = getattr(system, "parts", None)  # a union, which imports this module
    if parts is None:
        raise ValueError(f"flat takes permutation orbits of coordinate sum zero and unions of them, got {system.spec}")
    return {pair for part in parts for pair in _value_pairs(part)}


def flat(system: VectorSystem) -> VectorSystem:
    """A system of coordinate sum zero in N coordinates, isometrically in N - 1: `flat(A(n))` lives in R^n.

    Raises `ValueError` for systems whose vectors do not all have the coordinate sum zero.
    """
    return Flat(system)
