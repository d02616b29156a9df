"""Systems made from systems: interpolation between neighbours, and extension within the same dimension."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations_with_replacement
from math import comb, pi, sin

from rootspace.systems.base import VectorSystem
from rootspace.systems.derived.mapped import scaled
from rootspace.systems.derived.mutual import PERMUTATIONS, dominant, largest_inner
from rootspace.systems.derived.union import Union, union
from rootspace.systems.families import A, orbit
from rootspace.systems.orbits.levels import levels_of
from rootspace.systems.orbits.permutation import PermutationOrbit

#: Base vectors that `extensions` tries at most.
CANDIDATES = 200_000


def interpolated_A(n: int, times: int = 1) -> VectorSystem:
    """The roots of A_n with the midpoints of neighbours put between them, `times` times over, all at one norm.

    Neighbours are roots at 60 degrees, such as a = e_1 - e_2 and b = e_1 - e_3. Their midpoint, brought back to
    the norm, lies in the middle of the arc from a to b; the neighbours at the next round are those along the arcs
    (arcs meet at arccos(1/3), so vectors on different arcs stay farther apart). After k rounds each arc is divided
    into 2^k equal parts. The symmetric group carries arcs to arcs, so this is a union of orbits: for j = 1, ...,
    2^(k-1) the orbit of [1, -(1 - s), -s, 0, ...] and that of its opposite, with
    s = sin(j t) / (sin(j t) + sin((2^k - j) t)) and t = 60 degrees / 2^k. So with N = n + 1:

    * size N(N-1) + (2^k - 1) N(N-1)(N-2), max cosine cos(60 degrees / 2^k);
    * levels: exact for k = 1 (s = 1/2), where the new orbits are [2, -1, -1, 0, ...] and [1, 1, -2, 0, ...] up to
      the norm; else fractions right to float64.

    Raises `ValueError` unless n >= 2 and times >= 0.

    >>> interpolated_A(3).size, round(interpolated_A(3).max_cosine, 6)  # cos 30
    (36, 0.866025)
    >>> [part.spec for part in interpolated_A(3).parts]
    ['V11:4', 'scaled(perm[1,0,-1/2^2], 2)', 'scaled(perm[1/2^2,0,-1], 2)']
    """
    if n < 2 or times < 0:
        raise ValueError(f"interpolated_A needs n >= 2 (A_1 has no neighbours) and times >= 0, got {n, times}")
    if times > 8:
        raise ValueError(f"interpolated_A divides an arc into 2^times parts, times at most 8, got {times}")
    parts: list[VectorSystem] = [A(n)]
    pieces = 2**times
    for j in range(1, pieces // 2 + 1):
        near, far = sin(j * pi / 3 / pieces), sin((pieces - j) * pi / 3 / pieces)
        s = Fraction(1, 2) if 2 * j == pieces else Fraction(near / (near + far)).limit_denominator(10**8)
        for sign in (1, -1):
            counts: dict[Fraction, int] = {Fraction(0): n - 2}
            for value in (sign * Fraction(1), sign * (s - 1), -sign * s):
                counts[value] = counts.get(value, 0) + 1
            parts.append(scaled(PermutationOrbit(levels_of(counts)), 2))
    # disjoint by the argument above, which the tests check
    return Union(tuple(parts), name=f"interpolated:{n},{times}") if times else parts[0]


def extensions(
    system: VectorSystem,
    max_cosine: float | Fraction,
    group: str | None = None,
    largest: int = 2,
    zero_sum: bool = False,
) -> list[VectorSystem]:
    """Orbits of small base vectors that can be added to a system so that no cosine exceeds max_cosine.

    The base vectors tried are all with integer coordinates of magnitude at most `largest`, up to factors; each
    orbit is brought to the system's norm. group: as for `orbit`, by default the largest that leaves the system
    as it is. zero_sum: only base vectors of coordinate sum zero, so that a system such as A(n) stays in its
    hyperplane and `flat` applies. Each orbit fits the system by itself (two of them may not fit each other); the
    largest come first.
    Raises `ValueError` for a system that is not an orbit or a union of orbits, or where there are too many
    base vectors to try.

    >>> from rootspace.systems import D
    >>> [found.spec for found in extensions(D(8), Fraction(1, 2), group="even")]
    ['even[1/2^8]', 'even[1/2^7,-1/2]']
    """
    parts = [dominant(part) for part in (system.parts if isinstance(system, Union) else (system,))]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        raise ValueError(f"only orbits and unions of orbits can be searched for extensions, not {system.spec}")
    groups = ("permutations", "even", "signed")
    least = min(part.group for part in known)
    number = least if group is None else groups.index(group) if group in groups else -1
    if number < 0:
        raise ValueError(f"a group is 'permutations', 'signed' or 'even', got {group!r}")
    if number > least:
        raise ValueError(f"{system.spec} is not invariant under the group {group!r}, only under {groups[least]!r}")
    # room for a bound given as a float, such as 2/3
    bound = max_cosine if isinstance(max_cosine, Fraction) else Fraction(max_cosine) + Fraction(1, 10**12)
    found = []
    for candidate in _small_orbits(system.dim, groups[number], largest):
        new = dominant(candidate)
        assert new is not None
        if zero_sum and sum(value * count for value, count in new.base) != 0:
            continue
        if candidate.max_cosine <= bound and all(
            _within(largest_inner(part, new.base), part.squared_norm * new.squared_norm, bound) for part in known
        ):
            found.append(scaled(candidate, system.squared_norm))
    return sorted(found, key=lambda candidate: -candidate.size)


def extended(
    system: VectorSystem,
    max_cosine: float | Fraction,
    group: str | None = None,
    largest: int = 2,
    zero_sum: bool = False,
) -> VectorSystem:
    """The system with orbits of small base vectors added as long as no cosine exceeds max_cosine.

    Greedy: the largest orbit that fits comes first. Arguments and errors as for `extensions`; the system itself
    where nothing can be added.

    >>> from rootspace.systems import D
    >>> extended(D(8), Fraction(1, 2), group="even").spec  # the roots of E8
    'union(W2:8, even[1/2^8])'
    """
    while candidates := extensions(system, max_cosine, group, largest, zero_sum):
        system = union(system, candidates[0])
    return system


def _within(inner: Fraction, squares: Fraction, bound: Fraction) -> bool:
    """Whether inner / sqrt(squares) <= bound, in exact numbers."""
    if inner <= 0 <= bound:
        return True
    if bound < 0 < inner:
        return False
    return inner**2 <= bound**2 * squares if inner > 0 else inner**2 >= bound**2 * squares


def _small_orbits(dim: int, group: str, largest: int) -> list[VectorSystem]:
    """The orbits of base vectors with small integer coordinates, one for each direction."""
    values = range(largest, -largest - 1, -1) if group == "permutations" else range(largest, -1, -1)
    if comb(dim + len(values) - 1, dim) > CANDIDATES:
        raise ValueError(
            f"{comb(dim + len(values) - 1, dim):,} base vectors of {dim} coordinates up to {largest} are more than "
            f"{CANDIDATES:,}: lower `largest`"
        )
    orbits: dict[object, VectorSystem] = {}
    for base in combinations_with_replacement(values, dim):
        flips = (1, -1) if group == "even" and base[-1] else (1,)
        for flip in flips:
            try:
                found = orbit([*base[:-1], flip * base[-1]], group)
            except ValueError:  # a single vector
                continue
            shape = dominant(found)
            assert shape is not None
            unit = max(abs(value) for value, _ in shape.base)
            key = (shape.group != PERMUTATIONS, tuple((value / unit, count) for value, count in shape.base))
            orbits.setdefault(key, found)
    return list(orbits.values())
