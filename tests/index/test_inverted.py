"""`SystemIndex` against brute force and against a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rootspace.errors import InputError
from rootspace.index import SystemIndex
from rootspace.systems import graded

from .conftest import DIM, clustered

ALL = 10**9


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cells"


def brute(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The k largest cosines, (Q, k)."""
    return -np.sort(-(queries @ vectors.T), axis=1)[:, :k]


@settings(deadline=None, max_examples=20)
@given(
    st.integers(1, 200),
    st.integers(2, 12),
    st.sampled_from(["float32", "float16", "int8"]),
    st.integers(1, 30),
    st.integers(0, 99),
)
def test_with_all_cells_probed_it_is_brute_force(count, dim, dtype, k, seed):
    vectors, queries = clustered(count, dim, seed), clustered(7, dim, seed + 1)
    with tempfile.TemporaryDirectory() as folder, SystemIndex.create(Path(folder) / "x", dim, dtype) as index:
        for part in np.array_split(np.arange(count), 3):
            index.add(part, vectors[part])
        cosines, ids = index.search(queries, k, ALL)
    width = min(k, count)
    tolerance = {"float32": 1e-5, "float16": 2e-3, "int8": 2e-2}[dtype]
    np.testing.assert_allclose(cosines[:, :width], brute(vectors, queries, width), atol=tolerance)
    own = np.einsum("qd,qkd->qk", queries, vectors[ids[:, :width]])
    np.testing.assert_allclose(own, cosines[:, :width], atol=tolerance)
    assert (ids[:, width:] == -1).all()
    assert (cosines[:, width:] == -1).all()
    assert all(len(set(row)) == width for row in ids[:, :width].tolist())


@pytest.mark.parametrize("dim", [8, 10, 16, 22])
def test_graded_storage_is_the_nearest_graded_vector_in_three_bits(place, dim):
    vectors, queries, system = clustered(200, dim), clustered(9, dim, seed=1), graded(dim)
    stored = (system.nearest(torch.from_numpy(vectors)) / system.norm).numpy()
    with SystemIndex.create(place, dim, "graded") as index:
        index.add(np.arange(200), vectors)
        assert index.folder.segments[0].arrays["packed"].shape == (200, -(-3 * dim // 8))
        index.compact()
        cosines, _ = index.search(queries, 5, ALL)
    np.testing.assert_allclose(cosines, brute(stored, queries, 5), atol=1e-5)
    with pytest.raises(InputError, match="even number"):
        SystemIndex.create(place.with_name("odd"), 13, "graded")


@pytest.mark.parametrize("spec", [None, "V11:8", "V11:5", "W2:8", "V22:6", "graded4:8"])
@pytest.mark.parametrize("probes", [1, 3, 10])
def test_it_finds_the_best_of_the_cells_probed_and_nothing_else(place, spec, probes):
    vectors, queries = clustered(400), clustered(40, seed=1)
    with SystemIndex.create(place, DIM, system=spec) as index:
        index.add(np.arange(300), vectors[:300])
        index.add(np.arange(300, 400), vectors[300:])
        cells = index.cells
        cosines, ids = index.search(queries, 5, probes)
        own, near = cells.of(vectors), cells.nearest(queries, probes)
    for query, row_cosines, row_ids, cell in zip(queries, cosines, ids, near, strict=True):
        inside = np.flatnonzero(np.isin(own, cell))
        expected = np.sort(vectors[inside] @ query)[::-1][:5]
        np.testing.assert_allclose(row_cosines[: len(expected)], expected, atol=1e-5)
        assert set(row_ids.tolist()) <= {-1, *inside.tolist()}


def test_queries_in_many_blocks_find_what_single_ones_do(place, monkeypatch):
    vectors, queries = clustered(500), clustered(60, seed=1)
    with SystemIndex.create(place, DIM) as index:
        index.add(np.arange(500), vectors)
        wanted = index.search(queries, 4, 5), index.search(queries, 4, ALL)
        monkeypatch.setattr("rootspace.index.inverted._ELEMENTS", 50)
        for (cosines, ids), probes in zip(wanted, (5, ALL), strict=True):
            np.testing.assert_allclose(index.search(queries, 4, probes)[0], cosines, atol=1e-6)
            assert np.array_equal(index.search(queries, 4, probes)[1], ids)


class AgainstADictionary(RuleBasedStateMachine):
    """Any sequence of writes and openings leaves what a dictionary would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.index = SystemIndex.create(self.folder / "x", DIM)
        self.held: dict[int, np.ndarray] = {}

    @rule(ids=st.sets(st.integers(0, 60), max_size=12), seed=st.integers(0, 999))
    def add(self, ids, seed):
        new = np.array(sorted(ids - self.held.keys()), dtype=np.int64)
        vectors = clustered(len(new), seed=seed) if len(new) else np.zeros((0, DIM), np.float32)
        self.index.add(new[::-1], vectors)
        self.held.update(zip(new[::-1].tolist(), vectors, strict=True))

    @rule(ids=st.sets(st.integers(0, 60), max_size=12))
    def delete(self, ids):
        gone = sorted(ids & self.held.keys())
        self.index.delete(np.array(gone, dtype=np.int64))
        for number in gone:
            del self.held[number]

    @rule()
    def compact(self):
        self.index.compact()
        assert len(self.index.folder.segments) <= 1

    @rule(writing=st.booleans())
    def reopen(self, writing):
        self.index.close()
        with SystemIndex.open(self.folder / "x", writing=writing) as index:
            assert len(index) == len(self.held)
        self.index = SystemIndex.open(self.folder / "x", writing=True)

    @rule(seed=st.integers(0, 999), k=st.integers(1, 8))
    def search(self, seed, k):
        queries = clustered(3, seed=seed)
        cosines, ids = self.index.search(queries, k, ALL)
        width = min(k, len(self.held))
        assert (ids[:, width:] == -1).all()
        if width:
            np.testing.assert_allclose(
                cosines[:, :width], brute(np.stack(list(self.held.values())), queries, width), atol=1e-5
            )
            for row in range(3):
                own = [float(self.held[number] @ queries[row]) for number in ids[row, :width].tolist()]
                np.testing.assert_allclose(own, cosines[row, :width], atol=1e-5)

    @invariant()
    def holds_the_same_ids(self):
        assert sorted(self.index.ids().tolist()) == sorted(self.held)

    def teardown(self):
        self.index.close()
        shutil.rmtree(self.folder)


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(deadline=None, max_examples=10, stateful_step_count=12)


def test_an_index_without_items(place):
    with SystemIndex.create(place, DIM) as index:
        cosines, ids = index.search(clustered(2), 3)
        assert (ids == -1).all()
        assert cosines.shape == (2, 3)
        index.compact()
        index.add(np.zeros(0, np.int64), np.zeros((0, DIM)))
        index.add(np.arange(5), clustered(5))
        index.delete(np.arange(5))
        assert len(index) == 0
        assert index.search(np.zeros((0, DIM), np.float32), 3)[1].shape == (0, 3)
        index.add(np.arange(5), clustered(5))
        assert sorted(index.search(clustered(5), 5, ALL)[1][0].tolist()) == list(range(5))


def test_compacting_chooses_cells_for_as_many_items(place):
    with SystemIndex.create(place, 16) as index:
        index.add(np.arange(20), clustered(20, 16))
        few = index.cells.system.size
        index.add(np.arange(20, 6000), clustered(5980, 16, 1))
        assert index.cells.system.size == few
        index.compact()
        assert index.cells.system.size >= 6000 // 8 > few
    with SystemIndex.create(place.with_name("own"), 16, system="V11:16") as index:
        index.add(np.arange(2000), clustered(2000, 16))
        index.compact()
        assert index.cells.system.spec == "V11:16"
        assert index.cells.axes is None


def test_nothing_is_left_of_what_was_replaced(place):
    with SystemIndex.create(place, DIM) as index:
        for start in range(0, 50, 10):
            index.add(np.arange(start, start + 10), clustered(10, seed=start))
        index.delete(np.arange(0, 25))
        index.compact()
    names = sorted(path.name.split("-")[0] for path in place.iterdir())
    assert names == [".lock", "index.json", "segment"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.add([1, 1], clustered(2)), "given twice"),
        (lambda x: x.add([0], clustered(1)), "0 is there already"),
        (lambda x: x.add([-1], clustered(1)), "at least 0"),
        (lambda x: x.add([0.5], clustered(1)), "whole numbers"),
        (lambda x: x.add([70], clustered(2)), "one for each"),
        (lambda x: x.add([70], clustered(1, 5)), r"\(N, 8\)"),
        (lambda x: x.add([70], np.full((1, DIM), np.nan)), "NaN or infinity"),
        (lambda x: x.add([70], np.full((1, DIM), np.inf)), "NaN or infinity"),
        (lambda x: x.add([70], np.zeros((1, DIM))), "zero"),
        (lambda x: x.delete([3, 70, 71]), "70, 71 not in the index"),
        (lambda x: x.search(clustered(1), 0), "k: "),
        (lambda x: x.search(clustered(1), 3, 0), "probes: "),
        (lambda x: x.search(np.full((1, DIM), np.nan), 3), "NaN"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(place, change, words):
    with SystemIndex.create(place, DIM) as index:
        index.add(np.arange(10), clustered(10))
        with pytest.raises(InputError, match=words):
            change(index)
        assert sorted(index.ids().tolist()) == list(range(10))


def test_reading_does_not_write(place):
    SystemIndex.create(place, DIM).close()
    with SystemIndex.open(place) as index, pytest.raises(InputError, match="writing=True"):
        index.add(np.arange(1), clustered(1))
    with pytest.raises(InputError, match="dtype"):
        SystemIndex.create(place.with_name("x"), DIM, "binary")
    with pytest.raises(InputError, match="is there already"):
        SystemIndex.create(place, DIM)
    with pytest.raises(InputError, match="no such folder"):
        SystemIndex.open(place.with_name("nothing"))
