"""Assignments that take more classes: old vectors stay, new ones are free, and what does not fit is said."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize, pad

from rootspace.assign import TableAssignment, by_name, by_similarity, nearest_free, shuffled
from rootspace.errors import InputError
from rootspace.systems import Table, V, dense, embedded, graded, parse, weight


def rows(assignment):
    return assignment.vectors(torch.arange(assignment.n_classes))


def check_grown(old, new):
    """Old classes keep their vectors, and all vectors are different members of the system."""
    assert torch.equal(rows(new)[: old.n_classes], rows(old))
    assert bool(new.system.contains(rows(new)).all())
    assert len(torch.unique(rows(new), dim=0)) == new.n_classes


# ------------------------------------------------------------------ shuffled


@pytest.mark.parametrize("system", [V(10, 2, 2), V(41, 2, 2), dense(64)], ids=lambda system: system.spec)
def test_a_shuffle_counts_on(system):
    old = shuffled(system, 1000, key=3)
    new = old.grown(200)
    check_grown(old, new)
    assert (new.n_classes, new.key, new.save()[1]) == (1200, 3, {})


def test_a_full_system_names_one_that_would_do():
    with pytest.raises(InputError, match=r"1,261 classes do not fit V22:10.* V22:11 has 1,980"):
        shuffled(V(10, 2, 2), 1000).grown(261)
    with pytest.raises(InputError, match="expected 0 or more"):
        shuffled(V(10, 2, 2), 1000).grown(-1)


# ------------------------------------------------------------------ tables


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 1259), st.integers(0, 2**32), st.data())
def test_a_table_grows_up_to_its_last_vector(n_old, seed, data):
    n_new = data.draw(st.integers(1, 1260 - n_old))
    generator = torch.Generator().manual_seed(seed)
    old = TableAssignment.of(shuffled(V(10, 2, 2), n_old, key=seed))
    directions = torch.randn(n_new, 10, generator=generator) + 3 * torch.randn(10, generator=generator)
    check_grown(old, old.grown(directions))


@pytest.mark.parametrize("system", [V(10, 2, 2), weight(8, 2), V(13, 2, 2)], ids=lambda system: system.spec)
def test_new_vectors_are_as_near_as_the_best_assignment(system):
    """Against the Hungarian method, over the vectors that no old class has."""
    from scipy.optimize import linear_sum_assignment

    generator = torch.Generator().manual_seed(1)
    n_old, n_new = system.size // 2, 50
    old = TableAssignment.of(shuffled(system, n_old))
    directions = normalize(torch.randn(n_new, system.dim, generator=generator), dim=1)
    new = rows(old.grown(directions))[n_old:]
    free = shuffled(system, system.size).vectors(torch.arange(n_old, system.size))
    closeness = (directions.double() @ free.double().T / system.norm).numpy()
    best = closeness[linear_sum_assignment(closeness, maximize=True)].sum()
    found = float((directions.double() * new.double()).sum()) / system.norm
    assert best - 1e-3 * n_new - 1e-5 <= found <= best + 1e-5


def test_a_taken_vector_is_not_given_even_where_nobody_else_wants_it():
    system = graded(16)
    taken = system.random(5, torch.Generator().manual_seed(0), torch.float32)
    found = nearest_free(system, taken[:3], taken)
    assert not bool((found[:, None] == taken).all(2).any())
    cosines = (found * taken[:3]).sum(1) / system.norm**2
    runner_up = system.nearest_k(taken[:3], 2)[0][:, 1] / system.norm**2
    torch.testing.assert_close(cosines, runner_up)


def test_a_crowded_large_system_still_gives_free_vectors(monkeypatch):
    """When candidates run out, vectors found with noise are none that old classes have."""
    monkeypatch.setattr("rootspace.assign.free.CANDIDATES", (0, 0))
    old = TableAssignment.of(shuffled(V(16, 2, 2), 10_000))
    check_grown(old, old.grown(torch.randn(1, 16, generator=torch.Generator().manual_seed(0)).repeat(40, 1)))


def test_tables_refuse_what_they_cannot_place():
    old = TableAssignment.of(shuffled(V(10, 2, 2), 1200))
    with pytest.raises(InputError, match=r"1,261 classes do not fit V22:10.*V22:11"):
        old.grown(torch.randn(61, 10))
    with pytest.raises(InputError, match="shape"):
        old.grown(torch.randn(3, 9))
    with pytest.raises(InputError, match="finite"):
        old.grown(torch.full((1, 10), float("nan")))
    old.release()
    with pytest.raises(RuntimeError, match="settle"):
        old.grown(torch.randn(1, 10))


def test_a_table_of_a_table_is_itself_and_of_a_shuffle_has_its_vectors():
    start = shuffled(V(10, 2, 2), 77)
    table = TableAssignment.of(start)
    assert TableAssignment.of(table) is table
    assert torch.equal(rows(table), rows(start))


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("system", [V(10, 2, 2), dense(64)], ids=lambda system: system.spec)
def test_names_added_keep_the_others(system):
    names = [f"class {i}" for i in range(1250)]
    old = by_name(system, names[:1000], key=5)
    check_grown(old, by_name(system, names, key=5, keep=old))


def test_names_join_a_table_made_otherwise():
    old = by_similarity(V(10, 2, 2), torch.randn(1100, 20, generator=torch.Generator().manual_seed(0)))
    names = [str(i) for i in range(1260)]
    new = by_name(old.system, names, keep=old)
    check_grown(old, new)
    assert torch.equal(rows(new), rows(by_name(old.system, names, keep=old)))


def test_in_a_roomy_system_a_name_decides_alone():
    system = dense(64)
    every = by_name(system, ["a", "b", "c"])
    assert torch.equal(rows(by_name(system, ["a", "b", "c"], keep=by_name(system, ["a"]))), rows(every))


def test_names_that_cannot_be_added():
    old = by_name(V(10, 2, 2), ["a", "b"])
    with pytest.raises(InputError, match="'a' occurs twice"):
        by_name(old.system, ["a", "b", "a"], keep=old)
    with pytest.raises(InputError, match=r"over V22:10.*over V22:11"):
        by_name(V(11, 2, 2), ["a", "b", "c"], keep=old)
    with pytest.raises(InputError, match=r"do not fit V22:10.*V22:11 has 1,980"):
        by_name(old.system, [str(i) for i in range(1261)], keep=old)


# ------------------------------------------------------------------ more coordinates


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (V(41, 2, 2), V(50, 2, 2)),
        (V(33, 1, 1), V(40, 1, 1)),
        (weight(8, 3), weight(9, 3)),
        (V(8, 2, 1), V(9, 2, 1)),
        (graded(16), embedded(graded(16), 20)),
        (parse("V22:8^2"), parse("V22:8 x V22:10")),
    ],
    ids=lambda system: system.spec,
)
def test_padded_vectors_are_members(small, large):
    old = TableAssignment.of(shuffled(small, 50))
    new = old.padded(large)
    assert torch.equal(rows(new), pad(rows(old), (0, large.dim - small.dim)))
    assert new.system == large
    grown = (
        new.grown(torch.randn(20, large.dim, generator=torch.Generator().manual_seed(0))) if large.size > 70 else new
    )
    check_grown(new, grown)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (graded(16), graded(18)),
        (dense(16), dense(20)),
        (V(10, 2, 2), V(12, 2, 1)),
        (V(10, 2, 2), weight(12, 3)),
        (V(10, 2, 1), parse("scaled(V21:12, 2)")),
        (V(10, 2, 2), Table(torch.eye(12, dtype=torch.float64) * 2)),
    ],
    ids=lambda system: system.spec,
)
def test_padded_vectors_that_are_no_members_are_refused(small, large):
    with pytest.raises(InputError, match=r"are not vectors of .*embedded\("):
        TableAssignment.of(shuffled(small, 50)).padded(large)


def test_one_vector_outside_is_enough_to_refuse():
    """The first vector alone would be a member."""
    small, large = V(4, 1, 1), Table(torch.tensor([[1.0, -1, 0, 0, 0], [0, 0, 0, 1, -1]], dtype=torch.float64))
    first = torch.tensor([[1.0, -1, 0, 0], [0, 1, -1, 0]])
    TableAssignment(small, first[:1]).padded(large)
    with pytest.raises(InputError, match="are not vectors"):
        TableAssignment(small, first).padded(large)


def test_fewer_coordinates_are_refused():
    with pytest.raises(InputError, match="expected more than 10"):
        TableAssignment.of(shuffled(V(10, 2, 2), 5)).padded(V(10, 2, 2))


# ------------------------------------------------------------------ sums over the classes in use


@pytest.mark.parametrize("block", [7, 10**6])
def test_the_sum_over_classes_is_exact(block, monkeypatch):
    monkeypatch.setattr("rootspace.assign.base.SCORE_ELEMENTS", block * 15)
    assignment = shuffled(V(10, 2, 2), 333)
    x = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    cosines = normalize(x.double(), dim=1) @ normalize(rows(assignment).double(), dim=1).T
    torch.testing.assert_close(assignment.log_sum(x, 24.0).double(), (24 * cosines).logsumexp(1), rtol=1e-5, atol=1e-5)
