"""Named systems, and the smallest member of a family that holds a number of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial

from rootspace.systems.base import VectorSystem
from rootspace.systems.derived.mapped import scaled
from rootspace.systems.derived.product import Product
from rootspace.systems.derived.union import Union
from rootspace.systems.orbits.gaussian import GRADES, graded_levels
from rootspace.systems.orbits.levels import levels_of, run_length
from rootspace.systems.orbits.permutation import PermutationOrbit
from rootspace.systems.orbits.signed import EvenSignedOrbit, SignedOrbit


def orbit(base: Iterable[int | float | Fraction], group: str = "permutations") -> VectorSystem:
    """The orbit of a base vector under a group: "permutations", "signed" or "even" (even sign changes).

    Raises `ValueError` for another group, a zero base vector, or an orbit of a single vector.

    >>> orbit([2, 1, 0], group="signed").size
    24
    """
    values = [Fraction(value) for value in base]
    if group == "permutations":
        return PermutationOrbit(run_length(values))
    if group not in ("signed", "even"):
        raise ValueError(f"a group is 'permutations', 'signed' or 'even', got {group!r}")
    magnitudes = run_length(abs(value) for value in values)
    if group == "signed" or 0 in values:
        return SignedOrbit(magnitudes)
    return EvenSignedOrbit(magnitudes, odd=sum(value < 0 for value in values) % 2 == 1)


def V(n: int, p: int, q: int) -> PermutationOrbit:
    """V_n^{pq}: all vectors with p coordinates 1, q coordinates -1, and n - p - q zeros (arXiv 2512.07509).

    >>> V(41, 2, 2).size
    607620
    """
    if p < 0 or q < 0 or n < p + q:
        raise ValueError(f"V(n, p, q) needs p, q >= 0 and n >= p + q, got n={n}, p={p}, q={q}")
    return PermutationOrbit(levels_of({1: p, 0: n - p - q, -1: q}))


def A(n: int) -> PermutationOrbit:
    """The n(n+1) roots of A_n, in n + 1 coordinates: the same system as V(n + 1, 1, 1).

    >>> A(32).size, A(32).dim
    (1056, 33)
    """
    if n < 1:
        raise ValueError(f"A(n) needs n >= 1, got {n}")
    return V(n + 1, 1, 1)


def weight(n: int, w: int) -> SignedOrbit:
    """All vectors with w coordinates 1 or -1 and n - w zeros: 2^w C(n, w) of them, max cosine 1 - 1/w.

    >>> weight(8, 4).size
    1120
    """
    if not 1 <= w <= n:
        raise ValueError(f"weight(n, w) needs 1 <= w <= n, got n={n}, w={w}")
    return SignedOrbit(levels_of({1: w, 0: n - w}))


def D(n: int) -> SignedOrbit:
    """The 2n(n-1) roots of D_n: the same system as weight(n, 2).

    >>> D(16).size
    480
    """
    return weight(n, 2)


def B(n: int) -> Union:
    """The directions of the 2n^2 roots of B_n: its long roots, D(n), then its short ones, brought to their norm.

    The roots of B_n have two lengths (+-e_i +-e_j, and +-e_i), and so are two orbits; a system has one norm.
    By themselves they are D(n) and weight(n, 1). Max cosine 1/sqrt(2).

    >>> B(4).size, B(4).spec, round(B(4).max_cosine, 6)
    (32, 'B:4', 0.707107)
    """
    if n < 2:
        raise ValueError(f"B(n) needs n >= 2, got {n}")
    return Union((D(n), scaled(weight(n, 1), 2)), name=f"B:{n}")


def C(n: int) -> Union:
    """The directions of the 2n^2 roots of C_n: the same system as B(n).

    The long roots of C_n (+-2e_i) point where the short ones of B_n do, and the short ones of C_n are D(n).
    """
    if n < 2:
        raise ValueError(f"C(n) needs n >= 2, got {n}")
    return B(n)


def dense(n: int) -> PermutationOrbit:
    """The orbit of [1^(n/4), 0^(n/2), -1^(n/4)]: far more vectors than classes, so that one is near any direction.

    Raises `ValueError` unless n is a multiple of 4.

    >>> dense(64).spec, round(dense(64).bits)
    ('V16,16:64', 90)
    """
    if n < 4 or n % 4:
        raise ValueError(f"dense(n) needs a positive multiple of 4, got {n}")
    return V(n, n // 4, n // 4)


def graded(n: int, levels: int = 8) -> PermutationOrbit:
    """The permutations of n values spread like a normal distribution: a vector lies near any direction, closely.

    levels: 4, 8 or 16, that is 2, 3 or 4 bits a coordinate in a stored table. The mean cosine of a random direction
    and its nearest vector is 0.93, 0.97 and 0.98 at n = 64, and tends to 0.94, 0.98 and 0.995 (`dense`: 0.89, 0.90).
    The levels and their shares are those of the Lloyd-Max quantiser of a normal variable (J. Max, IRE Trans. Inf.
    Theory 6, 1960), in tenths, as D. Slepian's permutation modulation wants them (Proc. IEEE 53, 1965). From
    n = 190, 36 and 20 on the orbit has too many states for `log_partition` and `sample`. Raises `ValueError` for
    other levels and unless n is an even number of at least `levels`.

    >>> graded(16).spec, graded(16, 4).spec, round(graded(128).bits)
    ('graded:16', 'graded4:16', 344)
    """
    if levels not in GRADES:
        raise ValueError(f"graded(n, levels) takes 4, 8 or 16 levels, got {levels}")
    if n < levels or n % 2:
        raise ValueError(f"graded(n, {levels}) needs an even n of at least {levels}, got {n}")
    return PermutationOrbit(graded_levels(n, levels))


def product(*systems: VectorSystem) -> VectorSystem:
    """All concatenations of one vector from each system; equal neighbours are joined, nested products flattened.

    >>> product(V(8, 2, 2), V(8, 2, 2), weight(4, 1)).spec
    'V22:8^2 x W1:4'
    """
    blocks: list[tuple[VectorSystem, int]] = []
    for system in systems:
        for block, repeat in system.blocks if isinstance(system, Product) else ((system, 1),):
            if blocks and blocks[-1][0] == block:
                blocks[-1] = (block, blocks[-1][1] + repeat)
            else:
                blocks.append((block, repeat))
    if len(blocks) == 1 and blocks[0][1] == 1:
        return blocks[0][0]
    return Product(tuple(blocks))


#: Families with one free parameter, the dimension: name, smallest dimension, step, constructor.
_FAMILY = re.compile(r"V(\d)(\d)|V(\d+),(\d+)|W(\d+)|A|B|C|D|dense|graded(4|16)?")


def family(name: str) -> tuple[Callable[[int], VectorSystem], int, int]:
    """A family by name: its constructor by dimension, its smallest dimension, and the step between dimensions.

    Names: "A", "B" (and "C"), "D", "V21", "V22", "V3,12" and so on, "W3" (signed weight 3), "dense",
    "graded", "graded4", "graded16".
    The dimension is the number of coordinates, so family "A" at 33 is A(32). Raises `ValueError` for another name.
    """
    match = _FAMILY.fullmatch(name)
    if match is None:
        raise ValueError(
            f"no family is called {name!r}; families are A, B, D, Vpq (V21, V22, ...), Ww (W3), dense, graded"
        )
    if name == "A":
        return (lambda n: V(n, 1, 1)), 2, 1
    if name in ("B", "C"):
        return B, 2, 1
    if name == "D":
        return D, 2, 1
    if name == "dense":
        return dense, 4, 4
    if name.startswith("graded"):
        levels = int(match[6] or 8)
        return partial(graded, levels=levels), levels, 2
    if match[5]:
        w = int(match[5])
        return (lambda n: weight(n, w)), max(w, 1), 1
    p, q = (int(match[1]), int(match[2])) if match[1] else (int(match[3]), int(match[4]))
    if p + q == 0:
        raise ValueError("V00 holds only the zero vector")
    return (lambda n: V(n, p, q)), p + q if p and q else p + q + 1, 1


def smallest(name: str, n_classes: int) -> VectorSystem:
    """The member of a family with the smallest dimension that holds at least n_classes vectors.

    >>> smallest("V22", 600_000).spec
    'V22:41'
    """
    if n_classes < 1:
        raise ValueError(f"n_classes is a positive number, got {n_classes}")
    construct, least, step = family(name)
    # sizes grow with the dimension: double until it is enough, then bisect
    low, high = 0, 1  # in steps above the least dimension; `low` is never enough once the loop has run
    if construct(least).size >= n_classes:
        return construct(least)
    while construct(least + step * high).size < n_classes:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if construct(least + step * middle).size >= n_classes else (middle, high)
    return construct(least + step * high)


def n_min(name: str, n_classes: int) -> int:
    """The smallest dimension at which a family holds at least n_classes vectors.

    >>> [n_min(name, 1_280_000) for name in ("V11", "V21", "V22", "W4")]
    [1132, 138, 50, 39]
    """
    return smallest(name, n_classes).dim
