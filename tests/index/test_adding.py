"""Items by their paths: each file once, wherever it was added from; found and deleted by path and label."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from rootspace import index as indexes
from rootspace import models
from rootspace.data import image_folder
from rootspace.errors import InputError, MissingExtraError
from rootspace.index import segments
from rootspace.index.identity import identity

from .conftest import clustered
from .test_database import NotInstalled, made


def paths_of(index) -> list[str]:
    return [item.path for item in index.find()]


def test_a_file_is_added_once(model, images, tmp_path, monkeypatch):
    own = shutil.copytree(images, tmp_path / "images")
    repeated: list[str] = []
    with indexes.build(model, [own, own / "square" / "0.png"], tmp_path / "x", repeated=repeated) as index:
        assert repeated == [str(own / "square" / "0.png")]
        before = index.find()
        assert len(before) == 9
        shutil.copy(own / "loose.png", own / "square" / "new.png")
        monkeypatch.chdir(own)  # the same files by other names
        repeated.clear()
        assert index.add_images([Path("square"), "."], repeated=repeated) == []
        assert len(repeated) == 4 + 9 + 1
        assert paths_of(index) == [*(item.path for item in before), str(own / "square" / "new.png")]
        shutil.copy(own / "loose.png", own / "square" / "0.png")
        old = index.find([own / "square" / "0.png"])[0].id
        assert index.add_images([own / "square" / "0.png"], replace=True) == []
        (found,) = index.find([own / "square" / "0.png"])
        assert found.id > old
        assert len(index) == 10
        hits = index.search(index.model.embed([own / "loose.png"]), 3)[0]
        assert {hit.path for hit in hits} == {
            str(own / name) for name in ("loose.png", "square/new.png", "square/0.png")
        }


def test_the_label_of_one_file(model, images, tmp_path):
    (tmp_path / "kind 3").mkdir()
    (tmp_path / "holidays").mkdir()
    for name in ("kind 3/a.png", "holidays/b.png", "holidays/c.png"):
        shutil.copy(images / "loose.png", tmp_path / name)
    with indexes.build(model, images, tmp_path / "x") as index:
        index.add_images([tmp_path / "kind 3" / "a.png", tmp_path / "holidays" / "b.png"])
        index.add_images([tmp_path / "holidays" / "c.png"], label="sea")
        labels = {Path(item.path).name: item.label for item in index.find([tmp_path / "kind 3", tmp_path / "holidays"])}
    assert labels == {"a.png": "kind 3", "b.png": "", "c.png": "sea"}


def test_items_are_found_by_path_and_label(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [str(tmp_path / name) for name in ("a/1.png", "a/2.png", "ab/1.png", "s.npz#0", "s.npz#1")]
    with made(model, tmp_path / "x", "faiss") as index:
        index.add(clustered(6), [*paths, "a text"], ["u", "v", "u", "v", "u", "u"])
        for given, labels, ids in (
            ([], [], [0, 1, 2, 3, 4, 5]),
            (["a"], [], [0, 1]),
            ([tmp_path / "a" / "2.png"], [], [1]),
            (["s.npz"], [], [3, 4]),
            (["s.npz#1", "a text"], [], [4, 5]),
            ([], ["u"], [0, 2, 4, 5]),
            (["a", "ab"], ["u"], [0, 2]),
            (["none"], [], []),
        ):
            assert [item.id for item in index.find(given, labels)] == ids


def test_folders_are_listed_as_training_lists_them(model, images, tmp_path, monkeypatch):
    own = shutil.copytree(images, tmp_path / "images")
    (own / "loose.png").unlink()
    elsewhere = shutil.move(own / "square", tmp_path / "elsewhere")
    (own / "square").symlink_to(elsewhere)
    shutil.copytree(elsewhere, own / ".thumbs")
    shutil.copytree(elsewhere, own / "круг" / ".cache")
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    trained = image_folder(own, models.load(model).preprocessing, progress=False)
    with indexes.build(model, own, tmp_path / "x") as index:
        found = index.find()
    assert len(found) == len(trained) == 8
    assert [item.label for item in found] == [trained.label_names[label] for label in trained.labels]


def test_a_missing_pillow_is_no_bad_image(model, images, tmp_path, monkeypatch):
    for loaded in [one for one in sys.modules if one == "PIL" or one.startswith("PIL.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled("PIL"), *sys.meta_path])
    with pytest.raises(MissingExtraError, match="pip install"):
        indexes.build(model, images, tmp_path / "x", skip_bad=True)


def test_the_model_runs_where_it_is_told(model, images, tmp_path):
    with indexes.build(model, images, tmp_path / "x", device="cpu") as index:
        assert index.model.embedder.projection.weight.device == torch.device("cpu")
    with pytest.raises(InputError, match="device: expected 'auto', 'cpu'"):
        indexes.open(tmp_path / "x", device="gpu7")
    with indexes.open(tmp_path / "x", device="meta") as index:  # stands for a GPU, which not every machine has
        assert index.model.embedder.projection.weight.device.type == "meta"


# ---------------------------------------------------------------------- whose embeddings they are


def test_an_index_outlives_changes_that_leave_embeddings_as_they_are(model, other_model, images, tmp_path):
    own = shutil.copytree(model, tmp_path / "model")
    indexes.build(own, images, tmp_path / "x").close()
    query = images / "loose.png"
    grown = models.load(own)
    grown.add_classes(["more"])
    grown.label_names = ("renamed", *grown.label_names[1:])
    grown.threshold = models.Threshold(0.5, 0.1, 0.05)
    grown.save(own)
    with indexes.open(tmp_path / "x", writing=True) as index:
        assert index.search(index.model.embed([query]), 1)[0][0].path == str(query)
        assert index.add_images([query], replace=True) == []
    with torch.no_grad():
        grown.embedder.projection.bias += 1e-3
    with pytest.raises(InputError, match="was built with another model"):
        indexes.open(tmp_path / "x", model=grown.save(tmp_path / "trained"))
    grown = models.load(own)
    grown.preprocessing = type(grown.preprocessing)(16, 1, "stretch")
    with pytest.raises(InputError, match="was built with another model"):
        indexes.open(tmp_path / "x", model=grown.save(tmp_path / "prepared"))


def make_old(place: Path) -> None:
    """Turn an index into one of format 1."""
    state = json.loads((place / "index.json").read_text(encoding="utf-8"))
    del state["checksum"], state["about"]["model"]["embedder"], state["about"]["model"]["commit"]
    state["version"] = 1
    state["checksum"] = segments._checksum(state)
    (place / "index.json").write_text(json.dumps(state), encoding="utf-8")


def test_an_index_of_format_1(model, images, tmp_path):
    own = shutil.copytree(model, tmp_path / "model")
    indexes.build(own, images, tmp_path / "x").close()
    make_old(tmp_path / "x")
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    with indexes.open(tmp_path / "x") as index:
        assert len(index.search(index.model.embed([images / "loose.png"]), 3)[0]) == 3
    with indexes.open(tmp_path / "x", writing=True) as index:
        index.add_images([images / "loose.png"])  # from here on it knows what matters
    renamed = models.load(own)
    renamed.label_names = ("renamed", *renamed.label_names[1:])
    renamed.save(own)
    with indexes.open(tmp_path / "x") as index:
        assert index.model.label_names[0] == "renamed"
    with indexes.open(tmp_path / "y") as index, pytest.raises(InputError, match="format 1 cannot tell which"):
        index.model  # noqa: B018


def test_a_model_of_the_hub_is_known_by_its_name_and_commit(model, images, tmp_path, monkeypatch):
    commit = "0123abc"
    cached = tmp_path / "cache" / "models--user--name" / "snapshots" / commit
    shutil.copytree(model, cached)
    asked = []

    def located(source, **options):
        if str(source) != "user/name":
            return Path(source)
        asked.append(options)
        if options.get("local_files_only") and not cached.is_dir():
            raise InputError("the cache does not hold it")
        return cached if cached.is_dir() else again

    monkeypatch.setattr("rootspace.index.identity.located", located)
    assert (identity(model)["path"], identity(model)["commit"]) == (str(model), None)
    monkeypatch.setattr("rootspace.index.opening.located", located)
    with indexes.build("user/name", images, tmp_path / "x") as index:
        assert (index.about["model"]["path"], index.about["model"]["commit"]) == ("user/name", commit)
        assert index.facts()["model"] == f"user/name@{commit}"
        assert len(index.model.label_names) == 12
    again = cached.rename(tmp_path / "downloaded")
    asked.clear()
    with indexes.open(tmp_path / "x") as index:
        assert len(index.model.label_names) == 12
    assert asked == [{"revision": commit, "local_files_only": True}, {"revision": commit}]


# ---------------------------------------------------------------------- beside a writer


def test_a_reader_begins_anew_where_a_writer_took_a_file_away(model, tmp_path, monkeypatch):
    with made(model, tmp_path / "x", "system", vectors=clustered(20)) as writer:
        writer.add(clustered(5, seed=1))
        digest, done = segments.sha256, []

        def raced(path):
            if not done and path.name == "ids.npy":  # seen a moment ago, and now swept
                done.append(path)
                writer.compact()
            return digest(path)

        monkeypatch.setattr(segments, "sha256", raced)
        with indexes.open(tmp_path / "x") as reader:
            assert len(reader) == 25
    assert done
    assert not os.path.exists(done[0])


def test_progress_is_a_bar_or_a_function(model, images, tmp_path, monkeypatch):
    bars, seen = [], []

    def tracked(items, what, show):
        bars.append((what, len(items), show))
        return iter(items)

    monkeypatch.setattr("rootspace.index.pictures.tracked", tracked)
    indexes.build(model, images, tmp_path / "x", progress=True).close()
    indexes.build(model, images, tmp_path / "y", progress=seen.append).close()
    assert bars == [(images.name, 9, True), (images.name, 9, False)]
    assert seen == [9]
