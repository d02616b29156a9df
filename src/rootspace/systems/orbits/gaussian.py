"""Levels spread like a normal distribution: the base vectors whose permutations lie near any direction."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

from rootspace.systems.orbits.levels import Levels

#: The numbers of levels there are: powers of two, so that the bits of a stored coordinate are all used.
GRADES = (4, 8, 16)


@lru_cache
def graded_levels(n: int, levels: int) -> Levels:
    """`levels` values, in tenths, with their multiplicities in n coordinates; n is even and at least `levels`.

    >>> [(str(value), count) for value, count in graded_levels(16, 4)]
    [('15', 3), ('5', 5), ('-5', 5), ('-15', 3)]
    """
    values, shares = _lloyd_max(levels)
    # one coordinate each, and the rest by their shares, the largest remainders rounded up
    wanted = [2 * share * (n // 2 - levels // 2) for share in shares]
    counts = [1 + int(share) for share in wanted]
    by_remainder = sorted(range(len(wanted)), key=lambda level: (int(wanted[level]) - wanted[level], level))
    for level in by_remainder[: n // 2 - sum(counts)]:
        counts[level] += 1
    half = [(Fraction(round(10 * value)), count) for value, count in zip(values, counts, strict=True)]
    return (*half, *((-value, count) for value, count in reversed(half)))


def graded_name(levels: Levels, n: int) -> str | None:
    """The name of a graded base vector's orbit, or None for levels that are none.

    >>> graded_name(graded_levels(64, 8), 64), graded_name(graded_levels(64, 16), 64)
    ('graded:64', 'graded16:64')
    """
    count = len(levels)
    if count not in GRADES or n % 2 or n < count or levels != graded_levels(n, count):
        return None
    return f"graded{count if count != 8 else ''}:{n}"


@lru_cache
def _lloyd_max(levels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The positive levels, largest first, of the best quantiser of a standard normal variable, and their shares."""
    normal = NormalDist()
    values = [normal.inv_cdf(0.5 + (2 * place + 1) / (2 * levels)) for place in range(levels // 2)]
    edges: list[float] = []
    for _ in range(2000):  # to convergence: each level to the mean of what is nearest to it
        edges = [0.0, *((a + b) / 2 for a, b in pairwise(values)), math.inf]
        densities = [0.0 if edge == math.inf else normal.pdf(edge) for edge in edges]
        masses = [normal.cdf(edge) if edge < math.inf else 1.0 for edge in edges]
        values = [
            (densities[place] - densities[place + 1]) / (masses[place + 1] - masses[place])
            for place in range(levels // 2)
        ]
    shares = [masses[place + 1] - masses[place] for place in range(levels // 2)]
    return tuple(reversed(values)), tuple(reversed(shares))
