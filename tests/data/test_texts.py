"""Texts become cells of bytes or token numbers, from tables, saved data sets and stores; what is wrong is named."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rootspace.data import (
    PHOTOS,
    Fields,
    ImageSet,
    ImageStore,
    TextPreprocessing,
    batches,
    holds_texts,
    is_text,
    open_data,
    refit,
    rows,
    text_ids,
    to_tensor,
    unseen_views,
)
from rootspace.errors import InputError
from rootspace.train import HideText

TITLES = [
    ("blue running shoes", "shoes"),
    ("red boots, size 40", "shoes"),
    ('27" monitor "Ü-View"', "Bildschirme & Ärger"),
    ("日本語の本", "本"),
    ("another\nline", "本"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tokenizer() -> str:
    """The JSON of a tokenizer with special tokens, truncation and padding of its own."""
    library = pytest.importorskip("tokenizers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "blue", "red", "running", "shoes", "boots"]
    made = library.Tokenizer(library.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.post_processor = library.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    made.enable_padding(length=99)
    made.enable_truncation(max_length=3)
    return str(made.to_str())


def all_of(data: ImageSet) -> list[tuple[str, str]]:
    texts = data.texts_at(range(len(data)))
    return [(text, data.label_names[label]) for text, label in zip(texts, data.labels, strict=True)]


def write_table(path: Path, rows: Sequence[Sequence[Any]], head: Sequence[str] = ("title", "label")) -> Path:
    """A table of any kind, by the ending of its name."""
    if path.suffix == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table(dict(zip(head, map(list, zip(*rows, strict=True)), strict=True))), path)
    elif path.suffix == ".jsonl":
        lines = (json.dumps(dict(zip(head, row, strict=True)), ensure_ascii=False) for row in rows)
        path.write_text("\n".join(lines) + "\n\n", "utf-8")
    else:
        with open(path, "w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([head, *rows])
    return path


# ---------------------------------------------------------------------- one text


def test_bytes_are_normalised_and_cut_between_characters() -> None:
    prepare = TextPreprocessing(length=4)
    assert prepare.apply("abü")[0, :, 0].tolist() == [97, 98, 0xC3, 0xBC]
    assert prepare.apply("abcü")[0, :, 0].tolist() == [97, 98, 99, 0]  # two bytes have no room
    assert prepare.apply("a本")[0, :, 0].tolist() == [97, *"本".encode()]
    assert prepare.apply("ab本")[0, :, 0].tolist() == [97, 98, 0, 0]
    composed, apart = "é", unicodedata.normalize("NFD", "é")
    assert np.array_equal(prepare.apply(composed), prepare.apply(apart))
    assert prepare.apply("a\0b")[0, :, 0].tolist() == [97, 98, 0, 0]
    assert prepare.shape == prepare.apply("a").shape == (1, 4, 1)


@pytest.mark.parametrize("text", ["", "   ", "\0", "\n"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the text is empty"):
        TextPreprocessing().apply(text)


@pytest.mark.parametrize(("text", "why"), [(7, "expected a text"), (None, "got None"), ("\ud800a", "surrogate")])
def test_what_is_no_text_is_refused(text: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        TextPreprocessing().apply(text)


@pytest.mark.parametrize("length", [0, -1, 2.5, True, "8", 1 << 20])
def test_a_length_that_cannot_be(length: Any) -> None:
    with pytest.raises(InputError, match="length must be an integer from 1 to 65536"):
        TextPreprocessing(length)


def test_tokens_are_exact_also_as_floats(tokenizer: str) -> None:
    prepare = TextPreprocessing(6, tokenizer)
    cells = prepare.cells(["blue shoes", "red"])
    assert cells.shape == (2, 1, 6, 3)
    ids = text_ids(to_tensor(cells))
    assert ids.tolist() == [[3, 5, 8, 4, 0, 0], [3, 6, 4, 0, 0, 0]]  # numbers + 1, not padded to 99 nor cut to 3
    assert prepare.texts(cells) == ["blue shoes", "red"]
    cut = text_ids(to_tensor(TextPreprocessing(4, tokenizer).cells(["blue blue blue blue"])))
    assert cut.tolist() == [[3, 5, 5, 4]]  # the tokenizer keeps the end that it adds


def test_every_number_of_24_bits_survives() -> None:
    numbers = np.array([0, 1, 255, 256, 65535, 65536, 0x123456, (1 << 24) - 1], dtype="<u4")
    cells = numbers.view(np.uint8).reshape(1, 1, len(numbers), 4)[..., :3]
    assert text_ids(to_tensor(np.ascontiguousarray(cells))).tolist() == [numbers.tolist()]


def test_a_tokenizer_is_read_from_its_file_or_folder(tmp_path: Path, tokenizer: str) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer, "utf-8")
    first, second = TextPreprocessing(8, tmp_path / "tokenizer.json"), TextPreprocessing(8, str(tmp_path))
    assert first == second == TextPreprocessing(8, tokenizer)
    assert TextPreprocessing.from_dict(first.to_dict(), tokenizer) == first
    with pytest.raises(InputError, match="checksum mismatch"):
        TextPreprocessing.from_dict(first.to_dict(), tokenizer.replace("boots", "boats"))
    with pytest.raises(InputError, match="belong together"):
        TextPreprocessing.from_dict(first.to_dict())
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        TextPreprocessing(8, tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"not a tokenizer\.json"):
        TextPreprocessing(8, tmp_path / "other.json")


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
def test_a_table_of_any_kind(tmp_path: Path, kind: str) -> None:
    path = write_table(tmp_path / f"titles.{kind}", TITLES)
    assert holds_texts(path)
    data = open_data(path, progress=False)
    assert is_text(data.preprocessing)
    assert data.image_shape == (1, 64, 1)
    assert all_of(data) == TITLES
    assert data.label_names == ("Bildschirme & Ärger", "shoes", "本")
    assert data.source_names == ("titles",)


def test_numbers_as_labels_are_sorted_as_numbers_and_kept_as_written(tmp_path: Path) -> None:
    rows = [("a", "10"), ("b", "9"), ("c", "007"), ("d", "9")]
    data = open_data(write_table(tmp_path / "t.csv", rows))
    assert data.label_names == ("007", "9", "10")
    data = open_data(write_table(tmp_path / "u.csv", [("a", "10"), ("b", "-2"), ("c", "x"), ("d", "9")]))
    assert data.label_names == ("-2", "10", "9", "x")
    data = open_data(write_table(tmp_path / "t.jsonl", [("a", 10), ("b", 9)]))
    assert data.label_names == ("9", "10")


def test_the_text_column_is_told_where_there_are_pictures_too(tmp_path: Path) -> None:
    head = ("path", "caption", "kind", "shop")
    path = write_table(tmp_path / "t.csv", [("a.png", "red", "x", "north"), ("b.png", "blue", "y", "south")], head)
    fields = Fields(text="caption", label="kind", source="shop")
    assert not holds_texts(path)
    assert holds_texts(path, fields)
    data = open_data(path, fields=fields)
    assert all_of(data) == [("red", "x"), ("blue", "y")]
    assert [data.source_names[source] for source in data.sources] == ["north", "south"]
    with pytest.raises(InputError, match="give one of them"):
        Fields(image="path", text="caption")


def test_a_preprocessing_says_which_are_meant(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [("a.png", "red", "x"), ("b.png", "blue", "y")], ("path", "text", "label"))
    assert open_data(path, TextPreprocessing(8)).texts_at([1, 0]) == ["blue", "red"]
    for name in "xy":
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"photos: holds pictures, but is to be prepared as texts"):
        open_data(tmp_path / "photos", TextPreprocessing(8))
    with pytest.raises(InputError, match="holds texts, but is to be prepared as pictures"):
        open_data(path, PHOTOS, fields=Fields(text="text"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "x"), ("", "x")], r"row 2: the text is empty .*--skip-bad"),
        ([("a", "x"), (7, "x")], r"row 2: expected a text \(a string\), got 7"),
        ([("a", "x"), (None, "x")], r"row 2: expected a text \(a string\), got None"),
        ([("a", "x"), ("b", "")], r"row 2 has no label \('label' is ''"),
        ([("a", "x"), ("b", None)], r"row 2 has no label \('label' is None"),
        ([("a", "x"), ("b", 0.5)], r"row 2 has no label \('label' is 0.5, expected a text or a whole number\)"),
        ([("a", "x"), ("b", float("nan"))], r"row 2 has no label \('label' is nan"),
        ([("a", "x"), ("b", ["x"])], r"row 2 has no label \('label' is \['x'\]"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, rows: list[tuple[Any, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_data(write_table(tmp_path / "t.jsonl", rows), progress=False)
    assert "\n" not in str(caught.value)


def test_rows_without_a_text_are_skipped_on_request(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.jsonl", [("a", "x"), ("", "x"), (None, "y"), ("b", "y")])
    data = open_data(path, skip_bad=True, progress=False)
    assert all_of(data) == [("a", "x"), ("b", "y")]
    assert [name.rpartition(": ")[2] for name in data.store.about["skipped"]] == ["row 2", "row 3"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "words,label\na,x\n", "which column holds the image's path.*it has 'words', 'label'"),
        ("t.csv", "title,kind\na,x\n", "which column holds the label.*'label' or 'class'"),
        ("t.csv", "title,label\n", "holds no text"),
        ("t.csv", "title,label\na,x,y\n", "line 2 has 3 values, the head names 2"),
        ("t.jsonl", '{"title": "a", "label": "x"}\n{"title": \n', "line 2 is no JSON"),
        ("t.jsonl", '{"title": "a", "label": "x"}\n[1]\n', r"line 2 is \[1\], expected a JSON object"),
        ("t.parquet", "no", "t.parquet"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        open_data(tmp_path / name, progress=False)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TITLES)
    with pytest.raises(InputError, match="has no column 'words' for the text; it has 'title', 'label'"):
        open_data(path, fields=Fields(text="words"))


def test_repeated_rows_are_kept_and_counted(tmp_path: Path) -> None:
    rows = [("a", "x"), ("b", "x"), ("a", "x"), ("a", "y"), ("c", "y"), ("a", "x"), ("b" * 9, "y"), ("b" * 10, "x")]
    data = open_data(write_table(tmp_path / "t.csv", rows), TextPreprocessing(8), progress=False)
    assert len(data) == 8
    # of texts as far as they are seen: the last two are cut to the same
    assert data.store.about["repeats"] == {"rows": 2, "ambiguous": 2}
    data = open_data(write_table(tmp_path / "u.csv", rows), TextPreprocessing(16), progress=False)
    assert data.store.about["repeats"] == {"rows": 2, "ambiguous": 1}


def test_texts_without_labels_are_each_a_class_of_its_own(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [("red", "x"), ("blue", ""), ("red", "y")], ("title", "kind"))
    with pytest.raises(
        InputError, match=r"which column holds the label.*--label-column.*; with --classes-from samples"
    ):
        open_data(path)
    data = open_data(path, TextPreprocessing(8), progress=False, labelled=False)
    assert (data.n_classes, data.labels.tolist(), data.texts_at([2])) == (3, [0, 1, 2], ["red"])
    assert data.store.about["repeats"] == {"rows": 0, "ambiguous": 1}  # nothing tells these two apart
    alone = write_table(tmp_path / "u.parquet", [("red",), ("blue",)], ("text",))
    assert holds_texts(alone)
    assert open_data(alone, labelled=False).label_names == ("image 0", "image 1")


def test_a_long_value_of_csv_is_read_and_one_that_never_ends_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 200_000  # Python's own limit is 131,072
    path = write_table(tmp_path / "t.csv", [(long, "a"), ("b", "c")])
    assert open_data(path, TextPreprocessing(8)).texts_at([0, 1]) == ["x" * 8, "b"]
    before = csv.field_size_limit(1000)
    try:
        monkeypatch.setattr(rows, "_LONGEST_FIELD", 1000)
        with pytest.raises(InputError, match=r"line 2 cannot be read \(a value has more than 1,000 characters; is a q"):
            open_data(write_table(tmp_path / "u.csv", [(long, "a"), ("b", "c")]))
    finally:
        csv.field_size_limit(before)


def test_a_changed_table_is_read_anew_and_a_long_one_in_its_order(tmp_path: Path) -> None:
    rows = [(f"title {number}", f"class {number % 7}") for number in range(1000)]
    path = write_table(tmp_path / "t.csv", rows)
    assert all_of(open_data(path, progress=False)) == rows
    assert all_of(open_data(write_table(path, rows[:-1]), progress=False)) == rows[:-1]


def test_a_build_that_stopped_goes_on(tmp_path: Path) -> None:
    rows: list[tuple[Any, str]] = [(f"title {number}", f"class {number % 3}") for number in range(600)]
    path = write_table(tmp_path / "t.jsonl", [*rows[:550], (None, "x"), *rows[550:]])
    with pytest.raises(InputError, match="row 551: expected a text"):
        open_data(path, progress=False)
    (journal,) = (tmp_path / "cache" / "tables").glob(".*.part/journal.jsonl")
    assert len(journal.read_text().splitlines()) == 2  # of 256 rows each
    data = open_data(path, skip_bad=True, progress=False)
    assert all_of(data) == rows
    assert data.store.about["repeats"] == {"rows": 0, "ambiguous": 0}


def test_saved_data_sets_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets")
    features = library.Features({"review": library.Value("string"), "label": library.ClassLabel(names=["good", "bad"])})
    library.Dataset.from_dict({"review": ["fine", "awful"], "label": [0, 1]}, features=features).save_to_disk(
        tmp_path / "one"
    )
    with monkeypatch.context() as patch:  # its rows, in .arrow files, are not opened to find that out
        patch.setattr(library, "load_from_disk", None)
        assert holds_texts(tmp_path / "one")
    data = open_data(tmp_path / "one", progress=False)
    assert all_of(data) == [("fine", "good"), ("awful", "bad")]
    assert data.label_names == ("good", "bad")
    both = {"a": ["1", "2"], "b": ["fine", "awful"], "n": [1, 2], "label": ["x", "y"]}
    library.Dataset.from_dict(both).save_to_disk(tmp_path / "both")
    with pytest.raises(InputError, match="which column holds the text"):
        open_data(tmp_path / "both", progress=False)
    data = open_data(tmp_path / "both", fields=Fields(text="b"), progress=False)
    assert all_of(data) == [("fine", "x"), ("awful", "y")]
    data = open_data(tmp_path / "one", progress=False, labelled=False)
    assert (data.n_classes, data.texts_at([1])) == (2, ["awful"])
    library.DatasetDict({"train": library.Dataset.from_dict({"text": ["a"]})}).save_to_disk(tmp_path / "splits")
    assert holds_texts(tmp_path / "splits:train")
    assert holds_texts(tmp_path / "splits")
    with pytest.raises(InputError, match="no split 'dev'"):
        holds_texts(tmp_path / "splits:dev")
    with pytest.raises(InputError, match=r"the column 'n' is .*; expected a column of strings"):
        open_data(tmp_path / "both", fields=Fields(text="n"), progress=False)


# ---------------------------------------------------------------------- stores and sets


@pytest.mark.parametrize("tokens", [False, True])
def test_a_store_keeps_how_new_texts_are_prepared(tmp_path: Path, tokenizer: str, tokens: bool) -> None:
    prepare = TextPreprocessing(8, tokenizer if tokens else None)
    texts = ["blue shoes", "red boots", "shoes"]
    data = ImageSet.from_texts(texts, ["b", "a", "b"], prepare)
    data.store.save(tmp_path / "store")
    again = ImageStore.open(tmp_path / "store").all()
    assert again.preprocessing == prepare
    assert again.texts_at([2, 0]) == (["shoes", "blue shoes"] if tokens else ["shoes", "blue sho"])
    assert np.array_equal(again.images_at([0]), prepare.cells(texts[:1]))
    assert (tmp_path / "store" / "tokenizer.json").exists() == tokens
    if tokens:
        (tmp_path / "store" / "tokenizer.json").write_text(tokenizer.replace("boots", "boats"), "utf-8")
        with pytest.raises(InputError, match=r"manifest\.json: tokenizer\.json: checksum mismatch"):
            ImageStore.open(tmp_path / "store")
        (tmp_path / "store" / "tokenizer.json").unlink()
        with pytest.raises(InputError, match=r"tokenizer\.json: missing"):
            ImageStore.open(tmp_path / "store")


def test_texts_are_brought_to_another_length_as_far_as_they_are_known(tokenizer: str) -> None:
    data = ImageSet.from_texts(["blue shoes", "red"], ["a", "b"], TextPreprocessing(10))
    assert refit(data, TextPreprocessing(6)).texts_at([0, 1]) == ["blue s", "red"]
    with pytest.raises(InputError, match="cannot be brought to"):  # the first fills its cell: it may have been longer
        refit(data, TextPreprocessing(12))
    longer = refit(data.select([1]), TextPreprocessing(12))
    assert (longer.image_shape, longer.texts_at([0])) == ((1, 12, 1), ["red"])
    tokens = refit(data.select([1]), TextPreprocessing(4, tokenizer))
    assert np.array_equal(tokens.images_at([0]), TextPreprocessing(4, tokenizer).cells(["red"]))
    with pytest.raises(InputError, match="make the store anew from the texts"):
        refit(tokens, TextPreprocessing(4))
    with pytest.raises(InputError, match="holds texts"):
        refit(data, PHOTOS)


@pytest.mark.parametrize("length", [3, 8])
@pytest.mark.parametrize("letter", ["é", "本", "🙂"])
def test_a_text_cut_before_a_long_letter_is_known_to_be_cut(length: int, letter: str) -> None:
    """The cell ends in zeros then, as that of a whole text does."""
    for kept in range(max(1, length + 1 - len(letter.encode())), length):
        text = "x" * kept + letter
        data = ImageSet.from_texts([text, "red"], ["a", "b"], TextPreprocessing(length))
        assert data.texts_at([0]) == ["x" * kept]
        with pytest.raises(InputError, match="cannot be brought to"):
            refit(data, TextPreprocessing(32))
    whole = ImageSet.from_texts(["Ölb", "r"], ["a", "b"], TextPreprocessing(8))
    assert refit(whole, TextPreprocessing(32)).texts_at([0, 1]) == ["Ölb", "r"]


def test_sets_of_texts_are_sets() -> None:
    data = ImageSet.from_texts([f"text {i}" for i in range(20)], [f"class {i % 4}" for i in range(20)])
    (cells, labels), *_ = batches(data, 8, shuffle=False)
    assert data.preprocessing == TextPreprocessing()
    assert data.preprocessing.texts(cells.numpy()) == data.texts_at(range(8))
    assert labels.tolist() == data.labels[:8].tolist()
    views = unseen_views(data, HideText(0.5), seed=0)
    changed, plain = views.images_at(range(20)), data.images_at(range(20))
    assert set(changed[changed != plain].tolist()) == {0xFF}
    assert (changed[plain == 0] == 0).all()
    with pytest.raises(InputError, match="2 texts, but 1 labels"):
        ImageSet.from_texts(["a", "b"], ["x"])
    pictures = ImageSet.from_arrays(np.zeros((2, 8, 8), np.uint8), np.arange(2))
    with pytest.raises(InputError, match="the data are pictures"):
        pictures.texts_at([0])


@pytest.mark.parametrize("tokens", [False, True])
def test_hiding_takes_whole_bytes_or_tokens_and_never_padding(tokenizer: str, tokens: bool) -> None:
    prepare = TextPreprocessing(8, tokenizer if tokens else None)
    cells = to_tensor(prepare.cells(["blue red", "shoes"] * 500))
    once, again = (HideText(0.2)(cells, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(once, again)
    before, after = text_ids(cells), text_ids(once)
    changed = before != after
    assert (after[changed] == (0xFFFFFF if tokens else 0xFF)).all()
    assert (after[before == 0] == 0).all()
    assert 0.17 < changed.sum() / (before > 0).sum() < 0.23
    assert HideText(0)(cells, torch.Generator()).equal(cells)
    with pytest.raises(InputError, match="augment rate"):
        HideText(1.0)
