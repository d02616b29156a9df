"""The minimal vectors of the lattices E8, BW16 and Leech: the best known, or best possible, kissing configurations.

Conway & Sloane, *Sphere Packings, Lattices and Groups* (3rd ed. 1999), called SPLAG below: chapter 4, sections 8.1
(E8), 10 (BW16) and 11 (Leech).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem
from rootspace.systems.classical.linear_code import golay_code, reed_muller_code
from rootspace.systems.classical.scored import draw, in_full_precision
from rootspace.systems.classical.shells import Shell, SignedSupports, SignsWithException
from rootspace.systems.orbits.levels import levels_of
from rootspace.systems.orbits.orbit import Orbit
from rootspace.systems.orbits.signed import EvenSignedOrbit, SignedOrbit

#: Of each lattice: dimension, squared norm in the coordinates used here, the values of a coordinate, and the numbers
#: of vectors at the cosines 1, 1/2, 1/4, 0 from one of them, the same at the opposite cosines (SPLAG, chapter 14,
#: examples 1 and 2 for E8 and Leech; BW16 by the same design equations, and counted in the tests).
_FACTS: dict[str, tuple[int, int, tuple[Fraction, ...], tuple[int, int, int, int]]] = {
    "E8": (8, 2, tuple(Fraction(value, 2) for value in (2, 1, 0, -1, -2)), (1, 56, 0, 126)),
    "BW16": (16, 8, tuple(Fraction(value) for value in (2, 1, 0, -1, -2)), (1, 280, 1024, 1710)),
    "Leech": (24, 32, tuple(Fraction(value) for value in range(4, -5, -1)), (1, 4600, 47104, 93150)),
}


@dataclass(frozen=True)
class MinimalVectors(VectorSystem):
    """The shortest non-zero vectors of the lattice "E8", "BW16" or "Leech", all at max cosine 1/2.

    A union of shapes, numbered one after the other:

    - E8: (±1^2 0^6), then (±1/2^8) with even signs;
    - BW16: (±2^2 0^14), then (±1^8 0^8) with even signs on the words of weight 8 of RM(1, 4);
    - Leech: (±4^2 0^22), then (±2^8 0^16) with even signs on the Golay code's octads, then (∓3 ±1^23) with the signs
      of a Golay word, the exceptional coordinate multiplied by -3.

    Searching and summing take each shape's closed form: for the Leech lattice some 30,000 operations in place of the
    4.7 million of a product with all vectors.

    >>> MinimalVectors("Leech").size
    196560
    """

    lattice: str

    def __post_init__(self) -> None:
        if self.lattice not in _FACTS:
            raise ValueError(f"a lattice is one of {', '.join(_FACTS)}, got {self.lattice!r}")

    @property
    def dim(self) -> int:
        return _FACTS[self.lattice][0]

    @property
    def squared_norm(self) -> Fraction:
        return Fraction(_FACTS[self.lattice][1])

    @property
    def alphabet(self) -> tuple[Fraction, ...]:
        return _FACTS[self.lattice][2]

    @cached_property
    def size(self) -> int:
        return sum(shape.size for shape in self._shapes)

    @property
    def spec(self) -> str:
        return self.lattice

    @property
    def max_cosine(self) -> float:
        return 0.5

    @property
    def mcs(self) -> float:
        return 0.5

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        same, half, quarter, zero = _FACTS[self.lattice][3]
        counts = {4: same, 2: half, 1: quarter, 0: zero, -1: quarter, -2: half, -4: same}
        return {Fraction(cosine, 4): Fraction(count) for cosine, count in counts.items() if count}

    def _centroid(self) -> tuple[Fraction, ...]:
        return (Fraction(0),) * self.dim

    @cached_property
    def _shapes(self) -> tuple[Orbit | Shell, ...]:
        if self.lattice == "E8":
            return SignedOrbit(levels_of({1: 2, 0: 6})), EvenSignedOrbit(levels_of({Fraction(1, 2): 8}))
        if self.lattice == "BW16":
            return SignedOrbit(levels_of({2: 2, 0: 14})), SignedSupports(reed_muller_code(1, 4), 8, 1.0)
        golay = golay_code()
        return SignedOrbit(levels_of({4: 2, 0: 22})), SignedSupports(golay, 8, 2.0), SignsWithException(golay)

    def _offsets(self) -> list[int]:
        return [sum(shape.size for shape in self._shapes[:place]) for place in range(len(self._shapes))]

    # indices: a shape sees a valid vector or index of its own in place of every foreign one

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        vectors = torch.empty(len(index), self.dim, dtype=dtype, device=index.device)
        for shape, offset in zip(self._shapes, self._offsets(), strict=True):
            own = index - offset
            inside = (own >= 0) & (own < shape.size)
            found = shape._unrank(own.clamp(0, shape.size - 1), dtype)
            vectors = torch.where(inside[:, None], found, vectors)
        return vectors

    def _own(self, shape: Orbit | Shell, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Which vectors are of a shape, and the vectors with a member of the shape in place of the others."""
        inside = shape._contains(vectors)
        member = shape._unrank(torch.zeros(1, dtype=torch.int64, device=vectors.device), vectors.dtype)
        return inside, torch.where(inside[:, None], vectors, member)

    def _rank(self, vectors: Tensor) -> Tensor:
        index = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
        for shape, offset in zip(self._shapes, self._offsets(), strict=True):
            inside, own = self._own(shape, vectors)
            index = torch.where(inside, shape._rank(own) + offset, index)
        return index

    def _contains(self, vectors: Tensor) -> Tensor:
        return torch.stack([shape._contains(vectors) for shape in self._shapes]).any(0)

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        row = torch.tensor([[float(value) for value in word]], dtype=torch.float64)  # halves and integers: exact
        if not bool(self._contains(row)):
            raise ValueError(f"not a vector of {self.spec}")
        return int(self._rank(row))

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(Fraction(value) for value in self._unrank(torch.tensor([index]), torch.float64)[0].tolist())

    # searching and summing: over the shapes

    @in_full_precision
    def _nearest(self, x: Tensor) -> Tensor:
        found = torch.stack([shape._nearest(x) for shape in self._shapes], dim=1)
        best = (found @ x[:, :, None])[..., 0].argmax(1)
        return found.gather(1, best[:, None, None].expand(-1, 1, self.dim))[:, 0]

    @in_full_precision
    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        found = [shape._nearest_k(x, min(k, shape.size)) for shape in self._shapes]
        values, place = torch.cat([values for values, _ in found], dim=1).topk(k, dim=1)
        vectors = torch.cat([vectors for _, vectors in found], dim=1)
        return values, vectors.gather(1, place[..., None].expand(-1, -1, self.dim))

    def _log_partition(self, z: Tensor) -> Tensor:
        return torch.logsumexp(torch.stack([shape._log_partition(z) for shape in self._shapes], dim=1), dim=1)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        sums = []
        for shape in self._shapes:
            inside, own = self._own(shape, excluded)
            sums.append(torch.where(inside, shape._log_partition_without(z, own), shape._log_partition(z)))
        return torch.logsumexp(torch.stack(sums, dim=1), dim=1)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        if not (len(z) and k):
            return z.new_empty(len(z), k, self.dim)
        sums = torch.stack([shape._log_partition(z) for shape in self._shapes], dim=1)
        picked = draw(sums, k, generator)
        vectors = z.new_empty(len(z), k, self.dim)
        for place, shape in enumerate(self._shapes):
            drawn = shape._sample_vectors(z, k, generator)
            vectors = torch.where((picked == place)[..., None], drawn, vectors)
        return vectors


def E8() -> MinimalVectors:
    """The 240 roots of E8: the largest kissing configuration in 8 dimensions.

    >>> E8().size, E8().dim, E8().max_cosine
    (240, 8, 0.5)
    """
    return MinimalVectors("E8")


def BW16() -> MinimalVectors:
    """The 4,320 minimal vectors of the Barnes-Wall lattice in 16 dimensions.

    >>> BW16().size, BW16().dim, BW16().max_cosine
    (4320, 16, 0.5)
    """
    return MinimalVectors("BW16")


def Leech() -> MinimalVectors:
    """The 196,560 minimal vectors of the Leech lattice: the largest kissing configuration in 24 dimensions.

    >>> Leech().size, Leech().dim, Leech().max_cosine
    (196560, 24, 0.5)
    """
    return MinimalVectors("Leech")
