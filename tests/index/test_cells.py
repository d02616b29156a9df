"""Cells: the vectors of a system, the fast search for roots, and what is chosen for how many items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rootspace.errors import InputError
from rootspace.index.cells import ITEMS_A_CELL, SAMPLE, Cells, cells_for, learn, parse_cells, system_for
from rootspace.index.roots import nearest_roots
from rootspace.systems import V, parse, weight

from .conftest import clustered


@given(st.integers(4, 20), st.integers(1, 60), st.integers(0, 2**32), st.booleans())
def test_nearest_roots_are_the_k_best_of_the_system(n, k, seed, ties):
    system = V(n, 1, 1)
    k = min(k, system.size)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, (5, n), generator=generator).float() if ties else torch.randn(5, n, generator=generator)
    found = nearest_roots(x, k)
    roots = system.unrank(found)
    torch.testing.assert_close((roots * x[:, None]).sum(-1), system.topk(x, k)[0])
    assert all(len(set(row)) == k for row in found.tolist())
    assert torch.equal(system.rank(roots), found)


@pytest.mark.parametrize("spec", ["V11:6", "V21:6", "W2:6", "graded4:6", "E8"])
def test_the_cell_of_an_item_is_its_nearest_cell(spec):
    system = parse(spec)
    x = clustered(50, system.dim)
    cells = Cells(system)
    assert np.array_equal(cells.of(x), system.decode(torch.from_numpy(x)).numpy())
    assert np.array_equal(cells.nearest(x, 7)[:, 0], cells.of(x))


@pytest.mark.parametrize("dim", [1, 2, 3, 8, 13, 64, 384])
@pytest.mark.parametrize("items", [1, 1000, 10**6])
def test_the_system_for_so_many_items_fits_and_has_cells_for_them(items, dim):
    system = system_for(items, dim)
    assert system.dim <= dim
    assert dim < 8 or system.size >= min(items // ITEMS_A_CELL, 40_320)


def test_learned_coordinates_bring_embeddings_near_the_vectors():
    x, system = clustered(2000, 16), weight(12, 2)

    def nearness(cells):
        at = torch.nn.functional.normalize(torch.from_numpy((x - cells.mean) @ cells.axes), dim=1)
        return float((system.nearest(at) * at).sum(1).mean() / system.norm)

    learned = learn(system, x)
    assert learned.axes.shape == (16, 12)
    np.testing.assert_allclose(learned.axes.T @ learned.axes, np.eye(12), atol=1e-4)
    random = np.linalg.qr(np.random.default_rng(0).standard_normal((16, 12)))[0].astype(np.float32)
    assert nearness(learned) > nearness(Cells(system, x.mean(0), random)) + 0.02
    assert np.array_equal(learn(system, x).axes, learned.axes)


def test_a_single_embedding_and_very_many_can_be_learned_from():
    assert learn(V(4, 1, 1), clustered(1)).of(clustered(1)).shape == (1,)
    many = clustered(SAMPLE + 5)
    assert len(np.unique(learn(V(8, 1, 1), many).of(many))) > 10


def test_a_system_of_all_coordinates_is_taken_as_it_stands():
    assert cells_for(clustered(10), 10, "V11:8") == Cells(V(8, 1, 1))
    assert cells_for(clustered(10), 10, "V11:5").axes.shape == (8, 5)


@pytest.mark.parametrize(("spec", "words"), [("V11:9", "8"), ("V1x:7", "cells"), ("graded:128", "coordinates")])
def test_systems_that_cannot_be_cells(spec, words):
    with pytest.raises(InputError, match=words):
        parse_cells(spec, 8)
    with pytest.raises(InputError, match="more than an index counts"):
        parse_cells("dense:128", 128)
