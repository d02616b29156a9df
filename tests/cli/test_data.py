"""`rootspace data`: build, show and check, and their mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import rootspace
from rootspace.cli.data import FITS
from rootspace.data import ImageStore
from rootspace.data.images import _FITS

from .conftest import SHAPES, Run, invoke, tree, write_arrays, write_shapes

Fails = Callable[..., str]


@pytest.fixture
def store(works: Run, shapes: Path, tmp_path: Path) -> Path:
    works("data", "build", shapes, "--output", tmp_path / "store", "--size", 16, "--channels", 1, "--fit", "ink")
    return tmp_path / "store"


def test_build_and_show(works: Run, store: Path) -> None:
    opened = ImageStore.open(store)
    assert opened.label_names == tuple(sorted(SHAPES))
    assert opened.preprocessing.to_dict() == {"size": 16, "channels": 1, "fit": "ink"}
    facts = json.loads(works("data", "show", store, "--json").stdout)
    assert (facts["images"], facts["classes"], facts["images_a_class"]["least"]) == (48, 4, 12)
    assert facts["largest_sources"] == {"shapes": 48}
    assert facts["made_from"]["kind"] == "folder"
    text = works("data", "show", store).stdout
    for word in ("круг", "size 16", "fit ink", "48"):
        assert word in text


def test_a_store_trains_without_decoding(works: Run, store: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    works("train", store, "--output", tmp_path / "run", "--width", 8, "--epochs", 1, "--threads", 1)
    assert (tmp_path / "run" / "model").is_dir()


def test_build_from_a_list_with_named_columns(works: Run, shapes: Path, tmp_path: Path) -> None:
    table = _listed(tmp_path / "list.csv", shapes)
    result = works("data", "build", table, "--output", tmp_path / "s", "--size", 8, *COLUMNS)
    assert "48 images (8, 8, 3) of 4 classes" in result.stdout
    assert ImageStore.open(tmp_path / "s").source_names == ("a", "b")


# ---------------------------------------------------------------------- columns

COLUMNS = ("--image-column", "file", "--label-column", "species", "--source-column", "camera")


def _listed(path: Path, folder: Path) -> Path:
    """A table of the images of a folder of classes, whose columns have unusual names."""
    lines = ["file,species,camera"]
    for number, image in enumerate(sorted(folder.rglob("*.png"))):
        lines.append(f"{image},{image.parent.name},{'ab'[number % 2]}")
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_a_named_source_is_held_out(works: Run, shapes: Path, tmp_path: Path) -> None:
    table, cells = _listed(tmp_path / "list.csv", shapes), ("--size", 16, "--channels", 1, "--fit", "ink")
    short = ("--width", 8, "--epochs", 1, "--threads", 1)
    result = works("train", table, "--output", tmp_path / "run", *COLUMNS, "--hold-out", "b", *cells, *short)
    assert "source_column: camera" in result.stdout
    history = (tmp_path / "run" / "training" / "rootspace" / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"b"' in history


def test_columns_are_named_in_the_same_way_everywhere(
    works: Run, fails: Fails, model: Path, shapes: Path, other_shapes: Path, tmp_path: Path
) -> None:
    table = _listed(tmp_path / "list.csv", other_shapes)
    assert "name it with --label-column" in fails("evaluate", model, table)
    found = works("evaluate", model, table, "--json", *COLUMNS)
    assert json.loads(found.stdout) == json.loads(works("evaluate", model, other_shapes, "--json").stdout)
    works("embed", model, table, "--output", tmp_path / "e.npy", *COLUMNS)
    assert len(np.load(tmp_path / "e.npy")) == 16
    new = write_shapes(tmp_path / "new", 9, 6, ("круг", "крест"))
    for name in ("круг", "крест"):
        (new / name).rename(new / f"new {name}")
    grow = ("grow", model, _listed(tmp_path / "new.csv", new), "--epochs", 1, "--batch-size", 8, "--threads", 1)
    # the columns are those of the data that have any
    works(*grow, "--replay", shapes, "--test", table, "--output", tmp_path / "grown", *COLUMNS)
    assert "has no columns or keys to name" in fails("evaluate", model, other_shapes, *COLUMNS)
    assert "no such file or folder" in fails("evaluate", model, tmp_path / "none.csv", *COLUMNS)


# ---------------------------------------------------------------------- data without labels


@pytest.mark.parametrize("kind", ["flat folder", "one folder", "table", "texts", "arrays", "store"])
def test_every_sample_its_own_class_needs_no_labels(
    works: Run, fails: Fails, shapes: Path, tmp_path: Path, kind: str
) -> None:
    images = sorted(shapes.rglob("*.png"))[:9]
    cells = () if kind == "texts" else ("--size", 16, "--channels", 1, "--fit", "ink")
    if kind == "table":
        data = tmp_path / "list.csv"
        data.write_text("path\n" + "\n".join(map(str, images)), "utf-8")
    elif kind == "texts":
        data = tmp_path / "titles.csv"
        data.write_text("title\n" + "\n".join(f"text number {number}" for number in range(9)), "utf-8")
    elif kind == "arrays":
        data = tmp_path / "data.npz"
        np.savez(data, images=np.random.default_rng(0).integers(0, 256, (9, 16, 16), dtype=np.uint8))
    else:
        data = tmp_path / "pictures"
        (data / "all").mkdir(parents=True)
        for number, image in enumerate(images):
            shutil.copy(image, data / "all" / f"{number}.png" if kind == "one folder" else data / f"{number}.png")
    short = ("--width", 8, "--epochs", 1, "--threads", 1)
    if kind == "store":
        built = works("data", "build", data, "--output", tmp_path / "store", *cells, "--classes-from", "samples")
        assert "9 images (16, 16, 1) without labels" in built.stdout
        data, cells = tmp_path / "store", ()
        assert json.loads(works("data", "show", data, "--json").stdout)["classes"] is None
        assert "classes_from samples" in works("data", "show", data).stdout
        message = fails("data", "build", data, "--output", tmp_path / "again")
        assert "holds no labels, because it was built for --classes-from samples" in message
    message = fails("train", data, "--output", tmp_path / "no", *cells, *short)
    assert ("only one class" if kind == "one folder" else "label") in message
    assert "--classes-from samples" in message
    assert not (tmp_path / "no").exists()
    result = works("train", data, "--output", tmp_path / "run", *cells, *short, "--classes-from", "samples")
    assert "unseen views" in result.stdout
    assert list(rootspace.load(tmp_path / "run" / "model").label_names) == [f"image {number}" for number in range(9)]


def test_build_from_arrays_and_from_a_store(works: Run, store: Path, tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", np.arange(20) % 4)
    works("data", "build", tmp_path / "a.npz", "--output", tmp_path / "a")
    assert ImageStore.open(tmp_path / "a").images.shape == (20, 12, 12, 1)
    works("data", "build", store, "--output", tmp_path / "a", "--overwrite", "--size", 24, "--fit", "stretch")
    assert ImageStore.open(tmp_path / "a").images.shape == (48, 24, 24, 1)


def test_bad_pictures(works: Run, fails: Fails, shapes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shapes, tmp_path / "shapes")
    (folder / "круг" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    before = tree(tmp_path)
    assert "broken.png" in fails("data", "build", folder, "--output", tmp_path / "s")
    assert tree(tmp_path) == before
    result = works("data", "build", folder, "--output", tmp_path / "s", "--skip-bad")
    assert "skipped 1 of 49 images" in result.stderr
    assert "broken.png" in works("data", "show", tmp_path / "s").stdout


def test_check(works: Run, store: Path) -> None:
    assert "whole" in works("data", "check", store).stdout
    raw = bytearray((store / "images.npy").read_bytes())
    raw[-1] ^= 1
    (store / "images.npy").write_bytes(raw)
    result = invoke("data", "check", store)
    assert result.exit_code == 1
    assert result.stdout == "damaged: images 0 to 47\n"
    assert "1 of 1 blocks are damaged, 48 images are lost" in result.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("data check {gone}", "no such folder"),
        ("data show {gone}", "no such folder"),
        ("data build {gone} --output {new}", "there is no such file or folder"),
        ("data build {store} --output {store}", "is there already; replace it with --overwrite"),
        ("data build {store} --output {file} --overwrite", "is there already; give another --output"),
        ("data build {list} --output {new}", "which column holds the image's path"),
        ("data build {store} --output {file}/below", "cannot be written"),
        ("data build {store} --output {new} --label-column x", "store: has no columns or keys to name"),
        ("data build {list} --output {new} --text-column a --classes-from samples --label-column b", "mean nothing"),
        ("data build {store}", "Missing option '--output'"),
        ("data built", "No such command 'built'"),
        ("data check {cut}", "manifest.json"),
    ],
)
def test_mistakes(fails: Fails, store: Path, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    shutil.copytree(store, tmp_path / "cut")
    (tmp_path / "cut" / "manifest.json").write_text("{")
    names = {name: tmp_path / name for name in ("gone", "new", "file", "store", "cut")}
    names["list"] = tmp_path / "list.csv"
    before = tree(tmp_path)
    assert words in fails(*line.format(**names).split())
    assert tree(tmp_path) == before


def test_the_lists_of_the_help_are_those_of_the_library() -> None:
    assert set(FITS) == set(_FITS)
