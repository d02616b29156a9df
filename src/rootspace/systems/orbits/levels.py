"""Levels: the distinct values of a base vector with their multiplicities, largest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rootspace.systems.constants import values_of

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


def inner_of_runs(left: Iterable[tuple[Fraction, int]], right: Iterable[tuple[Fraction, int]]) -> Fraction:
    """The inner product of two vectors given as runs of equal coordinates, in as many steps as there are runs.

    >>> inner_of_runs([(Fraction(2), 1), (Fraction(1), 3)], [(Fraction(5), 2), (Fraction(0), 2)])
    Fraction(15, 1)
    """
    total, a, b = Fraction(0), list(left)[::-1], list(right)[::-1]
    while a and b:
        (u, i), (v, j) = a.pop(), b.pop()
        run = min(i, j)
        total += run * u * v
        if i > run:
            a.append((u, i - run))
        if j > run:
            b.append((v, j - run))
    return total


def float_values(levels: Levels, like: Tensor) -> Tensor:
    return values_of(like.device, tuple(float(value) for value, _ in levels), like.dtype)


def sorted_base(levels: Levels, like: Tensor) -> Tensor:
    """The base vector in descending order, (n,)."""
    return values_of(like.device, tuple(float(value) for value, count in levels for _ in range(count)), like.dtype)


def nearest_level(x: Tensor, descending: list[Fraction]) -> Tensor:
    """The position of the nearest of some descending values: -> int64, the shape of x."""
    middles = tuple(float((a + b) / 2) for a, b in pairwise(descending))
    return len(middles) - torch.bucketize(x.contiguous(), values_of(x.device, middles[::-1], x.dtype))


def bracket(kind: str, levels: Levels) -> str:
    parts = [f"{value}^{count}" if count > 1 else f"{value}" for value, count in levels]
    return f"{kind}[{','.join(parts)}]"
