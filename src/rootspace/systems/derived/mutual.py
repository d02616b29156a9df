"""How close two systems come to each other: exact for orbits, by decoding for what can be listed.

Where a group generates one orbit and leaves the other as it is, one base vector speaks for all of its orbit:
the inner products of the two orbits are those of that base vector with every word of the other. The largest of
them is a decoding, that is, sorting both alike (the rearrangement inequality): both base vectors dominant.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt

import torch

from rootspace.systems.base import VectorSystem
from rootspace.systems.derived.mapped import Scaled, rational_root
from rootspace.systems.orbits.levels import Levels, inner_of_runs, levels_of
from rootspace.systems.orbits.permutation import PermutationOrbit
from rootspace.systems.orbits.signed import EvenSignedOrbit, SignedOrbit
from rootspace.systems.orbits.spectrum import inner_product_counts

#: Systems without known symmetry are compared by listing the smaller one, up to this many vectors.
LIST_LIMIT = 100_000

#: Up to this many pairs of vectors are counted by listing them.
PAIR_LIMIT = 10**8

PERMUTATIONS, EVEN, SIGNED = 0, 1, 2  # each group contains the one before


@dataclass(frozen=True)
class Dominant:
    """An orbit by its group and its base vector, descending, with the fewest negative coordinates."""

    group: int
    base: Levels  # with signs: for an odd number of them one copy of the smallest magnitude is negative
    squared_norm: Fraction

    @property
    def odd(self) -> bool:
        return self.group == EVEN and self.base[-1][0] < 0

    @property
    def levels(self) -> Levels:
        """The magnitudes, for the groups with signs."""
        return self.base if self.group == PERMUTATIONS else magnitudes(self.base)


def magnitudes(levels: Levels) -> Levels:
    counts: dict[Fraction, int] = defaultdict(int)
    for value, count in levels:
        counts[abs(value)] += count
    return levels_of(counts)


def dominant(system: VectorSystem) -> Dominant | None:
    """What kind of orbit a system is, up to its norm; None for another kind of system."""
    if isinstance(system, Scaled):
        return dominant(system.inner)
    if isinstance(system, EvenSignedOrbit):
        *upper, (smallest, count) = system.levels
        counts = {**dict(upper), smallest: count - system.odd, -smallest: int(system.odd)}
        return Dominant(EVEN, levels_of(counts), system.squared_norm)
    if isinstance(system, SignedOrbit):
        return Dominant(SIGNED, system.levels, system.squared_norm)
    if isinstance(system, PermutationOrbit):
        return Dominant(PERMUTATIONS, system.levels, system.squared_norm)
    return None


def largest_inner(orbit: Dominant, base: Levels) -> Fraction:
    """The largest inner product of a vector with a word of an orbit: a decoding in exact numbers."""
    if orbit.group == PERMUTATIONS:
        return inner_of_runs(orbit.base, sorted(base, reverse=True))
    levels, sizes = orbit.levels, magnitudes(base)
    best = inner_of_runs(levels, sizes)
    negatives = sum(count for value, count in base if value < 0)
    if orbit.group == EVEN and sizes[-1][0] != 0 and (negatives % 2 == 1) != orbit.odd:
        best -= 2 * levels[-1][0] * sizes[-1][0]  # the cheapest sign to give up
    return best


def negated(base: Levels) -> Levels:
    return levels_of({-value: count for value, count in base})


def _as_cosine(inner: Fraction, squares: Fraction) -> Fraction:
    """inner / sqrt(squares), exact where it is rational and the nearest float64 where it is not."""
    root = rational_root(squares)
    return inner / root if root is not None else Fraction(float(inner) / sqrt(squares))


def mutual_cosine(first: VectorSystem, second: VectorSystem) -> float:
    """The largest cosine between a vector of one system and a vector of the other; 1.0 if they share a direction.

    Exact for orbits; otherwise the smaller system is listed and decoded by the other. Raises
    `NotImplementedError` where neither is possible, `ValueError` if the dimensions differ.

    >>> from rootspace.systems import D, orbit
    >>> mutual_cosine(D(8), orbit([1] * 8, "even"))
    0.5
    """
    _same_dim(first, second)
    pair = _ordered(first, second)
    if pair is not None:
        orbit, base = pair
        inner, squares = largest_inner(orbit, base.base), orbit.squared_norm * base.squared_norm
        if inner > 0 and inner**2 == squares:
            return 1.0
        return float(_as_cosine(inner, squares))
    return _by_decoding(first, second)


def mutual_mcs(first: VectorSystem, second: VectorSystem) -> float:
    """The largest |cosine| between vectors of two disjoint systems that are not opposite."""
    pair = _ordered(first, second)
    if pair is not None:
        orbit, base = pair
        squares = orbit.squared_norm * base.squared_norm
        lowest = -largest_inner(orbit, negated(base.base))
        if lowest**2 == squares:  # one is the other's opposite, so the distances are those within one of them
            return first.mcs
        return float(abs(_as_cosine(max(largest_inner(orbit, base.base), -lowest), squares)))
    if first.size * second.size <= PAIR_LIMIT:
        cosines = [abs(float(cosine)) for cosine in mutual_counts(first, second)]
        return max((cosine for cosine in cosines if cosine < 1 - 1e-9), default=0.0)
    raise NotImplementedError(f"the mcs between {first.spec} and {second.spec} is unknown; use mutual_cosine")


def mutual_counts(first: VectorSystem, second: VectorSystem) -> dict[Fraction, int]:
    """How many pairs, one vector from each system, have each cosine; sums to the product of the sizes."""
    _same_dim(first, second)
    pair = _ordered(first, second)
    if pair is not None:
        orbit, base = pair
        # every vector of the base's orbit sees the same counts
        sources = second.size if base == dominant(second) else first.size
        counts = inner_product_counts(
            orbit.levels, signed=orbit.group == SIGNED, even=orbit.group == EVEN, base=base.base, odd=orbit.odd
        )
        squares = orbit.squared_norm * base.squared_norm
        return {_as_cosine(inner, squares): sources * count for inner, count in counts.items()}
    if first.size * second.size > PAIR_LIMIT:
        raise NotImplementedError(
            f"{first.spec} and {second.spec} have too many pairs to count; mutual_cosine gives the closest"
        )
    left, right = (system.all(torch.float64) / system.norm for system in (first, second))
    total: dict[float, int] = defaultdict(int)
    for rows in left.split(1024):
        for value, count in zip(*(rows @ right.T).round(decimals=9).unique(return_counts=True), strict=True):
            total[float(value)] += int(count)
    return {Fraction(value): total[value] for value in sorted(total, reverse=True)}


def _same_dim(first: VectorSystem, second: VectorSystem) -> None:
    if first.dim != second.dim:
        raise ValueError(f"{first.spec} has {first.dim} coordinates and {second.spec} has {second.dim}")


def _ordered(first: VectorSystem, second: VectorSystem) -> tuple[Dominant, Dominant] | None:
    """Two orbits, the one of the larger group first: it is invariant under the group of the other."""
    a, b = dominant(first), dominant(second)
    if a is None or b is None:
        return None
    return (a, b) if a.group >= b.group else (b, a)


def _by_decoding(first: VectorSystem, second: VectorSystem) -> float:
    few, many = sorted((first, second), key=lambda system: system.size)
    if few.size > LIST_LIMIT:
        raise NotImplementedError(
            f"how close {first.spec} and {second.spec} come is known for orbits, "
            f"and where one of the two has at most {LIST_LIMIT:,} vectors"
        )
    largest = -1.0
    for start in range(0, few.size, 4096):
        rows = few.unrank(torch.arange(start, min(start + 4096, few.size)), torch.float64)
        largest = max(largest, float((rows * many.nearest(rows)).sum(1).max()))
    cosine = largest / (first.norm * second.norm)
    return 1.0 if cosine > 1 - 1e-9 else cosine
