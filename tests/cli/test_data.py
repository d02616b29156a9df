"""`rootspace data`: build, show and check, and their mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rootspace.cli.data import FITS
from rootspace.data import ImageStore
from rootspace.data.images import _FITS

from .conftest import SHAPES, Run, invoke, tree, write_arrays

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
    lines = ["file,species,camera"]
    for number, path in enumerate(sorted(shapes.rglob("*.png"))):
        lines.append(f"{path},{path.parent.name},{'ab'[number % 2]}")
    (tmp_path / "list.csv").write_text("\n".join(lines), "utf-8")
    names = ("--image", "file", "--label", "species", "--source", "camera")
    result = works("data", "build", tmp_path / "list.csv", "--output", tmp_path / "s", "--size", 8, *names)
    assert "48 images (8, 8, 3) of 4 classes" in result.stdout
    assert ImageStore.open(tmp_path / "s").source_names == ("a", "b")


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
