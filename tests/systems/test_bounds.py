"""Bounds: reached where they are known to be, and by no system of the package beaten."""

from math import comb, cos, inf, isclose, log, pi, sqrt

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootspace.systems import Table, parse
from rootspace.systems.base import VectorSystem
from rootspace.systems.planning import bounds as bounds_module
from rootspace.systems.planning.bounds import (
    MAX_DEGREE,
    Bounds,
    bounds,
    cap_angle,
    kabatiansky_levenshtein,
    kabatiansky_levenshtein_rate,
    levenshtein,
    levenshtein_size,
    log_cap,
    random_coding,
    rankin,
    sphere_packing,
    welch,
)
from rootspace.systems.planning.measures import lines, spectrum

# H. Cohn, A. Kumar, Universally optimal distribution of points on spheres (J. AMS 20, 2007), table 1: the sharp codes
# known, (dimension, size, largest cosine). V. I. Levenshtein showed that his bound is reached by every one of them.
SHARP = [
    (2, 7, cos(2 * pi / 7)),
    (3, 4, -1 / 3),
    (9, 10, -1 / 9),
    (3, 6, 0.0),
    (50, 100, 0.0),
    (3, 12, 1 / sqrt(5)),
    (5, 16, 1 / 5),
    (6, 27, 1 / 4),
    (7, 56, 1 / 3),
    (8, 240, 1 / 2),
    (21, 112, 1 / 9),
    (21, 162, 1 / 7),
    (22, 100, 1 / 11),
    (22, 275, 1 / 6),
    (22, 891, 1 / 4),
    (23, 552, 1 / 5),
    (23, 4600, 1 / 3),
    (24, 196_560, 1 / 2),
    (52, 325, 1 / 16),
]


@pytest.mark.parametrize(("dim", "size", "cosine"), SHARP)
def test_levenshtein_is_reached_by_sharp_codes(dim, size, cosine):
    assert levenshtein(dim, size) == pytest.approx(cosine, abs=1e-12)
    assert levenshtein_size(dim, cosine) == pytest.approx(size, rel=1e-9)
    assert Bounds(dim, size).lower == pytest.approx(cosine, abs=1e-12)
    assert Bounds(dim, size).upper >= cosine - 1e-12


# V. I. Levenshtein (1979), A. M. Odlyzko, N. J. A. Sloane (1979), O. R. Musin (2008), and before them K. Schuette,
# B. L. van der Waerden (1953): the kissing numbers that are known
@pytest.mark.parametrize(("dim", "kissing"), [(2, 6), (3, 12), (4, 24), (8, 240), (24, 196_560)])
def test_kissing_numbers(dim, kissing):
    assert kissing <= levenshtein_size(dim, 0.5) + 1e-6
    assert levenshtein(dim, kissing) <= 0.5 + 1e-12
    # Levenshtein's own bounds for 3 and 4 dimensions are 13 and 26
    assert int(levenshtein_size(3, 0.5)), int(levenshtein_size(4, 0.5)) == (13, 26)


# J. H. Conway, N. J. A. Sloane, Sphere Packings, Lattices and Groups, chapter 1; the 24-cell, the 600-cell, the
# square antiprism (best for 8 in R^3, Schuette and van der Waerden 1951) and BW16's 4,320 are not sharp
@pytest.mark.parametrize(
    ("dim", "size", "cosine"),
    [
        (4, 24, 0.5),
        (4, 120, (1 + sqrt(5)) / 4),
        (3, 8, (2 * sqrt(2) - 1) / 7),
        (16, 4320, 0.5),
        (5, 40, 0.5),
        (6, 72, 0.5),
    ],
)
def test_bounds_hold_where_they_are_not_reached(dim, size, cosine):
    found = bounds(dim, size)
    assert max(found.rankin, found.levenshtein, found.sphere_packing) == found.lower
    assert cosine - 0.2 < found.lower < cosine <= found.upper


def test_rankin():
    assert [rankin(4, size) for size in (2, 5, 6, 8, 9)] == [-1, -0.25, 0, 0, 0]
    assert rankin(10**6, 10**6) == pytest.approx(-1e-6, rel=1e-5)


def test_welch():
    # equiangular lines: six in R^3, 28 in R^7, 276 in R^23 (P. W. H. Lemmens, J. J. Seidel, J. Algebra 24, 1973)
    for dim, count, cosine in [(3, 6, 1 / sqrt(5)), (7, 28, 1 / 3), (23, 276, 1 / 5)]:
        assert welch(dim, count) == pytest.approx(cosine)
    # of higher order, not reached: 2,300 lines of R^23 at 1/3, Leech's 98,280 at 1/2 (Delsarte, Goethals, Seidel 1975)
    assert 1 / sqrt(23) < welch(23, 2300) < 1 / 3
    assert 1 / sqrt(24) < welch(24, 98_280) < 1 / 2
    assert welch(5, 5) == 0
    assert 0.99 < welch(2, 10**6) <= 1


@pytest.mark.parametrize("dim", [2, 3, 4, 7, 24, 200])
def test_caps_by_elementary_integrals(dim):
    """The share of a cap is the integral of sin^(n-2); here by the trapezoid rule."""
    steps = 20_000
    for angle in (0.05, 0.4, 1.0, 1.5):

        def integral(upper):
            t = torch.linspace(0, upper, steps + 1, dtype=torch.float64)
            return float(torch.trapezoid(t.sin() ** (dim - 2), t))

        share = integral(angle) / integral(pi)
        if share > 1e-200:
            assert log_cap(dim, angle) == pytest.approx(log(share), rel=1e-5, abs=1e-6)
        assert cap_angle(dim, log_cap(dim, angle)) == pytest.approx(angle, rel=1e-9)


def test_caps_of_the_ordinary_sphere_and_of_very_many_dimensions():
    assert cap_angle(3, -log(10**40)) == pytest.approx(2e-20, rel=1e-9)  # share = sin^2(angle / 2)
    # a projection on one of n coordinates is all but normal: beyond 5 standard deviations lies 2.8665e-7
    n = 10**8
    assert log_cap(n, pi / 2 - 5 / sqrt(n)) == pytest.approx(log(2.866515719e-7), rel=1e-6)


def test_sphere_packing_and_random_coding_in_closed_form():
    # in R^3 a cap of angle a has the share (1 - cos a) / 2
    for size in (2, 5, 100, 10**9):
        half = 1 - 2 / size
        assert sphere_packing(3, size) == pytest.approx(2 * half**2 - 1, abs=1e-12)
        assert random_coding(3, size) == pytest.approx(1 - 2 / (size - 1), abs=1e-12)


def test_rates():
    # for sphere packings the exponent -0.59905576: H. Cohn, Y. Zhao, Sphere packing bounds via spherical codes (2014)
    small = 1e-3
    density = kabatiansky_levenshtein_rate(cos(small)) + log(small / 2, 2)
    assert density == pytest.approx(-0.59905576, abs=2e-7)
    assert kabatiansky_levenshtein_rate(0.5) == pytest.approx(0.401, abs=5e-4)
    assert (kabatiansky_levenshtein_rate(0), kabatiansky_levenshtein_rate(1)) == (0, inf)
    for cosine in (0.1, 0.45, 0.454, 0.5, 0.9, 0.999):
        size = 2 ** round(1000 * kabatiansky_levenshtein_rate(cosine))
        assert kabatiansky_levenshtein(1000, size) == pytest.approx(cosine, abs=2e-3)
    # where it bends: the angle of the improvement is where the two formulas touch
    assert isclose(kabatiansky_levenshtein_rate(0.4540), kabatiansky_levenshtein_rate(0.45405), abs_tol=1e-4)


def test_rate_is_what_levenshtein_tends_to():
    rates = [kabatiansky_levenshtein(n, 2 ** (n // 4)) - levenshtein(n, 2 ** (n // 4)) for n in (40, 100, 250, 600)]
    assert all(rate > 0 for rate in rates)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05


# ------------------------------------------------------------------ for any dimension and size

dims = st.one_of(st.integers(2, 40), st.integers(2, 2000))
sizes = st.one_of(st.integers(2, 300), st.integers(1, 120).map(lambda bits: 2**bits + 1), st.integers(2, 10**40))


@settings(max_examples=150, deadline=None)
@given(dims, sizes, st.integers(1, 10**6))
@example(dim=2, size=7, more=1)  # seven vectors of a plane lie farther apart than random coding in space shows
def test_more_vectors_are_closer_and_more_dimensions_give_room(dim, size, more):
    found, crowded, roomy = Bounds(dim, size), Bounds(dim, size + more), Bounds(dim + 1, size)
    for name in ("rankin", "levenshtein", "sphere_packing", "random_coding", "asymptotic", "lower", "upper"):
        value = getattr(found, name)
        assert -1 <= value <= 1
        assert value <= getattr(crowded, name) + 1e-11, name
        assert value >= getattr(roomy, name) - 1e-11, name
    assert found.lower <= found.upper + 1e-11


@settings(max_examples=100, deadline=None)
@given(st.integers(3, 200), st.integers(2, 10**12))
def test_levenshtein_inverts(dim, size):
    cosine = levenshtein(dim, size)
    if cosine < 0.999 and levenshtein_size(dim, cosine) != inf:
        assert levenshtein_size(dim, cosine) == pytest.approx(size, rel=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 12), st.integers(1, 30))
def test_pieces_of_levenshteins_bound_meet(dim, degree):
    """At the ends of its interval L_m is the least size of a design, where L_(m+1) starts."""
    k = (degree + 1) // 2
    design = 2 * comb(k + dim - 2, dim - 1) if degree % 2 else comb(k + dim - 1, dim - 1) + comb(k + dim - 2, dim - 1)
    if design > 2:
        below, at, above = (levenshtein(dim, size) for size in (design - 1, design, design + 1))
        assert below < at < above
        assert bounds_module._ratio(dim, degree, at) * bounds_module._scale(dim, degree) == pytest.approx(
            design, rel=1e-8
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(2, 60), st.integers(0, 2**31))
def test_random_vectors_respect_every_bound(dim, size, seed):
    x = torch.randn(size, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    _respects(Table(torch.nn.functional.normalize(x, dim=1)))


def test_many_vectors_in_few_dimensions_are_bounded_by_the_last_degree():
    assert levenshtein(3, 10**9) == levenshtein(3, 10**12)  # beyond MAX_DEGREE, still a bound
    assert 0 < levenshtein(3, 10**9) < sphere_packing(3, 10**9) == Bounds(3, 10**9).lower
    assert levenshtein_size(3, 1 - 1e-9) == inf
    assert MAX_DEGREE >= 100


# ------------------------------------------------------------------ the package's own systems

SPECS = [
    "A:2", "A:3", "V11:33", "V21:14", "V22:10", "V22:41", "V33:20", "V31:7", "D:4", "D:5", "D:8", "W1:7",
    "W3:11", "W4:8", "W4:33", "dense:12", "dense:16", "perm[2,1,0,-3]", "signed[2,1,0^3]", "even[1^5]",
    "even[1^8]", "even[1^20]", "V22:5^2", "V11:4 x W1:3", "W1:2^5", "E8", "BW16", "Leech", "Golay:24",
    "Kerdock:64", "eBCH(32,16)", "RM(2,5)", "simplex:9", "orthoplex:8", "hypercube:8", "halfcube:8",
]  # fmt: skip


def _respects(system: VectorSystem) -> None:
    found = Bounds(system.dim, system.size)
    for name in ("rankin", "levenshtein", "sphere_packing"):
        assert getattr(found, name) <= system.max_cosine + 1e-9, name
    if (count := lines(system)) and spectrum(system) is not None and count > 1:
        assert welch(system.dim, count) <= system.mcs + 1e-9


@pytest.mark.parametrize("spec", SPECS)
def test_every_system_respects_every_bound(spec):
    _respects(parse(spec))


@pytest.mark.parametrize(
    "spec",
    ["E8", "Leech", "simplex:9", "orthoplex:8", "even[1^5]", "A:2", "weyl:E6[1,0,0,0,0,0]", "weyl:E7[0,0,0,0,0,0,1]"],
)
def test_systems_that_are_the_best_there_is(spec):
    system = parse(spec)
    dim = system.dim - 1 if spec.startswith("A:") else system.dim  # A_n lies in a hyperplane
    assert Bounds(dim, system.size).lower == pytest.approx(system.max_cosine, abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bounds(0, 3),
        lambda: bounds(3, 1),
        lambda: bounds(1, 3),
        lambda: levenshtein(3, 0),
        lambda: levenshtein_size(3, 1.5),
        lambda: kabatiansky_levenshtein_rate(-2),
        lambda: log_cap(3, 0.0),
        lambda: log_cap(3, 2.0),
        lambda: welch(0, 4),
    ],
)
def test_nonsense_is_refused(call):
    with pytest.raises(ValueError, match="got"):
        call()


def test_one_dimension_and_two_vectors():
    assert Bounds(1, 2).lower == Bounds(1, 2).upper == -1
    assert Bounds(9, 2).lower == Bounds(9, 2).upper == -1
    assert Bounds(2, 6).lower == pytest.approx(0.5)
    assert set(Bounds(9, 30).to_dict()) >= {"lower", "upper", "best"}
