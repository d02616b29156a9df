"""Neighbours of classes, exact and by random projection trees."""

import sys

import pytest
import torch
from torch.nn.functional import normalize

from rootspace.assign import TableAssignment, exact_neighbours, forest_neighbours, nearest_free, neighbours
from rootspace.systems import graded

MODULE = sys.modules[forest_neighbours.__module__]


def clustered(n: int, dim: int = 16, clusters: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(clusters, dim, generator=generator)
    noise = torch.randn(n, dim, generator=generator)
    return normalize(centres[torch.arange(n) % clusters] + 0.5 * noise, dim=1)


def brute_force(rows: torch.Tensor, k: int) -> torch.Tensor:
    return (rows @ rows.T).fill_diagonal_(-2).topk(k, dim=1).indices


def recall(found: torch.Tensor, true: torch.Tensor) -> float:
    return float((found[:, :, None] == true[:, None, :]).any(1).double().mean())


def test_exact_neighbours_equal_brute_force():
    assignment = TableAssignment(graded(16), nearest_free(graded(16), clustered(700)))
    rows = assignment.vectors(torch.arange(700)) / assignment.system.norm
    found = exact_neighbours(assignment, 5)
    values = torch.einsum("rn,rkn->rk", rows, rows[found])
    assert torch.allclose(values, (rows @ rows.T).fill_diagonal_(-2).topk(5, dim=1).values, atol=1e-5)
    assert not (found == torch.arange(700)[:, None]).any()


@pytest.mark.parametrize("n", [1, 2, 3, 300])
def test_all_other_classes_where_there_are_no_more(n):
    assignment = TableAssignment(graded(16), nearest_free(graded(16), clustered(n)))
    found = neighbours(assignment, 1000)
    assert found.shape == (n, n - 1)
    assert all(sorted([*row, own]) == list(range(n)) for own, row in enumerate(found.tolist()))


@pytest.mark.parametrize("n", [1000, 1003, 2500])
def test_trees_find_most_neighbours_and_searching_again_finds_more(n, monkeypatch):
    monkeypatch.setattr(MODULE, "LEAF", 128)
    rows, generator = clustered(n), torch.Generator().manual_seed(1)
    true = brute_force(rows, 8)
    first = forest_neighbours(rows, 8, generator=generator)
    again = forest_neighbours(rows, 8, known=first, generator=generator)
    assert first.shape == again.shape == (n, 8)
    assert 0.75 < recall(first, true) < recall(again, true)
    assert recall(again, true) > 0.95
    assert not (first == torch.arange(n)[:, None]).any()
    products = torch.einsum("rn,rkn->rk", rows, rows[again])
    assert (products[:, 1:] <= products[:, :-1]).all()


def test_one_leaf_is_exact():
    rows = clustered(500)
    assert torch.equal(forest_neighbours(rows, 6, trees=1), brute_force(rows, 6))


def test_many_classes_take_the_trees_and_every_process_finds_the_same(monkeypatch):
    monkeypatch.setattr(MODULE, "EXACT_UP_TO", 500)
    monkeypatch.setattr(MODULE, "LEAF", 128)
    assignment = TableAssignment(graded(16), nearest_free(graded(16), clustered(900)))
    found = neighbours(assignment, 4)
    torch.manual_seed(5)
    assert torch.equal(found, neighbours(assignment, 4))
    true = exact_neighbours(assignment, 4)
    assert recall(found, true) > 0.7
    assert (
        torch.equal(neighbours(assignment, 4, known=true), true) or recall(neighbours(assignment, 4, true), true) > 0.99
    )


def test_equal_rows_and_rows_of_zeros_do_no_harm(monkeypatch):
    monkeypatch.setattr(MODULE, "LEAF", 64)
    rows = torch.cat([torch.zeros(100, 8), torch.ones(100, 8), -torch.ones(37, 8)])
    found = forest_neighbours(rows, 3)
    assert ((found >= 0) & (found < 237)).all()
    assert not (found == torch.arange(237)[:, None]).any()
