"""Orbits of Weyl groups: sizes and spectra with their source, and the formulas against generated orbits."""

from fractions import Fraction
from itertools import product as cartesian

import pytest
import torch

from rootspace.systems import A, B, D, SpecError, flat, parse, root_system, weight, weyl_orbit
from rootspace.systems.conformance import CHECKS
from rootspace.systems.orbits.weyl import LIST_LIMIT

F = Fraction


# Bourbaki, Lie groups and Lie algebras VI, plates V to IX (numbers of roots); 27 and 56 are the minuscule weights of
# E6 and E7; 2160 and 6720 are the next shells of the E8 lattice, whose norms 4 and 6 hold 2160 and 6720 vectors (Conway
# and Sloane, table 4.9); F4: the 24-cell, its dual, and the 96 edge midpoints of each (Coxeter, Regular Polytopes)
@pytest.mark.parametrize(
    ("cartan_type", "coordinates", "size", "squared_norm"),
    [
        ("E6", [1, 0, 0, 0, 0, 0], 27, F(4, 3)),
        ("E6", [0, 0, 0, 0, 0, 1], 27, F(4, 3)),
        ("E6", [0, 1, 0, 0, 0, 0], 72, F(2)),
        ("E7", [0, 0, 0, 0, 0, 0, 1], 56, F(3, 2)),
        ("E7", [1, 0, 0, 0, 0, 0, 0], 126, F(2)),
        ("E8", [0, 0, 0, 0, 0, 0, 0, 1], 240, F(2)),
        ("E8", [1, 0, 0, 0, 0, 0, 0, 0], 2160, F(4)),
        ("E8", [0, 0, 0, 0, 0, 0, 1, 0], 6720, F(6)),
        ("F4", [1, 0, 0, 0], 24, F(2)),
        ("F4", [0, 0, 0, 1], 24, F(1)),
        ("F4", [0, 1, 0, 0], 96, F(6)),
        ("F4", [0, 0, 1, 0], 96, F(3)),
        ("F4", [1, 1, 1, 1], 1152, F(39)),
        ("G2", [1, 0], 6, F(2)),
        ("G2", [0, 1], 6, F(6)),
        ("G2", [1, 1], 12, F(14)),
    ],
)
def test_exceptional_orbits(cartan_type, coordinates, size, squared_norm):
    system = weyl_orbit(cartan_type, coordinates)
    assert system.size == size
    assert system.squared_norm == squared_norm
    assert system.dim == len(coordinates)
    vectors = system.all(torch.float64)
    assert vectors.shape == (size, system.dim)
    assert torch.linalg.matrix_rank(vectors) == system.dim
    torch.testing.assert_close(vectors.norm(dim=1), torch.full((size,), system.norm, dtype=torch.float64))
    assert parse(system.spec) == system


def test_known_spectra():
    """Schlaefli's 27 lines: 16 skew to one and 10 that meet it; the 28 bitangents with their opposites; E6, E7, E8."""
    assert weyl_orbit("E6", [1, 0, 0, 0, 0, 0]).cosine_spectrum() == {F(1): 1, F(1, 4): 16, F(-1, 2): 10}
    assert weyl_orbit("E7", [0] * 6 + [1]).cosine_spectrum() == {F(1): 1, F(1, 3): 27, F(-1, 3): 27, F(-1): 1}
    # a root's neighbours at 60 degrees: 20, 32, 56
    for cartan_type, near, orthogonal in (("E6", 20, 30), ("E7", 32, 60), ("E8", 56, 126)):
        spectrum = root_system(cartan_type).cosine_spectrum()
        assert spectrum == {F(1): 1, F(1, 2): near, F(0): orthogonal, F(-1, 2): near, F(-1): 1}


def test_large_orbits_are_counted_and_refused():
    # the stabiliser of the fourth fundamental weight is of type A1 x A2 x A4, of order 2 * 6 * 120
    with pytest.raises(ValueError, match="483,840 vectors"):
        weyl_orbit("E8", [0, 0, 0, 1, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="696,729,600 vectors"):
        weyl_orbit("E8", [1] * 8)
    assert weyl_orbit("E8", [0, 0, 1, 0, 0, 0, 0, 0]).size == 69_120 <= LIST_LIMIT


# ---------------------------------------------------------------------- the classical types against reflections


def _simple_roots(letter, rank):
    dim = rank + 1 if letter == "A" else rank
    rows = [[(j == i) - (j == i + 1) for j in range(dim)] for i in range(dim - 1)]
    if letter != "A":
        last = {"B": [0] * (rank - 1) + [1], "C": [0] * (rank - 1) + [2], "D": [0] * (rank - 2) + [1, 1]}[letter]
        rows.append(last)
    return torch.tensor(rows, dtype=torch.float64)


def _generated(letter, rank, weights):
    """The orbit by brute force: solve for the weight, then reflect until nothing new appears."""
    roots = _simple_roots(letter, rank)
    coroots = 2 * roots / roots.square().sum(1, keepdim=True)
    start = torch.linalg.pinv(coroots) @ torch.tensor(weights, dtype=torch.float64)
    orbit = start[None]
    while True:
        images = orbit[:, None] - (orbit @ coroots.T)[..., None] * roots
        larger = torch.unique(torch.cat([orbit, images.flatten(0, 1)]).mul(1e6).round(), dim=0) / 1e6
        if len(larger) == len(orbit):
            return larger
        orbit = larger


@pytest.mark.parametrize(("letter", "rank"), [("A", 2), ("A", 3), ("B", 2), ("B", 3), ("C", 3), ("D", 3), ("D", 4)])
def test_classical_orbits_match_reflections(letter, rank):
    for weights in cartesian(*[range(2)] * (rank - 1), range(3)):
        if any(weights):
            system = weyl_orbit(f"{letter}{rank}", weights)
            expected = _generated(letter, rank, weights)
            assert system.size == len(expected)
            distances = torch.cdist(system.all(torch.float64), expected)
            assert float(distances.amin(1).max()) < 1e-5
            assert float(distances.amin(0).max()) < 1e-5


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: weyl_orbit("A32", [1] + [0] * 30 + [1]), A(32)),
        (lambda: weyl_orbit("D5", [0, 1, 0, 0, 0]), D(5)),
        (lambda: weyl_orbit("B5", [1, 0, 0, 0, 0]), weight(5, 1)),
        (lambda: weyl_orbit("B3", [0, 0, 1]), parse("signed[1/2^3]")),
        (lambda: weyl_orbit("D4", [0, 0, 0, 1]), parse("even[1/2^4]")),
        (lambda: weyl_orbit("D4", [0, 0, 1, 0]), parse("even[1/2^3,-1/2]")),
        (lambda: root_system("A4"), A(4)),
        (lambda: root_system("D9"), D(9)),
        (lambda: root_system("B6"), B(6)),
        (lambda: root_system("C6"), B(6)),
        (lambda: root_system("B6", "long"), D(6)),
        (lambda: root_system("C6", "long"), parse("signed[2,0^5]")),
        (lambda: weyl_orbit("E6", [-1, 0, 1, 0, 0, 0]), weyl_orbit("E6", [1, 0, 0, 0, 0, 0])),
        (lambda: parse("weyl:A3[1,0,1]"), A(3)),
        (lambda: parse("roots:F4"), root_system("F4")),
    ],
)
def test_names_of_the_same_system(call, expected):
    assert call() == expected


def test_two_lengths():
    assert root_system("F4").size == 48
    assert root_system("F4").max_cosine == pytest.approx(0.5**0.5)
    assert root_system("G2").size == 12
    assert root_system("G2").max_cosine == pytest.approx(0.75**0.5)
    assert root_system("F4", "short").size == root_system("F4", "long").size == 24


CONFORMING = [
    "weyl:E6[1,0,0,0,0,0]", "weyl:E6[0,1,0,0,0,0]", "weyl:E7[0,0,0,0,0,0,1]", "weyl:E8[0,0,0,0,0,0,0,1]",
    "weyl:F4[0,1,0,0]", "weyl:G2[1,1]", "roots:F4", "roots:G2", "weyl:B3[1,0,1]", "weyl:D4[1,0,0,1]", "weyl:A3[1,1,0]",
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", CONFORMING)
def test_conformance(spec, check):
    check(parse(spec))


def test_numbering_is_as_published():
    system = weyl_orbit("F4", [1, 0, 0, 0])
    assert system.unrank(torch.tensor([0, 7, 23])).tolist() == [[0, -1, 1, 0], [1, 0, 1, 0], [0, 1, -1, 0]]


def test_a_flat_orbit_has_as_many_coordinates_as_the_rank():
    spin = flat(weyl_orbit("A5", [0, 0, 1, 0, 0]))
    assert (spin.size, spin.dim) == (20, 5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: weyl_orbit("H4", [1, 0, 0, 0]),
        lambda: weyl_orbit("E9", [1] * 9),
        lambda: weyl_orbit("B1", [1]),
        lambda: weyl_orbit("E6", [1, 0]),
        lambda: weyl_orbit("E6", [0] * 6),
        lambda: weyl_orbit("A2", [0.5, 0]),
        lambda: root_system("A3", "long"),
        lambda: root_system("B3", "middle"),
    ],
)
def test_impossible_weights_are_refused(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()


@pytest.mark.parametrize("text", ["weyl:E6[1,0]", "weyl:E6[]", "weyl:Z6[1]", "roots:E9", "weyl:E8[1,1,1,1,1,1,1,1]"])
def test_bad_specs(text):
    with pytest.raises(SpecError, match="character 1: expected"):
        parse(text)
