"""Base vectors chosen for their separation: without their mean, and with the best levels.

An orbit's closest pair is at squared distance 2 s, s a step between neighbouring levels; its cosine is
1 - s/|b|^2. So for s = 1 the best levels are those of the smallest norm (the initial-vector problem of Slepian,
Proc. IEEE 53, 1965, and of Biglieri and Elia, IEEE Trans. Inf. Theory 22, 1976, here for fixed multiplicities):

* permutations: subtracting the mean keeps all gaps and shrinks the norm. |b|^2 is then
  (1/n) sum_{i<j} m_i m_j (a_i - a_j)^2, which grows with every gap, so all gaps are 1.
* signed: gaps are 1 and the smallest magnitude is 0, or 1/sqrt(2) where no zero is wanted (2 s^2 >= 1).
* even: with gaps of 1 the two smallest magnitudes s <= t need (s + t)^2 >= 1, so the smallest is 1/2 if it
  occurs twice, and 0 if it occurs once (the orbit has as many vectors as it had with a sign on that zero).

In which order multiplicities go to levels is another question: for permutations, |b|^2 is smallest when they
fall off from the middle to both sides alternately (Hardy, Littlewood and Polya, *Inequalities*, theorem 371).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rootspace.systems.base import VectorSystem
from rootspace.systems.derived.mapped import Scaled, scaled
from rootspace.systems.derived.product import Product
from rootspace.systems.families import orbit, product
from rootspace.systems.orbits.permutation import PermutationOrbit

#: 1/sqrt(2) to the accuracy of float64, with small terms.
ROOT_HALF = Fraction(0.5**0.5).limit_denominator(10**8)


def centred(system: VectorSystem) -> VectorSystem:
    """The system without its mean, which separates it better; a system whose mean is zero is returned as it is.

    Permutation orbits and products of systems that can be centred. Raises `NotImplementedError` for another
    system with a mean, as its vectors may then differ in norm.

    >>> from rootspace.systems import V
    >>> centred(V(9, 2, 1)).max_cosine == (2 - 1 / 9) / (3 - 1 / 9)
    True
    >>> centred(V(9, 2, 1)).spec
    'perm[8/9^2,-1/9^6,-10/9]'
    """
    if isinstance(system, Product):
        return product(*(centred(block) for block, repeat in system.blocks for _ in range(repeat)))
    if isinstance(system, PermutationOrbit):
        mean = sum((value * count for value, count in system.levels), Fraction(0)) / system.dim
        return PermutationOrbit(tuple((value - mean, count) for value, count in system.levels)) if mean else system
    if isinstance(system, Scaled):
        inner = centred(system.inner)
        return scaled(inner, system.square * inner.squared_norm / system.inner.squared_norm)
    if any(system.centroid()):
        raise NotImplementedError(f"{system.spec} cannot be centred; Table(system.all() - mean) may do")
    return system


def optimal_levels(
    multiplicities: Sequence[int], group: str = "permutations", zero: bool = True, arrange: bool = False
) -> tuple[Fraction, ...]:
    """The levels, largest first, that separate an orbit best for given multiplicities of its levels.

    group: as for `orbit`. zero: for "signed", whether the last level may be 0 (fewer vectors, farther apart).
    arrange: for "permutations", put the multiplicities into their best order first, as `best_order` gives it.
    The levels are exact, but for 1/sqrt(2) in "signed" without zero, which is right to float64.
    Raises `ValueError` for another group, no multiplicities, or one below 1.

    >>> [str(level) for level in optimal_levels((2, 6, 1))]
    ['8/9', '-1/9', '-10/9']
    >>> [str(level) for level in optimal_levels((1, 3, 4), "even")]
    ['5/2', '3/2', '1/2']
    """
    counts = list(multiplicities)
    if not counts or any(count < 1 for count in counts):
        raise ValueError(f"multiplicities are positive numbers, got {counts}")
    if group == "permutations":
        counts = best_order(counts) if arrange else counts
        steps = [Fraction(-place) for place in range(len(counts))]
        mean = sum((step * count for step, count in zip(steps, counts, strict=True)), Fraction(0)) / sum(counts)
        return tuple(step - mean for step in steps)
    if group not in ("signed", "even"):
        raise ValueError(f"a group is 'permutations', 'signed' or 'even', got {group!r}")
    if group == "signed":
        smallest = Fraction(0) if zero and len(counts) > 1 else ROOT_HALF
    else:
        smallest = Fraction(1, 2) if counts[-1] > 1 else Fraction(0)
    return tuple(smallest + place for place in reversed(range(len(counts))))


def optimal_orbit(
    multiplicities: Sequence[int], group: str = "permutations", zero: bool = True, arrange: bool = False
) -> VectorSystem:
    """The orbit with the levels of `optimal_levels`.

    >>> optimal_orbit((2, 6, 1)).spec, optimal_orbit((1, 3, 2), arrange=True).spec
    ('perm[8/9^2,-1/9^6,-10/9]', 'perm[7/6,1/6^3,-5/6^2]')
    """
    levels = optimal_levels(multiplicities, group, zero, arrange)
    counts = best_order(multiplicities) if arrange and group == "permutations" else list(multiplicities)
    return orbit([level for level, count in zip(levels, counts, strict=True) for _ in range(count)], group)


def best_order(multiplicities: Sequence[int]) -> list[int]:
    """Multiplicities in the order in which equally spaced levels have the smallest norm: largest in the middle.

    >>> best_order((1, 2, 3, 4, 5))
    [1, 3, 5, 4, 2]
    """
    order: list[int] = []
    for place, count in enumerate(sorted(multiplicities, reverse=True)):
        order = [*order, count] if place % 2 else [count, *order]
    return order
