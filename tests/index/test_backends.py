"""Every backend in every storage and several dimensions, beside brute force; and what `compact` gives back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rootspace.errors import InputError
from rootspace.index.backends import Backend, Payload, backend
from rootspace.systems import graded

from .conftest import clustered
from .test_database import EVERY, OFF

#: 32 divides some, as FAISS has other code for those; 13 is no multiple of a byte.
DIMS = (8, 13, 64, 128)


def opened(folder: Path, name: str, dtype: str, dim: int, vectors: np.ndarray) -> Backend:
    folder.mkdir()
    made = backend(name, dtype)(folder, dim, dtype, True, {})
    made.add(np.arange(len(vectors)), vectors, Payload([""] * len(vectors), [""] * len(vectors)))
    made.save()
    return made


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(("name", "dtype"), EVERY)
def test_it_finds_what_brute_force_finds(tmp_path, name, dtype, dim):
    if dtype == "graded" and dim % 2:
        pytest.skip("graded systems have an even number of coordinates")
    vectors, queries = clustered(200, dim), clustered(20, dim, seed=1)
    made = opened(tmp_path / "x", name, dtype, dim, vectors)
    cosines, ids = made.search(queries, 10, 10**9 if name == "system" else None)
    own, _ = made.search(vectors, 1, 10**9 if name == "system" else None)
    made.close()
    assert own.max() <= 1
    if dtype == "binary":
        different = ((vectors > 0)[None] != (queries > 0)[:, None]).sum(2)
        exact = np.cos(np.pi * different / dim)
    else:
        if dtype == "graded":
            vectors = (graded(dim).nearest(torch.from_numpy(vectors)) / graded(dim).norm).numpy()
        exact = queries @ vectors.T
    np.testing.assert_allclose(cosines, -np.sort(-exact, axis=1)[:, :10], atol=OFF.get(dtype, 1e-5))
    np.testing.assert_allclose(np.take_along_axis(exact, ids, 1), cosines, atol=OFF.get(dtype, 1e-5))


@pytest.mark.parametrize(
    ("name", "dtype"), [one for one in EVERY if one[0] == "usearch"] + [("faiss", "float32"), ("lancedb", "float32")]
)
def test_compact_gives_the_room_of_deleted_vectors_back(tmp_path, name, dtype):
    vectors = clustered(600, 64)
    made = opened(tmp_path / "x", name, dtype, 64, vectors)
    size = sum(path.stat().st_size for path in (tmp_path / "x").rglob("*") if path.is_file())
    made.delete(np.arange(20, 600))
    before = made.search(vectors[:20], 5)
    made.compact()
    made.save()
    assert sum(path.stat().st_size for path in (tmp_path / "x").rglob("*") if path.is_file()) < size / 5
    assert sorted(made.ids().tolist()) == list(range(20))
    np.testing.assert_allclose(made.search(vectors[:20], 5)[0], before[0], atol=1e-6)
    made.delete(np.arange(20))
    made.compact()
    assert made.count == 0
    made.close()


def test_a_reader_of_a_table_that_was_compacted_is_told_to_open_it_anew(tmp_path):
    vectors = clustered(200, 64)
    made = opened(tmp_path / "x", "lancedb", "float32", 64, vectors)
    reader = backend("lancedb")(tmp_path / "x", 64, "float32", False, {})
    made.delete(np.arange(100))
    made.compact()
    with pytest.raises(InputError, match="open it anew"):
        reader.search(vectors[:2], 3)


def test_slots_that_usearch_leaves_as_they_were_are_not_read(tmp_path, monkeypatch):
    made = opened(tmp_path / "x", "usearch", "float32", 8, clustered(20))
    # beyond the count of a query's answers stands whatever was in memory, here what makes NumPy warn
    found = SimpleNamespace(
        keys=np.array([[3, 4], [5, 2**62]], np.uint64),
        distances=np.array([[0.5, 0.75], [0.5, 1e300]]),
        counts=np.array([2, 1]),
    )
    monkeypatch.setattr(made, "index", FakeGraph(found))
    cosines, ids = made.search(clustered(2), 2)
    assert ids.tolist() == [[3, 4], [5, -1]]
    assert cosines.tolist() == [[0.5, 0.25], [0.5, -1]]


class FakeGraph:
    """Twenty vectors, and one answer to whatever is asked."""

    def __init__(self, found):
        self.search = lambda *_: found

    def __len__(self):
        return 20
