"""The commands with texts: read, name, measure, embed, keep in an index; and what is said of wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

import rootspace
from rootspace.cli.reading import read_data
from rootspace.cli.training import check_encoder
from rootspace.data import Fields, ImageSet, TextPreprocessing, open_data
from rootspace.errors import InputError
from rootspace.experiment import Recipe, prepare, recogniser_of
from rootspace.experiment.training import Trained
from rootspace.models import ENCODERS
from rootspace.report import read_report
from rootspace.train import TrainConfig, fit

Run = Callable[..., Result]
Fails = Callable[..., str]

THINGS, KINDS = ("shoes", "boots", "hats", "книги"), ("red", "blue", "my own", "10 x", "new", "old")
ROWS = [(f"{kind} {thing}", thing) for thing in THINGS for kind in KINDS]


def write(path: Path, rows: list[tuple[str, str]], head: str = "title,label") -> Path:
    path.write_text("\n".join([head, *(",".join(row) for row in rows)]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def titles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("texts") / "titles.csv", ROWS)


@pytest.fixture(scope="module")
def of_texts(titles: Path) -> Path:
    """A model folder, trained on the titles."""
    data = open_data(titles, TextPreprocessing(20), progress=False)
    torch.manual_seed(0)
    made = prepare(data, Recipe(backbone={"name": "small_text", "width": 16}), 0)
    config = TrainConfig(epochs=12, batch_size=8, learning_rate=1e-2)
    history = fit(made.embedder, made.loss, data, config, hooks=made.hooks, progress=False)
    trained = Trained("rootspace", made.embedder, made.loss, history)
    return recogniser_of(trained, data, data).save(titles.parent / "model")


def test_predict_names_texts(works: Run, of_texts: Path, tmp_path: Path) -> None:
    (tmp_path / "shoes").write_text("a file of this name is not opened")
    lines = works("predict", of_texts, "old shoes", "new книги", "-k", 1).stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["old shoes", "new книги"]
    assert "shoes 0." in lines[0] or "shoes 1." in lines[0]
    assert "книги" in lines[1].split(": ")[1]
    (tmp_path / "more.txt").write_text("\ufeffred hats\n\n  \nblue boots\r\n", "utf-8")
    rows = json.loads(works("predict", of_texts, "--texts", tmp_path / "more.txt", "--json").stdout)
    assert [(row["text"], row["labels"][0]) for row in rows] == [("red hats", "hats"), ("blue boots", "boots")]
    rows = json.loads(works("predict", of_texts, "a/b//c", "-", "--json", text="red hats\n").stdout)
    assert [row["text"] for row in rows] == ["a/b//c", "red hats"]


def test_texts_that_are_none(fails: Fails, of_texts: Path, tmp_path: Path) -> None:
    assert "the text is empty" in fails("predict", of_texts, " ")
    assert "Missing argument 'IMAGES...'" in fails("predict", of_texts)
    (tmp_path / "empty.txt").write_text(" \n")
    assert "no text to name" in fails("predict", of_texts, "--texts", tmp_path / "empty.txt")
    assert "no text to name: standard input" in fails("predict", of_texts, "-", text="\n")
    assert "cannot be read" in fails("predict", of_texts, "--texts", tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "not UTF-8" in fails("predict", of_texts, "--texts", tmp_path / "latin.txt")


def test_texts_for_a_model_of_pictures_and_the_reverse(
    fails: Fails, model: Path, of_texts: Path, titles: Path, shapes: Path
) -> None:
    assert "red shoes: no such file" in fails("predict", model, "red shoes")
    assert "takes pictures; give their files or folders" in fails("predict", model, "--texts", titles)
    assert "holds pictures, but is to be prepared as texts" in fails("evaluate", of_texts, shapes)
    assert "image's path" in fails("evaluate", model, titles)


def test_evaluate_and_embed_take_tables_of_texts(works: Run, of_texts: Path, titles: Path, tmp_path: Path) -> None:
    found = json.loads(works("evaluate", of_texts, titles, "--json").stdout)
    assert found["images"] == len(ROWS)
    assert found["top1"] > 0.95
    works("embed", of_texts, titles, "--output", tmp_path / "e.npy")
    expected = rootspace.load(of_texts).embed([text for text, _ in ROWS])
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), expected.numpy(), rtol=1e-3, atol=1e-4)


def test_an_index_of_texts(works: Run, fails: Fails, of_texts: Path, titles: Path, tmp_path: Path) -> None:
    place, more = tmp_path / "titles.index", tmp_path / "more.txt"
    built = works("index", "build", of_texts, titles, "--output", place, "--backend", "system", "--dtype", "int8")
    assert f"{len(ROWS)} items in all" in built.stdout
    more.write_text("green hats\n\ngreen boots\n", "utf-8")
    assert "2 images added" in works("index", "add", place, more).stdout
    rows = json.loads(works("index", "search", place, "new книги", "--texts", more, "-k", 2, "--json").stdout)
    assert [(row["text"], row["class"]) for row in rows][:2] == [("new книги", "книги"), ("green hats", "hats")]
    best = [row["items"][0] for row in rows]
    assert [(item["path"], item["label"]) for item in best] == [
        ("new книги", "книги"),
        ("green hats", ""),
        ("green boots", ""),
    ]
    assert "the text is empty" in fails("index", "search", place, " ")


def test_a_run_on_texts_speaks_of_texts(works: Run, titles: Path, tmp_path: Path) -> None:
    """Also where there is no sample to show, because nothing is tested."""
    options = ("--length", 20, "--width", 8, "--epochs", 1, "--device", "cpu", "--threads", 1, "--test-share", 0)
    works("train", titles, "--output", tmp_path / "o", *options)
    assert read_report(tmp_path / "o" / "results.json").thing == "text"
    assert "picture" not in (tmp_path / "o" / "report.html").read_text("utf-8").partition("<header")[2]
    card = (tmp_path / "o" / "model" / "README.md").read_text("utf-8")
    assert "| training | 24 texts |" in card
    assert str(titles.parent) not in card


def test_what_an_encoder_does_not_take_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(torch.nn.Module):
        takes_texts, feature_dim = True, 4

        def __init__(self, in_channels: int) -> None:
            super().__init__()

        def forward(self, cells: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no position for it")

    monkeypatch.setitem(ENCODERS, "short", Short)
    images = ImageSet.from_texts(["a", "b"], ["x", "y"], TextPreprocessing(20))
    with pytest.raises(
        InputError, match=r"cannot take texts of 20 bytes \(no position for it\); give another --length"
    ):
        check_encoder({"name": "short"}, images)


def test_a_store_of_texts_is_built(works: Run, fails: Fails, of_texts: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "t.tsv", [], "words\tkind")
    table.write_text("words\tkind\nred shoes\tshoes\nblue hats\thats\nblue hats\thats\n", "utf-8")
    store, named = tmp_path / "store", ("--text-column", "words", "--label-column", "kind")
    built = works("data", "build", table, "--output", store, *named, "--length", 20)
    assert "3 texts (1, 20, 1) of 2 classes" in built.stdout
    assert json.loads(works("evaluate", of_texts, store, "--json").stdout)["images"] == 3
    assert "kind: text" in works("info", of_texts).stdout
    described = json.loads(works("data", "show", store, "--json").stdout)
    assert described["preprocessing"] == {"kind": "text", "length": 20, "tokenizer": None}
    assert "size is for pictures" in fails("data", "build", table, "--output", tmp_path / "other", *named, "--size", 32)
    assert not (tmp_path / "other").exists()


def test_training_data_are_read(titles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, training, heldout = read_data(titles, {"length": 12}, None, (), 0.25, 0, False)
    assert (len(images), images.image_shape) == (len(ROWS), (1, 12, 1))
    assert 4 <= len(heldout["random share"]) == len(ROWS) - len(training) <= 8
    assert capsys.readouterr().err == ""
    table = write(tmp_path / "t.csv", [("red", "a"), ("red", "b"), ("blue", "b"), ("blue", "b")], "words,label")
    named = Fields(text="words")
    images, _, heldout = read_data(table, {}, table, (), 0.0, 0, False, fields=named)
    assert heldout["t.csv"].texts_at([0]) == ["red"]
    assert "1 of 4 rows repeat another, text and class; 1 texts stand under several" in capsys.readouterr().err
    images.store.save(tmp_path / "store")
    assert read_data(tmp_path / "store", {}, table, (), 0.0, 0, False, fields=named)[0].texts_at([2]) == ["blue"]
    with pytest.raises(InputError, match="holds texts; size is for pictures, leave it out"):
        read_data(titles, {"size": 32}, None, (), 0.25, 0, False)
