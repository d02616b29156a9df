"""Centring, optimal levels and baselines: against their definitions and published optima."""

from fractions import Fraction
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootspace.systems import (
    A,
    D,
    V,
    centred,
    equiangular_basis,
    hadamard_rows,
    one_hot,
    optimal_levels,
    optimal_orbit,
    orbit,
    product,
    random_directions,
    repulsion,
    scaled,
    union,
    weight,
)
from rootspace.systems.orbits.optimal import best_order

F = Fraction
_GROUPS = st.sampled_from(["permutations", "signed", "even"])


# ---------------------------------------------------------------------- centring and optimal levels


def test_centring():
    for n in (4, 9, 41):
        assert centred(V(n, 2, 1)).max_cosine == pytest.approx((2 - 1 / n) / (3 - 1 / n))
    assert centred(V(8, 2, 2)) == V(8, 2, 2)
    assert centred(weight(5, 2)) == weight(5, 2)
    assert centred(product(V(5, 2, 1), D(4))) == product(centred(V(5, 2, 1)), D(4))
    assert not any(centred(scaled(V(5, 2, 1), 7)).centroid())
    with pytest.raises(NotImplementedError, match="centred"):
        centred(union(V(5, 2, 1), V(5, 3, 0)))


_COUNTS = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@settings(max_examples=100, deadline=None)
@given(_COUNTS, _GROUPS, st.integers(0, 2**31))
def test_no_other_levels_separate_better(counts, group, seed):
    """Random levels, and small changes of the best ones, for the same multiplicities."""
    best = optimal_orbit(counts, group)
    levels = [float(level) for level in optimal_levels(counts, group)]
    generator = torch.Generator().manual_seed(seed)
    for spread in (1.0, 0.1, 0.01):
        noise = spread * torch.randn(len(levels), generator=generator, dtype=torch.float64)
        trial = [level + float(move) for level, move in zip(levels, noise, strict=True)]
        if group != "permutations":
            trial = [abs(level) for level in trial]
        trial = sorted((round(level, 6) for level in trial), reverse=True)
        if len(set(trial)) < len(trial):
            continue
        base = [level for level, count in zip(trial, counts, strict=True) for _ in range(count)]
        assert orbit(base, group).max_cosine >= best.max_cosine - 1e-9


def test_optimal_levels():
    # equal gaps and no mean; without zero the smallest magnitude is 1/sqrt(2), so that two vectors that differ in
    # its sign are as far apart as two that differ in a swap
    assert optimal_levels((1, 3, 1)) == (1, 0, -1)
    assert optimal_orbit((1, 3, 1)) == A(4)
    assert optimal_levels((2, 3), "signed") == (1, 0)
    assert [float(v) for v in optimal_levels((2, 3), "signed", zero=False)] == pytest.approx([1 + 0.5**0.5, 0.5**0.5])
    assert optimal_levels((2, 3), "even") == (F(3, 2), F(1, 2))
    assert optimal_levels((3, 1), "even") == (1, 0)
    system = optimal_orbit((2, 3), "signed", zero=False)
    squares = 2 * (1 + 0.5**0.5) ** 2 + 1.5
    assert system.max_cosine == pytest.approx(1 - 1 / squares)
    for bad in ((), (0, 2), (1, -1)):
        with pytest.raises(ValueError, match="positive"):
            optimal_levels(bad)
    with pytest.raises(ValueError, match="group"):
        optimal_levels((1, 2), "rotations")


@pytest.mark.parametrize("counts", [(1, 2, 3), (5, 1, 1, 4), (2, 2, 7), (1, 2, 3, 4, 5), (9, 1, 8, 2)])
def test_the_best_order_of_multiplicities(counts):
    best = min(optimal_orbit(order).squared_norm for order in set(permutations(counts)))
    assert optimal_orbit(counts, arrange=True).squared_norm == best
    assert sorted(best_order(counts)) == sorted(counts)


# ---------------------------------------------------------------------- baselines


def test_baselines():
    assert one_hot(7) == V(7, 1, 0)
    assert torch.equal(hadamard_rows(8).all() @ hadamard_rows(8).all().T, 8 * torch.eye(8))
    with pytest.raises(ValueError, match="power of 2"):
        hadamard_rows(12)
    with pytest.raises(ValueError, match="limit"):
        random_directions(10**9, 100)
    directions = random_directions(20_000, 3, key=2).all(torch.float64)
    assert float(directions.mean(0).norm()) < 0.02
    torch.testing.assert_close(directions.T @ directions / 20_000, torch.eye(3).double() / 3, rtol=0, atol=0.01)
    # Archimedes: a coordinate on the sphere is uniform
    assert abs(float((directions[:, 0].abs() < 0.5).double().mean()) - 0.5) < 0.015


def test_optimised_codes_find_the_known_optima():
    # Sloane's tables of spherical codes: tetrahedron, octahedron, icosahedron; equiangular lines: 6 in R^3 (1/sqrt 5)
    assert repulsion(4, 3).max_cosine == pytest.approx(-1 / 3, abs=1e-3)
    assert repulsion(6, 3).max_cosine == pytest.approx(0, abs=1e-3)
    assert repulsion(12, 3).max_cosine == pytest.approx(5**-0.5, abs=1e-3)
    assert equiangular_basis(6, 3).mcs == pytest.approx(5**-0.5, abs=1e-3)
    assert repulsion(40, 8, steps=100).max_cosine < random_directions(40, 8).max_cosine
    with pytest.raises(ValueError, match="at most"):
        repulsion(10_000, 3)
