"""`rootspace index`: what comes out when all is well, and one line when it is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from rootspace.cli import indexing, main
from rootspace.index.backends import NAMES, backend
from rootspace.train.checkpoint import claimed

from .conftest import Run, tree

ROOT = Path(__file__).resolve().parents[2]
Fails = Callable[..., str]


@pytest.fixture
def place(works: Run, model: Path, shapes: Path, tmp_path: Path) -> Path:
    """An index of the shapes."""
    works("index", "build", model, shapes, "--output", tmp_path / "shapes.index")
    return tmp_path / "shapes.index"


def test_build_says_what_is_in_it(works: Run, model: Path, shapes: Path, tmp_path: Path) -> None:
    result = works(
        "index", "build", model, shapes, "--output", tmp_path / "x", "--backend", "system", "--dtype", "int8"
    )
    assert result.stdout == f"{tmp_path / 'x'}: 48 images added, 48 items in all\n"
    shown = json.loads(works("index", "show", tmp_path / "x", "--json").stdout)
    assert (shown["items"], shown["backend"], shown["dtype"], shown["dimensions"]) == (48, "system", "int8", 64)
    assert (shown["model"], shown["classes"], shown["stopped write"]) == (str(model.resolve()), 4, False)
    assert shown["cells in use"] >= 1
    shown = works("index", "show", tmp_path / "x").stdout
    assert "48" in shown
    assert "stopped write  no\n" in shown


def test_search_finds_drawings_of_the_same_shape(works: Run, place: Path, other_shapes: Path) -> None:
    rows = json.loads(works("index", "search", place, other_shapes, "-k", 3, "--json").stdout)
    assert len(rows) == 16
    right = [row["items"][0]["label"] == Path(row["image"]).parent.name for row in rows]
    assert sum(right) >= 12
    for row in rows:
        assert set(row) == {"image", "class", "cosine", "items"}
        cosines = [item["cosine"] for item in row["items"]]
        assert cosines == sorted(cosines, reverse=True)
        assert all(Path(item["path"]).is_file() for item in row["items"])
    one = other_shapes / "круг" / "00.png"
    lines = works("index", "search", place, one, "-k", 2).stdout.splitlines()
    assert lines[0].startswith(f"{one}: ")
    assert len(lines) == 3
    assert str(rows[0]["items"][0]["path"]) in "\n".join(lines) or rows[0]["image"] != str(one)
    assert len(json.loads(works("index", "search", place, one, "-k", 999, "--json").stdout)[0]["items"]) == 48


def test_add_delete_and_compact(works: Run, place: Path, other_shapes: Path) -> None:
    one = other_shapes / "крест" / "01.png"
    assert works("index", "add", place, one).stdout == f"{place}: 1 images added, 49 items in all\n"
    again = works("index", "add", place, one)
    assert again.stdout == f"{place}: 0 images added, 49 items in all\n"
    assert again.stderr.startswith(f"left out 1 that the index has already, such as {one} (")

    def nearest() -> dict[str, object]:
        found: dict[str, object] = json.loads(works("index", "search", place, one, "--json").stdout)[0]["items"][0]
        return found

    assert nearest() == {"id": 48, "cosine": pytest.approx(1, abs=1e-4), "path": str(one), "label": "крест"}
    replaced = works("index", "add", place, one, "--replace", "--label", "mine")
    assert (replaced.stdout, replaced.stderr) == (f"{place}: 1 images added, 49 items in all\n", "")
    assert (nearest()["id"], nearest()["label"]) == (49, "mine")
    assert works("index", "delete", place, 49, 3, 3).stdout == f"{place}: 2 items deleted, 47 left\n"
    assert nearest()["id"] != 49
    assert works("index", "compact", place).stdout == f"{place}: 47 items\n"
    works("index", "add", place, one)
    assert nearest()["id"] == 50


def test_items_are_listed_and_deleted_by_path_and_label(
    works: Run, fails: Fails, place: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = works("index", "list", place)
    assert len(everything.stdout.splitlines()) == 48
    assert everything.stderr == ""
    some = works("index", "list", place, "--limit", 2, "--offset", 3, "--label", "круг")
    lines = [line.split(None, 2) for line in some.stdout.splitlines()]
    assert [Path(path).name for _, _, path in lines] == ["03.png", "04.png"]
    assert {label for _, label, _ in lines} == {"круг"}
    assert some.stderr.startswith("2 of 12 items")
    monkeypatch.chdir(shapes.parent)
    asked = ("--path", Path("shapes") / "круг", "--path", Path("shapes") / "крест" / "00.png")
    listed = json.loads(works("index", "list", place, *asked, "--json").stdout)
    assert len(listed) == 13
    assert {(Path(item["path"]).parent, item["label"]) for item in listed} == {
        (shapes / name, name) for name in ("круг", "крест")
    }
    assert works("index", "delete", place, *asked).stdout == f"{place}: 13 items deleted, 35 left\n"
    assert "no item with the path" in fails("index", "delete", place, *asked)
    assert "give either IDS" in fails("index", "delete", place, 1, "--label", "круг")
    assert works("index", "delete", place, "--label", "квадрат").stdout == f"{place}: 12 items deleted, 23 left\n"


def test_probes_are_for_cells(works: Run, fails: Fails, model: Path, place: Path, shapes: Path, tmp_path: Path) -> None:
    one = shapes / "круг" / "00.png"
    assert "no cells" in fails("index", "search", place, one, "--probes", 3)
    works("index", "build", model, shapes, "--output", tmp_path / "x", "--backend", "system", "--cells", "V11:9")
    rows = json.loads(works("index", "search", tmp_path / "x", one, "--probes", 1, "--json").stdout)
    assert rows[0]["items"][0]["path"] == str(one)


def test_a_model_that_moved(works: Run, fails: Fails, own_model: Path, shapes: Path, tmp_path: Path) -> None:
    works("index", "build", own_model, shapes, "--output", tmp_path / "x")
    moved = own_model.rename(tmp_path / "moved")
    one = shapes / "круг" / "00.png"
    assert "--model" in fails("index", "search", tmp_path / "x", one)
    works("index", "search", tmp_path / "x", one, "--model", moved)
    works("index", "add", tmp_path / "x", one, "--model", moved)


def test_skipped_images_are_counted(works: Run, fails: Fails, model: Path, place: Path, tmp_path: Path) -> None:
    bad = tmp_path / "some"
    bad.mkdir()
    (bad / "bad.png").write_bytes(b"no image")
    assert "--skip-bad" in fails("index", "add", place, bad)
    result = works("index", "add", place, bad, "--skip-bad")
    assert result.stderr.startswith("skipped 1 of 1 images")
    assert "48 items in all" in result.stdout
    assert works("index", "search", place, bad, "--skip-bad", "--json").stdout == "[]\n"
    assert "no image that can be read" in fails("index", "build", model, bad, "--output", tmp_path / "y", "--skip-bad")
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("search {index} {shapes} -k 0", ["-k", "range"]),
        ("search {index} none.png", ["none.png", "no such file"]),
        ("search {index} {empty}", ["holds no images"]),
        ("search nothing {shapes}", ["nothing", "no such folder"]),
        ("search {model} {shapes}", ["index.json is missing"]),
        ("search {index}", ["Missing argument 'IMAGES...'"]),
        ("add {index} {empty}", ["holds no images"]),
        ("delete {index} 17 99", ["no item has the id 99", "nothing was deleted"]),
        ("delete {index} seven", ["'seven' is not a valid integer"]),
        ("delete {index}", ["give either IDS, or --path and --label"]),
        ("delete {index} --label none", ["no item with the label none", "nothing was deleted"]),
        ("list {index} --limit 0", ["--limit", "range"]),
        ("search {index} {shapes} --device cuda", ["--device", "'auto', 'cpu'"]),
        ("show nothing", ["no such folder"]),
        ("build {model} {shapes} --output {index}", ["is there already"]),
        ("build {model} {empty} --output {new}", ["holds no images"]),
        ("build {shapes} {shapes} --output {new}", ["incomplete model folder"]),
        ("build {model} {shapes} --output {new} --backend milvus", ["--backend", "faiss"]),
        ("build {model} {shapes} --output {new} --backend qdrant --dtype int8", ["qdrant stores float32, float16"]),
        ("build {model} {shapes} --output {new} --cells V11:9", ["none to choose"]),
        ("build {model} {shapes} --output {new} --backend system --cells V99", ["cells: "]),
        ("build {model} {shapes}", ["Missing option '--output'"]),
        ("seek {index}", ["No such command 'seek'"]),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    fails: Fails, place: Path, model: Path, shapes: Path, tmp_path: Path, line: str, words: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    names = {"index": place, "model": model, "shapes": shapes, "empty": tmp_path / "empty", "new": tmp_path / "new"}
    message = fails("index", *line.format(**names).split())
    for word in words:
        assert word in message
    assert tree(tmp_path) == before


def test_another_model_or_a_damaged_or_held_index(
    works: Run, fails: Fails, place: Path, own_model: Path, shapes: Path, tmp_path: Path
) -> None:
    one = shapes / "круг" / "00.png"
    config = json.loads((own_model / "config.json").read_text(encoding="utf-8"))
    works("index", "build", own_model, one, "--output", tmp_path / "y")
    with claimed(place):
        assert "in use by another run" in fails("index", "add", place, one)
        assert "in use by another run" in fails("index", "delete", place, 1)
        works("index", "search", place, one)
    from rootspace import models

    other = models.load(own_model)
    other.label_names = tuple(f"other {name}" for name in config["label_names"])
    other.save(own_model)
    assert ": other " in works("index", "search", tmp_path / "y", one).stdout
    with torch.no_grad():
        other.embedder.projection.bias += 1
    other.save(own_model)
    assert "was built with another model" in fails("index", "add", place, one, "--model", own_model)
    assert "was built with another model" in fails("index", "search", tmp_path / "y", one)
    copy = shutil.copytree(place, tmp_path / "copy")
    (copy / "index.json").write_text((copy / "index.json").read_text().replace('"dim": 64', '"dim": 65'))
    assert "checksum mismatch" in fails("index", "show", copy)
    vectors = place / "vectors" / "vectors.faiss"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    assert "checksum mismatch" in fails("index", "search", place, one)


def test_the_help_names_what_there_is() -> None:
    assert tuple(NAMES) == indexing._BACKENDS
    assert set(indexing._DTYPES) == {dtype for name in NAMES for dtype in backend(name).dtypes}
    shown = CliRunner().invoke(main, ["index", "--help"]).output
    assert all(name in shown for name in ("build", "add", "search", "list", "delete", "compact", "show"))


def test_commands_of_the_documentation_parse() -> None:
    text = (ROOT / "docs" / "databases.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split("#")[0].split()[2:] for line in text.splitlines() if line.startswith("rootspace index ")]
    assert {line[0] for line in lines} == set(indexing.index.commands)
    for name, *rest in lines:
        with click.Context(main) as context:
            indexing.index.commands[name].make_context(name, list(rest), parent=context)
