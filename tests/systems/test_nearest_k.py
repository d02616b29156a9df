"""The k nearest vectors of permutation orbits by best-first search, and what the orbits of many levels can do."""

import itertools

import pytest
import torch

from rootspace.systems import V, dense, graded, orbit, parse
from rootspace.systems.families import family, n_min, smallest
from rootspace.systems.orbits import best_first, permutation
from rootspace.systems.orbits.orbit import Orbit

SMALL = [
    "V22:6", "V21:5", "V33:7", "V03:6", "perm[2,1,0,-3]", "perm[3,2,1,0,-1]", "perm[2^3,-1]", "perm[3^2,1,0^2,-1]",
    "perm[1.5,0.5^3,-1^2]", "perm[5,3^2,2,0^2,-1]", "perm[15,5^2,-5^2,-15]",
]  # fmt: skip


@pytest.fixture
def always_best_first(monkeypatch):
    """Also for systems of so few states that the trellis would be taken."""
    monkeypatch.setattr(permutation, "FEW_STATES", 0)


def _random(count, dim, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _with_ties(count, dim):
    x = _random(count, dim, seed=7)
    return torch.cat([x.round(), x.sign(), torch.zeros(1, dim).double(), (2 * x).round().sort(dim=1).values])


def _check(system, x, k, table):
    values, vectors = system.nearest_k(x, k)
    best = (x @ table.T).topk(k, dim=1).values
    torch.testing.assert_close(values, best, rtol=0, atol=1e-9)
    torch.testing.assert_close((vectors @ x[..., None])[..., 0], best, rtol=0, atol=1e-9)
    assert bool((values.diff(dim=1) <= 0).all())
    assert bool(system.contains(vectors).all())
    assert all(len(rows.unique(dim=0)) == k for rows in vectors)
    assert torch.equal(vectors[:, 0], system.nearest(x))
    again = system.nearest_k(x, k)
    assert torch.equal(values, again[0])
    assert torch.equal(vectors, again[1])


@pytest.mark.parametrize("spec", SMALL)
@pytest.mark.usefixtures("always_best_first")
def test_small_orbits_agree_with_brute_force_up_to_their_size(spec):
    system = parse(spec)
    x = torch.cat([_random(4, system.dim), _with_ties(3, system.dim)])
    table = system.all(torch.float64)
    for k in {1, 2, 3, 10, system.size - 1, system.size}:
        _check(system, x, min(k, system.size), table)


@pytest.mark.parametrize(("system", "rows"), [(graded(8, 4), 6), (graded(8), 4), (graded(10), 1)])
def test_graded_orbits_agree_with_brute_force(system, rows):
    x = torch.cat([_random(rows, system.dim), _with_ties(rows, system.dim)[: 2 * rows + 1]])
    table = system.all(torch.float64)
    for k in (2, 9, 100):
        _check(system, x, k, table)


@pytest.mark.parametrize(("system", "ks"), [(dense(16), (1, 2, 8, 64)), (V(12, 2, 2), (1, 7, 64)), (dense(64), (5,))])
@pytest.mark.usefixtures("always_best_first")
def test_best_first_search_agrees_with_the_trellis(system, ks):
    x = torch.cat([_random(6, system.dim), _with_ties(2, system.dim)])
    for k in ks:
        expected, among = Orbit._nearest_k(system, x, k), Orbit._nearest_k_among(system, x, k)
        values, vectors = system.nearest_k(x, k)
        torch.testing.assert_close(values, expected[0])
        torch.testing.assert_close(values, among[0])
        if k > 1:  # with ties the choice is free
            assert torch.equal(vectors[:6, :-1], expected[1][:6, :-1])


@pytest.mark.parametrize("counts", [(1, 1), (2, 3), (1, 1, 1, 1), (2, 1, 2), (1, 2, 1, 1)])
def test_the_tree_reaches_every_word_once(counts):
    letters = [code for code, count in enumerate(counts) for _ in range(count)]
    expected = sorted(set(itertools.permutations(letters)))
    x = torch.arange(sum(counts), 0, -1, dtype=torch.float64)[None]
    levels = torch.arange(len(counts), 0, -1, dtype=torch.float64)
    words = best_first.best_words(x, levels, counts, len(expected))[0].tolist()
    assert sorted(map(tuple, words)) == expected


@pytest.mark.parametrize("counts", [(2, 3), (3, 4), (1, 3, 2), (2, 2, 2), (1, 1, 1, 3)])
def test_words_of_few_inversions_differ_only_at_contested_places(counts):
    base = [code for code, count in enumerate(counts) for _ in range(count)]
    for k in (2, 3, 4):
        differ = set()
        for word in set(itertools.permutations(base)):
            if sum(a > b for a, b in itertools.combinations(word, 2)) <= k - 1:
                differ |= {place for place, (a, b) in enumerate(zip(word, base, strict=True)) if a != b}
        assert best_first.contested_places(torch.device("cpu"), counts, k).tolist() == sorted(differ)


@pytest.mark.parametrize("spec", ["graded:128", "graded:64", "perm[27,21^2,16^9,13^8,9^30,7^30,4,1^20,-3^9]"])
def test_a_large_orbit_has_its_nearest_vectors_found(spec):
    system, k = parse(spec), 8
    x = torch.randn(3, system.dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values, vectors = system.nearest_k(x, k)
    assert bool(system.contains(vectors).all())
    assert bool((values.diff(dim=1) <= 0).all())
    assert torch.equal(vectors[:, 0], system.nearest(x))
    torch.testing.assert_close(values, (vectors @ x[..., None])[..., 0])
    for row in range(len(x)):
        found = {tuple(vector) for vector in vectors[row].tolist()}
        assert len(found) == k
        first = vectors[row, 0].tolist()
        for i, j in itertools.combinations(range(system.dim), 2):
            swapped = list(first)
            swapped[i], swapped[j] = first[j], first[i]
            if first[i] != first[j] and tuple(swapped) not in found:
                assert float(torch.tensor(swapped, dtype=torch.float64) @ x[row]) <= float(values[row, -1]) + 1e-9


def test_the_first_of_many_do_not_depend_on_how_many_are_asked_for():
    x = torch.randn(5, 128, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    system = graded(128)
    many = system.nearest_k(x, 512)
    few = system.nearest_k(x, 64)
    torch.testing.assert_close(many[0][:, :64], few[0])
    assert torch.equal(many[1][:, :64], few[1])
    assert all(len(rows.unique(dim=0)) == 512 for rows in many[1])


def test_blocks_of_rows_change_nothing(monkeypatch):
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(5))
    whole = graded(64).nearest_k(x, 12)
    monkeypatch.setattr(best_first, "ELEMENTS", 3_000)
    parts = graded(64).nearest_k(x, 12)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


@pytest.mark.parametrize("k", [1, 6])
def test_the_gradient_of_a_value_is_its_vector(k):
    system = graded(16)
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(6)).requires_grad_()
    values, vectors = system.nearest_k(x, k)
    assert not vectors.requires_grad
    for place in range(k):
        (gradient,) = torch.autograd.grad(values[:, place].sum(), x, retain_graph=True)
        torch.testing.assert_close(gradient, vectors[:, place])


# ---------------------------------------------------------------------- graded orbits, and too many states


def test_graded_is_a_family():
    construct, least, step = family("graded")
    assert (least, step) == (8, 2)
    assert construct(64) == graded(64) == parse("graded:64")
    assert [n_min("graded", count) for count in (1000, 50_000, 10**6, 10**12)] == [8, 10, 12, 18]
    for count in (50_000, 10**6, 10**40):
        n = n_min("graded", count)
        assert smallest("graded", count) == graded(n)
        assert graded(n).size >= count > graded(n - 2).size


@pytest.mark.parametrize("levels", [4, 8, 16])
def test_graded_levels_are_symmetric_and_each_is_used(levels):
    sizes = []
    for n in range(levels, 140, 2):
        system = graded(n, levels)
        assert system.dim == n
        assert len(system.levels) == levels
        assert system.levels == tuple((-value, count) for value, count in reversed(system.levels))
        assert system.max_cosine == system.mcs
        sizes.append(system.size)
    assert sizes == sorted(set(sizes))
    assert graded(128, levels).spec == {4: "graded4:128", 8: "graded:128", 16: "graded16:128"}[levels]
    assert parse(graded(128, levels).spec) == graded(128, levels)


def test_graded_vectors_are_nearer_than_dense_ones():
    x = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))
    cosines = [
        float(torch.cosine_similarity(system.nearest(x), x).mean())
        for system in (dense(64), graded(64, 4), graded(64), graded(64, 16))
    ]
    assert cosines == pytest.approx([0.8895, 0.9283, 0.9680, 0.9795], abs=2e-3)


def test_sums_over_too_many_states_are_refused_at_once():
    system = graded(128)
    x = torch.zeros(4096, 128)
    for call in (
        system.log_partition,
        lambda x: system.log_partition(x, without=system.nearest(x)),
        lambda x: system.sample_vectors(x, 100),
    ):
        with pytest.raises(NotImplementedError, match=r"graded:128 .*121,550,625 states.* (take|use) "):
            call(x)
    signed = orbit(range(18), "signed")
    with pytest.raises(NotImplementedError, match="for nearest_k is 65,536: use nearest"):
        signed.nearest_k(torch.zeros(2, 18), 3)
    assert bool(signed.contains(signed.nearest(_random(3, 18))).all())


@pytest.mark.parametrize(
    "spec",
    [
        "graded:128",
        "flat(graded:16)",
        "graded:64^2 x V22:8",
        "embedded(graded:64, 66)",
        "even[9,8,7^2,6]",
        "signed[2,1,0]",
    ],
)
def test_random_vectors_of_any_orbit(spec):
    system = parse(spec)
    vectors = system.random(500, torch.Generator().manual_seed(0))
    assert vectors.shape == (500, system.dim)
    assert vectors.dtype == torch.get_default_dtype()
    assert bool(system.contains(vectors).all())
    centroid = torch.tensor([float(value) for value in system.centroid()])
    assert float((vectors.mean(0) - centroid).norm()) < 3 * system.norm / 500**0.5
    assert system.random(0).shape == (0, system.dim)
    assert system.random(2, dtype=torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="number of draws"):
        system.random(-1)
