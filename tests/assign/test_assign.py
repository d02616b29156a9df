"""Assignments: bijective shuffles, stable names, similarity, exact nearest classes, files."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from rootspace.assign import KeyedShuffle, by_name, by_similarity, load, save, shuffled, whiten
from rootspace.errors import InputError
from rootspace.systems import Table, V, dense, orbit, parse, product, smallest, weight

# ------------------------------------------------------------------ the keyed shuffle


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, 16, 17, 100, 990, 1056, 65536, 100_003])
@pytest.mark.parametrize("key", [0, 1, 12345])
def test_shuffle_is_a_bijection(size, key):
    shuffle = KeyedShuffle(size, key)
    index = torch.arange(size)
    image = shuffle(index)
    assert torch.equal(image.sort().values, index)
    assert torch.equal(shuffle.inverse(image), index)


def test_shuffle_is_as_published():
    """Stored models depend on these numbers: a change needs a new format version."""
    assert KeyedShuffle(607_620, key=7)(torch.arange(4)).tolist() == [283868, 315218, 401804, 577075]
    assert KeyedShuffle(10**18, key=7)(torch.arange(2)).tolist() == [559255931425468561, 488704743431646341]
    assert KeyedShuffle(10**30, key=7).exact(5) == 261095815072224164575359986429


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2**62), st.integers(0, 2**40), st.integers(0, 2**63))
def test_shuffle_inverts_at_any_size(size, key, index):
    shuffle = KeyedShuffle(size, key)
    index %= size
    image = shuffle.exact(index)
    assert 0 <= image < size
    assert shuffle.exact_inverse(image) == index


@settings(max_examples=40, deadline=None)
@given(st.integers(2**64, 2**200), st.integers(0, 2**200))
def test_shuffle_inverts_beyond_int64(size, index):
    shuffle = KeyedShuffle(size, 1)
    index %= size
    assert shuffle.exact_inverse(shuffle.exact(index)) == index
    with pytest.raises(OverflowError, match="exact"):
        shuffle(torch.tensor([0]))


def test_shuffle_looks_random():
    """Images of 0..n-1 fill ten equal bins evenly, and neighbours are not neighbours (chi-square, 9 d.o.f.)."""
    size = 607_620
    image = KeyedShuffle(size, 3)(torch.arange(100_000))
    bins = torch.histc(image.double(), 10, 0, size)
    assert float(((bins - 10_000).square() / 10_000).sum()) < 30
    assert float((image.diff().abs() == 1).double().mean()) < 1e-3
    other = KeyedShuffle(size, 4)(torch.arange(100_000))
    assert float((image == other).double().mean()) < 1e-3


# ------------------------------------------------------------------ nearest classes


def brute_force(assignment, x, k):
    rows = normalize(assignment.vectors(torch.arange(assignment.n_classes)).double(), dim=1)
    return (normalize(x.double(), dim=1) @ rows.T).topk(k, dim=1)


@pytest.mark.parametrize(
    ("system", "n_classes"),
    [
        (V(10, 2, 2), 1000),
        (V(33, 1, 1), 1000),
        (smallest("V22", 20_000), 20_000),
        (V(19, 2, 2), 23_200),
        (smallest("W3", 9_000), 9_000),
        (V(60, 2, 1), 9_000),
        (V(30, 2, 2), 20_000),  # one vector in eight in use, found by decoding all the same
        (dense(16), 500),
        (product(V(8, 2, 2), weight(5, 2)), 10_000),
    ],
    ids=lambda value: getattr(value, "spec", value),
)
def test_nearest_classes_match_brute_force(system, n_classes):
    assignment = shuffled(system, n_classes, key=1)
    x = torch.randn(20, system.dim, generator=torch.Generator().manual_seed(0))
    for k in (1, 5):
        scores, labels = assignment.nearest(x, k)
        expected = brute_force(assignment, x, k)
        torch.testing.assert_close(scores.double(), expected.values, rtol=1e-5, atol=1e-5)
        rows = normalize(assignment.vectors(labels).double(), dim=2)
        torch.testing.assert_close((normalize(x.double(), dim=1)[:, None] * rows).sum(2), expected.values)
        assert all(len(set(row)) == k for row in labels.tolist())


def test_nearest_in_blocks(monkeypatch):
    monkeypatch.setattr("rootspace.assign.base.SCORE_ELEMENTS", 500)
    assignment = shuffled(V(10, 2, 2), 777)
    x = torch.randn(12, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(assignment.nearest(x, 5)[0].double(), brute_force(assignment, x, 5).values)


def test_nearest_shapes_and_bad_input():
    assignment = shuffled(V(10, 2, 2), 100)
    assert assignment.nearest(torch.randn(10), 2)[1].shape == (2,)
    assert assignment.nearest(torch.randn(0, 10), 2)[1].shape == (0, 2)
    assert assignment.nearest(torch.randn(2, 3, 10), 2)[1].shape == (2, 3, 2)
    assert assignment.nearest(torch.zeros(1, 10))[0].item() == 0
    with pytest.raises(ValueError, match="NaN"):
        assignment.nearest(torch.full((1, 10), float("nan")))
    with pytest.raises(ValueError, match="k lies in"):
        assignment.nearest(torch.randn(1, 10), 101)
    with pytest.raises(ValueError, match="shape"):
        assignment.nearest(torch.randn(1, 9))


def test_class_1e12_costs_what_class_0_costs():
    system = smallest("W4", 10**12)
    assignment = shuffled(system, 10**12, key=5)
    labels = torch.tensor([0, 10**12 - 1])
    vectors = assignment.vectors(labels)
    assert bool(system.contains(vectors).all())
    assert torch.equal(assignment.shuffle.inverse(system.decode(vectors)), labels)


def test_more_classes_than_vectors_says_what_to_do():
    with pytest.raises(InputError, match=r"rootspace plan --classes 2000"):
        shuffled(V(10, 2, 2), 2000)
    with pytest.raises(InputError, match="1,260 vectors"):
        by_name(V(10, 2, 2), [str(i) for i in range(2000)])
    with pytest.raises(InputError, match="rootspace plan"):
        by_similarity(V(10, 2, 2), torch.randn(2000, 20))


# ------------------------------------------------------------------ names


def test_names_are_stable_under_order_and_collision_free():
    system = V(10, 2, 2)
    names = [f"class {i}" for i in range(1200)]  # 95 % full: many collisions
    forward, backward = by_name(system, names), by_name(system, names[::-1])
    ids = torch.arange(1200)
    assert torch.equal(forward.vectors(ids), backward.vectors(ids.flip(0)))
    assert len(system.decode(forward.vectors(ids)).unique()) == 1200


def test_names_in_a_system_beyond_int64():
    system = dense(128)
    assignment = by_name(system, ["猫", "犬", "cat"])
    assert bool(system.contains(assignment.vectors(torch.arange(3))).all())


def test_duplicate_names_are_refused():
    with pytest.raises(InputError, match="'b' occurs twice"):
        by_name(V(10, 2, 2), ["a", "b", "c", "b"])


# ------------------------------------------------------------------ similarity


def clusters(n_clusters=20, per_cluster=5, d=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(n_clusters, d, generator=generator)
    return centres.repeat_interleave(per_cluster, 0) + 0.1 * torch.randn(
        n_clusters * per_cluster, d, generator=generator
    )


def test_similar_classes_get_similar_vectors():
    assignment = by_similarity(dense(16), clusters(), torch.Generator().manual_seed(1))
    rows = normalize(assignment.vectors(torch.arange(100)), dim=1)
    cosines = rows @ rows.T
    same = torch.arange(100)[:, None] // 5 == torch.arange(100)[None] // 5
    assert cosines[same & ~torch.eye(100, dtype=torch.bool)].mean() > 0.5
    assert cosines[~same].mean().abs() < 0.1


def test_similarity_is_reproducible_and_injective():
    means = clusters()
    one, two = (by_similarity(dense(16), means, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.codes, two.codes)
    assert len(one.codes.unique(dim=0)) == 100


@pytest.mark.parametrize("n_classes", [1, 2, 10, 1000, 1260])
def test_equal_means_and_tight_systems_still_get_different_vectors(n_classes):
    system = V(10, 2, 2)
    assignment = by_similarity(system, torch.zeros(n_classes, 7), torch.Generator().manual_seed(0))
    assert len(system.decode(assignment.vectors(torch.arange(n_classes))).unique()) == n_classes


def test_whitening():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 40, generator=generator) @ torch.diag(torch.linspace(0.1, 5, 40))
    white = whiten(features, 8, generator)
    assert white.shape == (400, 8)
    torch.testing.assert_close(white.norm(dim=1), torch.ones(400))
    covariance = white.T @ white / 400
    assert float((covariance - torch.eye(8) / 8).abs().max()) < 0.04
    assert whiten(features[:3], 8, generator).shape == (3, 8)
    with pytest.raises(InputError, match="NaN"):
        whiten(torch.full((3, 4), float("nan")), 2)
    with pytest.raises(InputError, match="shape"):
        whiten(torch.zeros(3), 2)


# ------------------------------------------------------------------ files


ASSIGNMENTS = [
    shuffled(V(41, 2, 2), 600_000, key=9),
    by_name(parse("V22:8^2 x W1:4"), ["a", "b", "c"]),
    by_similarity(dense(64), clusters(), torch.Generator().manual_seed(0)),
    by_similarity(orbit([3, 2, 1, 0.5, -1]), clusters(), torch.Generator().manual_seed(0)),
    by_similarity(Table(normalize(torch.randn(300, 9, generator=torch.Generator().manual_seed(0)))), clusters()),
]


@pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=lambda a: a.system.spec)
def test_save_and_load(assignment):
    config, tensors = save(assignment)
    copy = load(config, tensors)
    labels = torch.arange(min(100, assignment.n_classes))
    assert copy.system == assignment.system
    assert copy.n_classes == assignment.n_classes
    assert torch.equal(copy.vectors(labels), assignment.vectors(labels))


def test_a_table_is_stored_in_two_bits_a_coordinate():
    _, tensors = save(ASSIGNMENTS[2])
    assert tensors["codes"].shape == (100, 16)


def test_broken_files_are_refused():
    config, tensors = save(ASSIGNMENTS[2])
    for change in (
        {"version": 99},
        {"kind": "other"},
        {"system": "V22;41"},
        {"system": "dense:32"},
        {"n_classes": 99},
        {"n_classes": "many"},
    ):
        with pytest.raises(InputError):
            load({**config, **change}, tensors)
    with pytest.raises(InputError, match="lacks"):
        load({}, tensors)
    with pytest.raises(InputError, match="missing"):
        load(config, {})
    twice = tensors["codes"].clone()
    twice[1] = twice[0]
    with pytest.raises(InputError, match="same vector"):
        load(config, {"codes": twice})
    with pytest.raises(InputError):
        load(config, {"codes": tensors["codes"] ^ 255})
