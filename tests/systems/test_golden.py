"""Golden values, specs, planner, and what is too large to enumerate."""

from fractions import Fraction
from math import comb, factorial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootspace.systems import (
    A,
    D,
    SpecError,
    Table,
    V,
    dense,
    family,
    graded,
    n_min,
    orbit,
    parse,
    plan,
    product,
    smallest,
    weight,
)
from rootspace.systems.base import ALL_LIMIT_BYTES


# arXiv 2512.07509 (V^11, V^21, V^22) and the design document (signed weights)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("V11", [33, 225, 776, 1132]),
        ("A", [33, 225, 776, 1132]),
        ("V21", [14, 48, 108, 138]),
        ("V22", [10, 23, 41, 50]),
        ("W2", [23, 159, 549, 801]),
        ("D", [23, 159, 549, 801]),
        ("W3", [11, 35, 78, 100]),
        ("W4", [8, 19, 33, 39]),
    ],
)
def test_n_min(name, expected):
    counts = [1000, 50_000, 600_000, 1_280_000]
    assert [n_min(name, count) for count in counts] == expected
    construct, _, step = family(name)
    for count in counts:
        n = n_min(name, count)
        assert construct(n).size >= count > construct(n - step).size


@pytest.mark.parametrize(
    ("spec", "indices", "vectors"),
    [
        ("V22:6", [0, 1, 57], [[0, 0, -1, -1, 1, 1], [0, 0, -1, 1, -1, 1], [-1, 1, 1, 0, 0, -1]]),
        ("V21:5", [0, 7, 29], [[0, 0, -1, 1, 1], [1, 0, 0, -1, 1], [1, 1, -1, 0, 0]]),
        ("W2:4", [0, 5, 23], [[0, 0, 1, 1], [0, 1, 0, -1], [-1, -1, 0, 0]]),
        ("even[2,1^2]", [0, 3, 11], [[2, 1, 1], [-2, -1, 1], [-1, -1, 2]]),
        ("V11:3 x W1:2", [0, 5, 23], [[0, -1, 1, 0, 1], [0, 1, -1, 0, -1], [1, -1, 0, -1, 0]]),
        ("perm[2,1,0,-3]", [0, 9, 23], [[1, 0, -3, 2], [2, 1, 0, -3], [2, -3, 0, 1]]),
    ],
)
def test_numbering_is_as_published(spec, indices, vectors):
    """Models with a shuffled assignment store no vectors, only a key: the numbering must never change."""
    assert parse(spec).unrank(torch.tensor(indices)).tolist() == vectors


def test_n_min_of_a_trillion_and_beyond():
    assert smallest("V22", 10**12).size >= 10**12 > V(n_min("V22", 10**12) - 1, 2, 2).size
    assert smallest("dense", 10**40).dim % 4 == 0
    assert n_min("V22", 1) == 4


@pytest.mark.parametrize("n", [4, 5, 9, 41, 138])
def test_sizes_by_formula(n):
    assert V(n, 1, 1).size == n * (n - 1)
    assert V(n, 2, 1).size == n * (n - 1) * (n - 2) // 2
    assert V(n, 2, 2).size == n * (n - 1) * (n - 2) * (n - 3) // 4
    assert D(n).size == 2 * n * (n - 1)
    assert weight(n, 3).size == 8 * comb(n, 3)
    assert orbit(range(n)).size == factorial(n)
    assert orbit([1] * n, "even").size == 2 ** (n - 1)


def test_known_systems():
    assert A(2).size == 6  # the hexagon
    assert A(3).size == D(3).size == 12  # the kissing number in three dimensions
    assert D(4).size == 24  # the kissing number in four
    assert A(7).cosine_spectrum() == {
        Fraction(1): 1,
        Fraction(1, 2): 12,
        Fraction(0): 30,
        Fraction(-1, 2): 12,
        Fraction(-1): 1,
    }
    # the 240 roots of E8: those of D8 and the even half-cube, scaled to one norm
    roots = torch.cat([D(8).all(torch.float64), orbit([0.5] * 8, "even").all(torch.float64)])
    e8 = Table(roots)
    assert e8.size == 240
    assert {float(c): int(n) for c, n in e8.cosine_spectrum().items()} == {1: 1, 0.5: 56, 0: 126, -0.5: 56, -1: 1}


@pytest.mark.parametrize(
    ("system", "max_cosine", "mcs"),
    [
        (V(50, 1, 1), 1 / 2, 1 / 2),
        (V(50, 2, 1), 2 / 3, 2 / 3),
        (V(50, 2, 2), 3 / 4, 3 / 4),
        (weight(50, 3), 2 / 3, 2 / 3),
        (dense(64), 31 / 32, 31 / 32),
    ],
)
def test_separation(system, max_cosine, mcs):
    assert system.max_cosine == pytest.approx(max_cosine)
    assert system.mcs == pytest.approx(mcs)


def test_systems_beyond_int64_name_the_alternative():
    system = dense(128)
    x = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    for call in (system.decode, lambda x: system.topk(x, 2), lambda x: system.sample(x, 2), system.rank):
        with pytest.raises(OverflowError, match="nearest"):
            call(x)
    vectors = system.nearest(x)
    assert bool(system.contains(vectors).all())
    values, words = system.nearest_k(x, 3)
    torch.testing.assert_close(values[:, 0], (vectors * x).sum(1))
    assert torch.equal(words[:, 0], vectors)
    index = system.rank_exact(vectors[0].tolist())
    assert [float(value) for value in system.unrank_exact(index)] == vectors[0].tolist()
    assert system.sample_vectors(x, 2).shape == (3, 2, 128)
    with pytest.raises(MemoryError, match="unrank"):
        system.all()
    assert V(300, 2, 2).size * 300 * 4 > ALL_LIMIT_BYTES


def test_log_partition_of_a_large_dense_orbit_agrees_with_float64():
    system = dense(64)
    for scale in (1.0, 10.0, 100.0):
        z = scale * torch.nn.functional.normalize(torch.randn(5, 64, generator=torch.Generator().manual_seed(1)), dim=1)
        single, double = system.log_partition(z), system.log_partition(z.double())
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)
    zero = system.log_partition(torch.zeros(1, 64, dtype=torch.float64))
    assert zero.item() == pytest.approx(system.bits * 0.6931471805599453)


@pytest.mark.parametrize(
    "system", [V(33, 1, 1), V(14, 2, 1), V(10, 2, 2), weight(11, 3), parse("even[1^8]"), dense(16)]
)
def test_log_partition_of_awkward_inputs(system):
    n = system.dim
    rows = [
        torch.zeros(n),
        -torch.zeros(n),
        torch.full((n,), 100.0),
        torch.full((n,), -100.0),
        torch.arange(n) * (100 / n),
        -torch.arange(n) * (100 / n),
        torch.full((n,), 1e-42),
        torch.nn.functional.one_hot(torch.tensor(0), n) * 100.0,
        torch.nn.functional.one_hot(torch.tensor(n - 1), n) * -100.0,
    ]
    z = torch.stack([row.float() for row in rows]).requires_grad_()
    expected = torch.logsumexp(z.detach().double() @ system.all(torch.float64).T, dim=1)
    actual = system.log_partition(z)
    torch.testing.assert_close(actual.detach().double(), expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(actual.sum(), z)
    assert torch.isfinite(gradient).all()


# ------------------------------------------------------------------ invariances


SMALL = [V(9, 2, 1), V(8, 2, 2), weight(7, 3), orbit([3, 2, 1, 0, 0, -1]), orbit([2, 1, 1, 1], "even"), dense(16)]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SMALL), st.integers(0, 2**31))
def test_decoding_is_equivariant(system, seed):
    """Permuting an embedding (and, for signed orbits, changing signs) permutes its nearest vector alike."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, system.dim, generator=generator, dtype=torch.float64)
    order = torch.randperm(system.dim, generator=generator)
    torch.testing.assert_close(system.nearest(x[:, order]), system.nearest(x)[:, order])
    torch.testing.assert_close(system.log_partition(x[:, order]), system.log_partition(x))
    if system.spec.startswith("W"):
        signs = torch.randint(2, (system.dim,), generator=generator) * 2.0 - 1
        torch.testing.assert_close(system.nearest(x * signs), system.nearest(x) * signs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=6), st.sampled_from(["permutations", "signed", "even"]))
def test_any_base_vector_has_an_orbit(base, group):
    try:
        system = orbit(base, group)
    except ValueError:
        return
    vectors = system.all(torch.float64)
    assert torch.unique(vectors, dim=0).shape[0] == system.size
    assert bool((vectors == torch.tensor(base, dtype=torch.float64)).all(1).any())
    assert parse(system.spec) == system


# ------------------------------------------------------------------ specs


@pytest.mark.parametrize("spec", ["V22:41", "V16,16:64", "W3:35", "perm[2,1^3,0^4]", "signed[5/2,1]", "V22:8^8 x W1:4"])
def test_specs_round_trip(spec):
    assert parse(spec).spec == spec


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("V22", 0),
        ("V22;41", 0),
        ("X5:3", 0),
        ("V22:41 y V22:8", 6),
        ("V22:41 x ", 9),
        ("V22:41^", 6),
        ("V22:41^0", 7),
        ("V22:3", 0),
        ("W9:4", 0),
        ("dense:10", 0),
        ("graded:9", 0),
        ("graded:6", 0),
        ("perm[1,a,0]", 7),
        ("perm[1/0,2]", 5),
        ("perm[0^4]", 0),
        ("perm[1^999999999]", 5),
        ("V22:99999999999", 4),
        ("V22:41^99999999", 7),
        ("V22:٤١x", 6),
    ],
)
def test_bad_specs_show_the_place(text, position):
    with pytest.raises(SpecError, match=f"character {position + 1}: expected") as caught:
        parse(text)
    assert caught.value.position == position


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="VWAD:,^x []0123456789-/permsignedv", max_size=14))
def test_parsing_never_fails_otherwise(text):
    try:
        system = parse(text)
    except SpecError:
        return
    if system.dim < 200:
        assert parse(system.spec) == system


@pytest.mark.parametrize(
    "call",
    [
        lambda: V(3, 2, 2),
        lambda: V(-1, 0, 0),
        lambda: V(5, 0, 0),
        lambda: V(2, 2, 0),
        lambda: A(0),
        lambda: weight(3, 4),
        lambda: weight(3, 0),
        lambda: dense(6),
        lambda: graded(9),
        lambda: graded(6),
        lambda: graded(8, 16),
        lambda: graded(64, 5),
        lambda: orbit([1, 2], "rotations"),
        lambda: orbit([0, 0]),
        lambda: orbit([]),
        lambda: n_min("Z9", 10),
        lambda: n_min("V00", 10),
        lambda: n_min("V22", 0),
        lambda: product(),
        lambda: Table([[1.0, 0.0]]),
        lambda: Table([[1.0, 0.0], [2.0, 0.0]]),
        lambda: Table([[1.0, 0.0], [1.0, 0.0]]),
        lambda: Table([[1.0, 0.0], [float("nan"), 0.0]]),
    ],
)
def test_impossible_systems_are_refused(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()


def test_planner():
    options = plan(600_000)
    assert [option.system.dim for option in options] == sorted(option.system.dim for option in options)
    assert all(option.system.size >= 600_000 and 0 < option.fill <= 1 for option in options)
    assert plan(10**12)[0].to_dict()["size"] == str(plan(10**12)[0].system.size)
    with pytest.raises(ValueError, match="no family"):
        plan(10, ["V22", "Q"])


@pytest.mark.parametrize(
    ("spec", "has"),
    [
        ("V22:41", True),
        ("V22:8^8", True),
        ("Leech", True),
        ("eBCH(64,24)", True),
        ("eBCH(64,30)", False),
        ("eBCH(64,30) x V22:8", False),
        ("perturbed(V22:8, 1/10, 7)", True),
        ("perturbed(V22:41, 1/10, 7)", False),
        ("embedded(eBCH(64,30), 70)", False),
        ("graded:16", True),
        ("graded:64", False),
        ("graded:128", False),
        ("flat(graded:128)", False),
        ("graded:64 x V22:8", False),
        ("perm[16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1,0]", True),
        ("perm[17,16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1,0]", False),
        ("signed[17,16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1,0]", False),
    ],
)
def test_log_partition_is_a_declared_capability(spec, has):
    system = parse(spec)
    assert system.has_log_partition == has
    if has:
        assert bool(torch.isfinite(system.log_partition(torch.zeros(1, system.dim))).all())
    else:
        with pytest.raises(NotImplementedError, match=r"\w"):
            system.log_partition(torch.zeros(1, system.dim))
