"""Neighbours of classes, exact and by cells."""

import sys

import pytest
import torch
from torch.nn.functional import normalize

from rootspace.assign import TableAssignment, cell_neighbours, exact_neighbours, nearest_free, neighbours
from rootspace.systems import graded

MODULE = sys.modules[cell_neighbours.__module__]


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
def test_cells_find_most_neighbours_and_searching_again_finds_more(n):
    rows, generator = clustered(n), torch.Generator().manual_seed(1)
    true = brute_force(rows, 8)
    first = cell_neighbours(rows, 8, probes=3, generator=generator)
    again = cell_neighbours(rows, 8, known=first, probes=3, generator=generator)
    assert first.shape == again.shape == (n, 8)
    assert 0.75 < recall(first, true) < recall(again, true)
    assert recall(again, true) > 0.9
    assert recall(cell_neighbours(rows, 8, probes=12), true) > recall(first, true)
    assert not (first == torch.arange(n)[:, None]).any()
    products = torch.einsum("rn,rkn->rk", rows, rows[again])
    assert (products[:, 1:] <= products[:, :-1]).all()


@pytest.mark.parametrize("n", [2, 7, 500])
def test_all_cells_are_exact(n):
    rows, k = clustered(n), min(6, n - 1)
    found = cell_neighbours(rows, k, probes=1000)
    assert torch.equal(found, brute_force(rows, k))
    assert torch.equal(cell_neighbours(rows, k, known=found, probes=1), found)


def test_cells_of_too_few_rows_are_left_for_all(monkeypatch):
    monkeypatch.setattr(MODULE, "BLOCK", 7)
    rows = clustered(300)
    assert torch.equal(cell_neighbours(rows, 200, probes=1), brute_force(rows, 200))


def test_a_large_cell_is_taken_in_parts(monkeypatch):
    rows = clustered(400)
    whole = cell_neighbours(rows, 5, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(MODULE, "ELEMENTS", 50)
    assert torch.equal(cell_neighbours(rows, 5, generator=torch.Generator().manual_seed(0)), whole)


def test_many_classes_take_the_cells_and_every_process_finds_the_same(monkeypatch):
    monkeypatch.setattr(MODULE, "EXACT_UP_TO", 500)
    assignment = TableAssignment(graded(16), nearest_free(graded(16), clustered(900)))
    found = neighbours(assignment, 4)
    torch.manual_seed(5)
    assert torch.equal(found, neighbours(assignment, 4))
    true = exact_neighbours(assignment, 4)
    assert recall(found, true) > 0.7
    assert (
        torch.equal(neighbours(assignment, 4, known=true), true) or recall(neighbours(assignment, 4, true), true) > 0.99
    )


def test_equal_rows_and_rows_of_zeros_do_no_harm():
    rows = torch.cat([torch.zeros(100, 8), torch.ones(100, 8), -torch.ones(37, 8)])
    found = cell_neighbours(rows, 3)
    assert ((found >= 0) & (found < 237)).all()
    assert not (found == torch.arange(237)[:, None]).any()
