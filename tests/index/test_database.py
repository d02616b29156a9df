"""An index of a model's embeddings, in every backend and storage."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rootspace import index as indexes
from rootspace import models
from rootspace.data import ImageSet
from rootspace.errors import InputError, MissingExtraError
from rootspace.index.backends import NAMES, backend
from rootspace.systems import graded

from .conftest import DIM, clustered

EVERY = [(name, dtype) for name in NAMES for dtype in backend(name).dtypes]
each = pytest.mark.parametrize(("name", "dtype"), EVERY)
each_backend = pytest.mark.parametrize("name", NAMES)
#: How far a cosine may be off by the storage alone.
OFF = {"float32": 1e-5, "float16": 2e-3, "int8": 2e-2, "graded": 1e-5}


def made(model: Path, place: Path, name: str, dtype: str = "float32", vectors: np.ndarray | None = None):
    """An index of vectors, open for writing, with a path and a label each."""
    index = indexes.Index.create(model, place, name, dtype, None, None)
    if vectors is not None:
        numbers = range(len(vectors))
        index.add(vectors, [f"файл {n}" for n in numbers], [f"label {n % 3}" for n in numbers])
    return index


def everything(index) -> int | None:
    """Probes that look into all cells, where there are cells."""
    return 10**9 if index.about["backend"] == "system" else None


@each
def test_it_finds_what_brute_force_finds_before_and_after_opening_anew(model, tmp_path, name, dtype):
    vectors, queries = clustered(60), clustered(8, seed=1)
    with made(model, tmp_path / "x", name, dtype, vectors) as index:
        here = index.nearest(queries, 5, everything(index))
    with indexes.open(tmp_path / "x") as index:
        assert len(index) == 60
        cosines, ids = index.nearest(queries, 5, everything(index))
        found = index.search(queries[:2], 5, everything(index))
    np.testing.assert_allclose(cosines, here[0], atol=1e-6)
    assert (np.diff(cosines, axis=1) <= 1e-6).all()
    if dtype == "binary":
        signs = (vectors > 0)[ids] == (queries > 0)[:, None]
        np.testing.assert_allclose(cosines, np.cos(np.pi * (1 - signs.mean(2))), atol=1e-5)
        return
    if dtype == "graded":
        vectors = (graded(DIM).nearest(torch.from_numpy(vectors)) / graded(DIM).norm).numpy()
    exact = -np.sort(-(queries @ vectors.T), axis=1)[:, :5]
    np.testing.assert_allclose(cosines, exact, atol=OFF[dtype])
    own = np.einsum("qd,qkd->qk", queries, vectors[ids])
    np.testing.assert_allclose(own, cosines, atol=OFF[dtype])
    for row, hits in enumerate(found):
        assert [hit.id for hit in hits] == ids[row].tolist()
        assert [hit.path for hit in hits] == [f"файл {n}" for n in ids[row]]
        assert [hit.label for hit in hits] == [f"label {n % 3}" for n in ids[row]]


@each
def test_items_come_and_go(model, tmp_path, name, dtype):
    vectors = clustered(40)
    with made(model, tmp_path / "x", name, dtype, vectors[:20]) as index:
        index.delete([3, 4, 19])
        assert index.add(vectors[20:], [f"later {n}" for n in range(20)]).tolist() == list(range(20, 40))
        index.delete([25])
        assert index.add(vectors[3:4], ["three"], ids=np.array([3])).tolist() == [3]
        index.compact()
    with indexes.open(tmp_path / "x", writing=True) as index:
        assert index.ids().tolist() == sorted(set(range(40)) - {4, 19, 25})
        assert index._backend.count == 37
        assert sorted(index._backend.ids().tolist()) == index.ids().tolist()
        hit = index.search(vectors[30:31], 40, everything(index))[0]
        if dtype not in ("binary", "graded"):  # in which two may be the same
            assert (hit[0].id, hit[0].path) == (30, "later 10")
        assert {item.id for item in hit} <= set(index.ids().tolist())
        # an id that was given is not given again
        index.delete([39])
        assert index.add(vectors[:1]).tolist() == [40]
        index.delete(index.ids())
        assert len(index) == 0
        assert index.search(vectors[:2], 3) == [[], []]
    with indexes.open(tmp_path / "x") as index:
        assert index.nearest(vectors[:2], 3)[1].shape == (2, 0)


@each_backend
def test_k_larger_than_the_index_gives_all(model, tmp_path, name):
    with made(model, tmp_path / "x", name, vectors=clustered(5)) as index:
        hits = index.search(clustered(2, seed=1), 100, everything(index))
    assert [sorted(hit.id for hit in row) for row in hits] == [list(range(5))] * 2


@each_backend
def test_build_embeds_images_with_paths_and_labels(model, images, tmp_path, name):
    with indexes.build(model, images, tmp_path / "x", backend=name) as index:
        files = sorted(path for path in images.rglob("*.png"))
        assert len(index) == 9
        embeddings = models.load(model).embed(files)
        hits = index.search(embeddings, 1)
        assert [row[0].path for row in hits] == [str(path) for path in files]
        assert [row[0].label for row in hits] == ["" if path.parent == images else path.parent.name for path in files]
        assert all(row[0].cosine == pytest.approx(1, abs=1e-4) for row in hits)
        labels, cosines = index.decode(embeddings)
        wanted = models.load(model).predict(files, 1)
        assert labels == [found.labels[0] for found in wanted]
        np.testing.assert_allclose(cosines, [found.scores[0] for found in wanted], atol=1e-5)
        assert index.add_images([files[0]], replace=True) == []
        assert [hit.id for hit in index.search(embeddings[:1], 1)[0]] == [9]
        assert len(index) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_stores_and_arrays_are_taken_too(model, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "some.npz", images=images, labels=np.array(["a", "b", "a", "b"]))
    ImageSet.from_arrays(images, np.array([0, 1, 1, 0]), ["c", "d"]).store.save(tmp_path / "store")
    with indexes.build(model, [tmp_path / "some.npz", tmp_path / "store"], tmp_path / "x") as index:
        assert len(index) == 8
        with indexes.open(tmp_path / "x") as reader:
            payload = reader._items.payload(np.array([1, 5, 2]))
    assert list(payload.labels) == ["b", "d", "a"]
    assert payload.paths[0].endswith("some.npz#1")


def test_images_are_written_in_pieces(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr("rootspace.index.adding.WRITE", 2)
    monkeypatch.setattr("rootspace.index.pictures.BATCH", 2)
    seen = []
    with indexes.build(model, images, tmp_path / "x", backend="system", progress=seen.append) as index:
        assert len(index) == 9
        assert seen == [2, 4, 6, 8, 9]
        assert len(index._items.folder.segments) == 1


# ---------------------------------------------------------------------- what is refused


def test_embeddings_of_two_models_do_not_meet(model, other_model, images, tmp_path):
    indexes.build(model, images, tmp_path / "x").close()
    with pytest.raises(InputError, match="another model"):
        indexes.open(tmp_path / "x", model=other_model)
    moved = shutil.copytree(model, tmp_path / "moved")
    with indexes.open(tmp_path / "x", writing=True, model=moved) as index:
        assert index.add_images([images / "loose.png"]) == []
    own = shutil.copytree(model, tmp_path / "own")
    indexes.build(own, images, tmp_path / "y").close()
    shutil.rmtree(own)
    with indexes.open(tmp_path / "y") as index, pytest.raises(InputError, match="is not there"):
        index.decode(clustered(1))
    shutil.copytree(other_model, own)
    with indexes.open(tmp_path / "y") as index, pytest.raises(InputError, match="another model"):
        index.decode(clustered(1))


@each_backend
def test_bad_embeddings_ids_and_lengths_change_nothing(model, tmp_path, name):
    with made(model, tmp_path / "x", name, vectors=clustered(5)) as index:
        before = (tmp_path / "x" / "index.json").read_bytes()
        for call, words in (
            (lambda: index.add(np.full((2, DIM), np.nan)), "NaN or infinity in sample 0"),
            (lambda: index.add(np.zeros((1, DIM))), "zero"),
            (lambda: index.add(clustered(2, DIM + 1)), r"\(N, 8\)"),
            (lambda: index.add(clustered(2), ["one"]), "paths: expected one for each of 2"),
            (lambda: index.add(clustered(2), labels=["one"]), "labels"),
            (lambda: index.add(clustered(2), ids=np.array([7])), "ids"),
            (lambda: index.add(clustered(2), ids=np.array([7, 4])), "4 is there already"),
            (lambda: index.delete([2, 17]), "no item has the id 17"),
            (lambda: index.delete([2, 2]), "given twice"),
            (lambda: index.nearest(np.full((1, DIM), np.inf)), "NaN or infinity"),
            (lambda: index.nearest(clustered(1), 0), "k: "),
        ):
            with pytest.raises(InputError, match=words):
                call()
        assert index.ids().tolist() == [0, 1, 2, 3, 4]
        assert (tmp_path / "x" / "index.json").read_bytes() == before
        if name != "system":
            with pytest.raises(InputError, match="no cells"):
                index.nearest(clustered(1), 2, probes=3)


def test_a_reader_cannot_write(model, tmp_path):
    made(model, tmp_path / "x", "faiss", vectors=clustered(5)).close()
    with indexes.open(tmp_path / "x") as index:
        for call in (lambda: index.add(clustered(1)), lambda: index.delete([1]), index.compact):
            with pytest.raises(InputError, match="writing=True"):
                call()


@each_backend
def test_a_second_writer_is_told_at_once_and_readers_go_on(model, tmp_path, name):
    with made(model, tmp_path / "x", name, vectors=clustered(5)) as index:
        with pytest.raises(InputError, match=r"in use by another run \(process \d+\)"):
            indexes.open(tmp_path / "x", writing=True)
        with indexes.open(tmp_path / "x") as reader:
            index.add(clustered(3, seed=1))
            assert len(reader) == 5
            assert {hit.id for hit in reader.search(clustered(1), 5, everything(reader))[0]} <= set(range(8))
    indexes.open(tmp_path / "x", writing=True).close()


class NotInstalled:
    """A finder that makes a module look as if it were not there."""

    def __init__(self, module: str) -> None:
        self.module = module

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == self.module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("name", "module"),
    [("faiss", "faiss"), ("usearch", "usearch"), ("lancedb", "lancedb"), ("qdrant", "qdrant_client")],
)
def test_a_missing_library_names_its_extra_and_leaves_nothing(model, tmp_path, monkeypatch, name, module):
    for loaded in [one for one in sys.modules if one == module or one.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(module), *sys.meta_path])
    extra = "index" if name == "faiss" else name
    with pytest.raises(MissingExtraError, match=rf"pip install 'rootspace\[{extra}\]'"):
        made(model, tmp_path / "x", name)
    assert list(tmp_path.iterdir()) == []


def test_backends_storages_and_places_that_are_none(model, images, tmp_path):
    for call, words in (
        (lambda: indexes.build(model, images, tmp_path / "x", backend="milvus"), "backend: expected one of faiss"),
        (lambda: indexes.build(model, images, tmp_path / "x", backend="qdrant", dtype="int8"), "qdrant stores float32"),
        (lambda: indexes.build(model, images, tmp_path / "x", cells="V11:8"), "has none to choose"),
        (lambda: indexes.build(model, images, tmp_path / "x", backend="system", cells="V11:9"), "at most"),
        (lambda: indexes.build(tmp_path, images, tmp_path / "x"), "incomplete model folder"),
        (lambda: indexes.build(model, tmp_path / "none", tmp_path / "x"), "no such file or folder"),
        (lambda: indexes.build(model, [], tmp_path / "x"), "no image"),
        (lambda: indexes.build(model, images, images), "is there already"),
        (lambda: indexes.open(tmp_path / "x"), "no such folder"),
        (lambda: indexes.open(model), "index.json is missing"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    assert not (tmp_path / "x").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        indexes.build(model, tmp_path / "empty", tmp_path / "x")


def test_an_image_that_cannot_be_read(model, images, tmp_path):
    own = shutil.copytree(images, tmp_path / "images")
    (own / "square" / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="--skip-bad"):
        indexes.build(model, own, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    skipped: list[str] = []
    with indexes.build(model, own, tmp_path / "x", skip_bad=True, skipped=skipped) as index:
        assert len(index) == 9
    assert skipped == [str(own / "square" / "bad.png")]
    bad = tmp_path / "bad"
    bad.mkdir()
    shutil.copy(own / "square" / "bad.png", bad)
    with pytest.raises(InputError, match="no image that can be read"):
        indexes.build(model, bad, tmp_path / "y", skip_bad=True)


def test_a_model_that_gives_no_numbers(model, images, tmp_path):
    broken = models.load(model)
    with torch.no_grad():
        broken.embedder.projection.bias.fill_(float("nan"))
    broken.save(tmp_path / "broken")
    with pytest.raises(InputError, match="NaN or infinity"):
        indexes.build(tmp_path / "broken", images, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# ---------------------------------------------------------------------- damage


def files_of(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file() and path.stat().st_size and path.name != ".lock")


@each_backend
def test_any_damaged_file_is_noticed(model, tmp_path, name):
    with made(model, tmp_path / "x", name, vectors=clustered(30)) as index:
        index.delete([2])
    count = len(files_of(tmp_path / "x"))
    assert count >= 6
    for number in range(count):
        for damage in ("changed", "cut", "gone"):
            copy = shutil.copytree(tmp_path / "x", tmp_path / f"{number}-{damage}")
            path = files_of(copy)[number]
            data = bytearray(path.read_bytes())
            if damage == "changed":
                data[-1 if path.suffix == ".npy" else len(data) // 2] ^= 1
                path.write_bytes(data)
            elif damage == "cut":
                path.write_bytes(data[: len(data) // 2])
            else:
                path.unlink()
            with pytest.raises(InputError):
                indexes.open(copy)
            shutil.rmtree(copy)
    indexes.open(tmp_path / "x").close()


@pytest.mark.parametrize("name", ["faiss", "usearch", "lancedb"])
def test_a_file_that_does_not_belong_is_noticed(model, tmp_path, name):
    made(model, tmp_path / "x", name, vectors=clustered(5)).close()
    (tmp_path / "x" / "vectors" / "more").write_text("x")
    with pytest.raises(InputError, match="is no file of this index"):
        indexes.open(tmp_path / "x")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"dtype": "float32"', '"dtype": "float16"', "checksum mismatch"),
        ('"format": "rootspace-index"', '"format": "rootspace-system-index"', "expected a rootspace-index"),
        ('"version": 2', '"version": 3', "format version 3"),
        ("{", "", "not valid JSON"),
    ],
)
def test_an_edited_sidecar_is_noticed(model, tmp_path, old, new, words):
    made(model, tmp_path / "x", "faiss", vectors=clustered(5)).close()
    path = tmp_path / "x" / "index.json"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        indexes.open(tmp_path / "x")
