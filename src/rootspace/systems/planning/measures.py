"""What the planner and `rootspace show` say about a system beside its exact scalars: neighbours, and what work costs.

Costs are counts of elementary operations on one embedding, as stated in each function; they compare systems and
promise no seconds. Where no honest count is known the answer is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from math import ceil, comb, log2, prod

from rootspace.systems.base import VectorSystem
from rootspace.systems.classical import CodeVectors, Kerdock, MinimalVectors, Simplex, code_trellis
from rootspace.systems.classical.shells import Shell, SignedSupports
from rootspace.systems.derived.mapped import Mapped
from rootspace.systems.derived.product import Product
from rootspace.systems.derived.union import Union
from rootspace.systems.listed import Listed
from rootspace.systems.orbits.orbit import Orbit
from rootspace.systems.orbits.permutation import PermutationOrbit
from rootspace.systems.orbits.signed import EvenSignedOrbit
from rootspace.systems.table import Table

#: A table with more rows than this is not compared with itself: all its cosines may differ.
TABLE_LIMIT = 500
#: A listed orbit sees itself alike from every vector: one row of cosines is enough.
LISTED_LIMIT = 1_000_000
#: Of a code, or its dual, at most 2^24 words are counted for the spectrum, in half a second.
CODE_BITS = 24


def neighbours(system: VectorSystem) -> int | float | None:
    """How many vectors lie at the largest cosine from one vector: the kissing number of the system.

    In closed form for orbits and products of them, else from the spectrum, where that is cheap; None where it is
    not. In a table, where vectors may have different numbers of neighbours, their mean.

    >>> from rootspace.systems import V, weight
    >>> neighbours(V(41, 2, 2)), neighbours(weight(4, 2))  # 4 nonzeros change places with 37 zeros
    (148, 8)
    """
    if isinstance(system, Orbit):
        return _swaps(system)
    if isinstance(system, Mapped):
        return neighbours(system.inner)
    if isinstance(system, Product):
        # the closest vectors differ in one block
        gains = [(1 - Fraction(block.max_cosine)) * block.squared_norm for block, _ in system.blocks]
        least, total = min(gains), 0
        for (block, repeat), gain in zip(system.blocks, gains, strict=True):
            if gain <= least * Fraction(1_000_000_001, 1_000_000_000):
                own = neighbours(block)
                if not isinstance(own, int):
                    return None
                total += repeat * own
        return total
    found = spectrum(system)
    if found is None:
        return None
    count = next(count for cosine, count in found.items() if cosine < 1 - Fraction(1, 10**9))
    return int(count) if count.denominator == 1 else float(count)


def _swaps(orbit: Orbit) -> int:
    """Words at the smallest distance: two adjacent levels change places, or signs of smallest magnitudes change.

    Half the squared distance is the sum over the changed coordinates of half the squared change; two coordinates at
    least change, or one changes its sign, and each change is a gap between levels or more.
    """
    levels = orbit.levels
    closest = orbit._closest_step()
    signed = not isinstance(orbit, PermutationOrbit)
    count = 0
    for (upper, many), (lower, few) in pairwise(levels):
        if (upper - lower) ** 2 == closest:
            # a magnitude that moves to a zero takes either sign there
            count += many * few * (2 if signed and lower == 0 else 1)
    if isinstance(orbit, EvenSignedOrbit):
        smallest, many = levels[-1]
        if many > 1 and (2 * smallest) ** 2 == closest:
            count += comb(many, 2)
        if many == 1 and len(levels) > 1 and (smallest + levels[-2][0]) ** 2 == closest:
            count += levels[-2][1]
    elif signed:
        smallest, many = next((value, count) for value, count in reversed(levels) if value > 0)
        if 2 * smallest**2 == closest:
            count += many
    return count


def spectrum(system: VectorSystem) -> dict[Fraction, Fraction] | None:
    """`cosine_spectrum()` where it takes a second or two at most, None where it would take longer."""
    if not _spectrum_is_cheap(system):
        return None
    try:
        return system.cosine_spectrum()
    except NotImplementedError:
        return None


def _spectrum_is_cheap(system: VectorSystem) -> bool:
    if isinstance(system, Orbit):
        kinds = len(system.levels)
        cases = prod(count + 1 for _, count in system.levels) * kinds**2
        return kinds <= 9 and system.dim <= 2000 and cases <= 700_000
    if isinstance(system, Product):
        # cosines of the whole: at most one for each way to spread the blocks over the blocks' cosines
        cheap = all(_spectrum_is_cheap(block) for block, _ in system.blocks)
        return cheap and sum(repeat for _, repeat in system.blocks) <= 64 and len(system.blocks) <= 3
    if isinstance(system, Union):
        return len(system.parts) <= 16 and all(_spectrum_is_cheap(part) for part in system.parts)
    if isinstance(system, Mapped):
        return _spectrum_is_cheap(system.inner)
    if isinstance(system, CodeVectors):  # its words, or those of its dual, are counted one by one
        return min(system.code.k, system.code.n - system.code.k) <= CODE_BITS
    if isinstance(system, (Kerdock, MinimalVectors, Simplex)):
        return True
    own = isinstance(system, Listed) and type(system).cosine_spectrum is not Listed.cosine_spectrum
    return system.size <= (LISTED_LIMIT if own else TABLE_LIMIT)


def decode_cost(system: VectorSystem) -> int | None:
    """Operations to find the nearest vector, for one embedding.

    Orbits: n log2 n comparisons, for the sort. Products, unions: the sum over their blocks or parts. Codes: n log2 n
    for a Hadamard transform, an addition for each edge of the trellis, or N n where the words are listed, as for
    tables. None for a code whose nearest word is not found exactly, and where nothing is stated.

    >>> from rootspace.systems import V
    >>> decode_cost(V(41, 2, 2))
    246
    """
    return _cost(system, _decode_orbit)


def log_partition_cost(system: VectorSystem) -> int | None:
    """Operations of the exact softmax over the whole system, for one embedding.

    Orbits: n states choices, where *states* are the values of the recursion's state, the product of (count + 1) over
    all levels but the most frequent one (twice that where the parity of signs counts), and *choices* the values a
    coordinate can take; n for the roots of A_n; None where there are too many states. The others as for `decode_cost`.

    >>> from rootspace.systems import A, V
    >>> log_partition_cost(V(41, 2, 2)), log_partition_cost(A(775))
    (1107, 776)
    """
    return _cost(system, _sum_over_orbit)


def _decode_orbit(orbit: Orbit) -> int:
    return orbit.dim * ceil(log2(max(orbit.dim, 2)))


def _sum_over_orbit(orbit: Orbit) -> int | None:
    if not orbit.has_log_partition:
        return None
    counts = [count for _, count in orbit.levels]
    if isinstance(orbit, PermutationOrbit) and len(counts) == 3 and counts[0] == counts[2] == 1:
        return orbit.dim
    return orbit.dim * orbit._trellis.states * len(orbit._choices)


def _cost(system: VectorSystem, of_orbit: Callable[[Orbit], int | None]) -> int | None:
    if isinstance(system, Orbit):
        return of_orbit(system)
    if isinstance(system, Product):
        return _total((repeat, _cost(block, of_orbit)) for block, repeat in system.blocks)
    if isinstance(system, Union):
        return _total((1, _cost(part, of_orbit)) for part in system.parts)
    if isinstance(system, Mapped):
        return _total([(1, _cost(system.inner, of_orbit)), (1, system.dim)])
    if isinstance(system, MinimalVectors):
        return _total((1, _shape_cost(shape, of_orbit)) for shape in system._shapes)
    if isinstance(system, CodeVectors):
        return _code_cost(system)
    if isinstance(system, Kerdock):
        return system.dim // 2 * _transform(system.dim)
    if isinstance(system, Simplex):
        return system.dim
    return system.size * system.dim if isinstance(system, (Table, Listed)) else None


def _shape_cost(shape: Orbit | Shell, of_orbit: Callable[[Orbit], int | None]) -> int | None:
    if isinstance(shape, Orbit):
        return of_orbit(shape)
    return shape.words * (shape.weight if isinstance(shape, SignedSupports) else shape.choices)


def _code_cost(system: CodeVectors) -> int | None:
    if system.method == "hadamard":
        return _transform(system.dim)
    if system.method == "list":
        return system.size * system.dim
    if system.method == "trellis":  # at most two edges leave a state
        return sum(2 << width for width in code_trellis.widths(system.code))
    return None


def _transform(n: int) -> int:
    return n * ceil(log2(n))


def _total(costs: Iterable[tuple[int, int | None]]) -> int | None:
    total = 0
    for repeat, cost in costs:
        if cost is None:
            return None
        total += repeat * cost
    return total


def lines(system: VectorSystem) -> int | None:
    """How many lines through 0 the vectors lie on, opposite ones on the same: half the size, if all have opposites.

    None where the spectrum, which tells, is not cheap.

    >>> from rootspace.systems import A, V
    >>> lines(A(2)), lines(V(5, 2, 1))
    (3, 30)
    """
    found = spectrum(system)
    if found is None:
        return None
    opposite = next((count for cosine, count in found.items() if cosine < -1 + Fraction(1, 10**9)), Fraction(0))
    return int(system.size * (1 - opposite / 2))
