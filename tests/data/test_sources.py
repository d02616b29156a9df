"""Lists of images, WebDataset shards and saved data sets become stores; what is wrong with them is named."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rootspace.data import Fields, ImageSet, Preprocessing, has_columns, needs_decoding, open_data
from rootspace.errors import InputError

SMALL = Preprocessing(8, 1, "stretch")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _picture(shade: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("L", (12, 12), shade).save(stream, kind)
    return stream.getvalue()


def _shades(data: ImageSet) -> list[int]:
    return data.images_at(range(len(data)))[:, 0, 0, 0].tolist()


# ---------------------------------------------------------------------- tables


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(_picture(10 * number))
    return tmp_path / "list.csv"


def _csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_a_csv_lists_images(listed: Path) -> None:
    _csv(
        listed, "note,path,label,source", 'x,pictures/3.png,"Ёлка, зелёная",night', ",pictures/0.png,猫,day", "",
        ",pictures/1.png,猫,night",
    )  # fmt: skip
    data = open_data(listed, SMALL)
    assert data.label_names == ("Ёлка, зелёная", "猫")
    assert data.labels.tolist() == [0, 1, 1]
    assert _shades(data) == [30, 0, 10]
    assert [data.source_names[number] for number in data.sources] == ["night", "day", "night"]


def test_whole_numbers_are_sorted_as_numbers(listed: Path) -> None:
    _csv(listed, "path,label", *(f"pictures/{i}.png,{label}" for i, label in enumerate((10, 9, 100, 9))))
    data = open_data(listed, SMALL)
    assert data.label_names == ("9", "10", "100")
    assert data.source_names == ("list",)


def test_labels_are_texts_so_that_zeros_count(listed: Path) -> None:
    _csv(listed, "path,label", *(f"pictures/{i}.png,{label}" for i, label in enumerate(("0012", "12", "0007", "7"))))
    data = open_data(listed, SMALL)
    assert data.label_names == ("0007", "7", "0012", "12")
    assert data.labels.tolist() == [2, 3, 0, 1]


def test_semicolons_of_a_spreadsheet_part_values(listed: Path) -> None:
    listed.write_text('\ufeffpath;label\npictures/0.png;"a;b"\npictures/1.png;c,d\n', "utf-8")
    assert open_data(listed, SMALL).label_names == ("a;b", "c,d")


def test_columns_may_be_named_and_a_spreadsheet_mark_is_no_part_of_the_first(listed: Path) -> None:
    listed.write_text("\ufeffbild,art\npictures/0.png,a\npictures/1.png,b\n", "utf-8")
    data = open_data(listed, SMALL, fields=Fields(image="bild", label="art"))
    assert data.label_names == ("a", "b")


def test_a_parquet_file_lists_images(listed: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"path": ["pictures/2.png", "pictures/1.png"], "label": [7, 3], "weight": [0.5, 1.0]})
    parquet.write_table(table, listed.with_suffix(".parquet"))
    data = open_data(listed.with_suffix(".parquet"), SMALL)
    assert (data.label_names, _shades(data)) == (("3", "7"), [20, 10])
    listed.with_suffix(".parquet").write_bytes(b"PAR1 rubbish PAR1")
    with pytest.raises(InputError, match=r"list\.parquet: not a readable Parquet file"):
        open_data(listed.with_suffix(".parquet"), SMALL)


@pytest.mark.parametrize("missing", [None, float("nan"), b"a", ["a"]])
def test_a_label_that_is_none_is_named_with_its_row_and_column(listed: Path, missing: Any) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = [missing, missing] if isinstance(missing, (bytes, list)) else [7.0, missing]
    table = arrow.table({"path": ["pictures/2.png", "pictures/1.png"], "kind": kind})
    parquet.write_table(table, listed.with_suffix(".parquet"))
    with pytest.raises(InputError, match=r"row [12] has no label \('kind' is .*expected a text or a whole number\)"):
        open_data(listed.with_suffix(".parquet"), SMALL, skip_bad=True, fields=Fields(label="kind"))


def test_categories_and_whole_numbers_among_floats_are_labels(listed: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = listed.with_suffix(".parquet")
    columns = {"path": ["pictures/2.png", "pictures/1.png"], "label": arrow.array(["猫", "é"]).dictionary_encode()}
    parquet.write_table(arrow.table({**columns, "number": [10.0, 9.0]}), path)
    assert open_data(path, SMALL).label_names == ("é", "猫")
    assert open_data(path, SMALL, fields=Fields(label="number")).label_names == ("9", "10")


def _hub_file(library: Any, path: Path, image: str = "image", **more: list[Any]) -> Path:
    kinds = {image: library.Image(), "label": library.ClassLabel(names=["б", "а", "в"])}
    kinds |= {name: library.Value("string") for name in more}
    rows = {image: [{"bytes": _picture(number), "path": f"{number}.png"} for number in range(5)]}
    data = library.Dataset.from_dict({**rows, "label": [1, 0, 1, 0, 0], **more}, features=library.Features(kinds))
    data.to_parquet(path, batch_size=2)
    return path


def test_a_parquet_file_of_the_hub_holds_its_pictures(library: Any, tmp_path: Path) -> None:
    path = _hub_file(library, tmp_path / "train-00000-of-00001.parquet", title=list("abcde"))
    data = open_data(path, SMALL)
    assert (tuple(data.label_names), data.labels.tolist(), _shades(data)) == (
        ("б", "а", "в"),
        [1, 0, 1, 0, 0],
        [*range(5)],
    )
    assert _shades(open_data(path, SMALL, labelled=False)) == [*range(5)]
    # by any name, and not where a text is asked for
    path = _hub_file(library, tmp_path / "img.parquet", "img", file=["x.png"] * 5)
    assert _shades(open_data(path, SMALL)) == [*range(5)]
    path = _hub_file(library, tmp_path / "titled.parquet", title=list("abcde"))
    assert open_data(path, fields=Fields(text="title")).texts_at([1]) == ["b"]


@pytest.mark.parametrize("kind", ["binary", "large_binary", "struct"])
def test_parquet_may_hold_bytes(tmp_path: Path, kind: str) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values: list[Any] = [_picture(number) for number in range(5)]
    values[3] = None
    (tmp_path / "4.png").write_bytes(_picture(44))
    if kind == "struct":
        values = [None if value is None else {"bytes": value, "path": None} for value in values]
        values[4] = {"bytes": None, "path": "4.png"}
        column = arrow.array(values)
    else:
        column = arrow.array(values, getattr(arrow, kind)())
    table = arrow.table({"image": column, "label": list("abcab")})
    parquet.write_table(table, tmp_path / "held.parquet", row_group_size=2)
    with pytest.raises(InputError, match=r"held\.parquet: row 4: holds no image.*--skip-bad"):
        open_data(tmp_path / "held.parquet", SMALL)
    data = open_data(tmp_path / "held.parquet", SMALL, skip_bad=True)
    assert (tuple(data.label_names), data.labels.tolist()) == (("a", "b", "c"), [0, 1, 2, 1])
    assert _shades(data) == [0, 1, 2, 44 if kind == "struct" else 4]
    asked = table.rename_columns(["left", "label"])
    parquet.write_table(asked, tmp_path / "left.parquet")
    assert _shades(open_data(tmp_path / "left.parquet", SMALL, True, fields=Fields(image="left"))) == _shades(data)


def test_a_hub_file_that_was_stopped_goes_on(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rootspace.data import build

    path = _hub_file(library, tmp_path / "a.parquet")
    monkeypatch.setattr(build, "_CHUNK", 2)
    original = build._decoded

    def stopping(samples: Any, preprocessing: Any, place: tuple[int, int]) -> Any:
        for number, chunk in enumerate(original(samples, preprocessing, place)):
            if number == 2:
                raise KeyboardInterrupt
            yield chunk

    with monkeypatch.context() as patch:
        patch.setattr(build, "_decoded", stopping)
        with pytest.raises(KeyboardInterrupt):
            open_data(path, SMALL)
    assert _shades(open_data(path, SMALL)) == [*range(5)]


def test_messages_show_no_bytes(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"path": [[_picture(0)], [_picture(1)]], "text": [_picture(0)] * 2, "label": [{"b": _picture(0)}] * 2}
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    for fields in (
        Fields(),
        Fields(image="path", label="path"),
        Fields(text="text", label="text"),
        Fields(text="text"),
    ):
        with pytest.raises(InputError) as caught:
            open_data(tmp_path / "t.parquet", fields=fields)
        assert "PNG" not in str(caught.value)
    parquet.write_table(arrow.table({"text": [_picture(0)] * 2, "label": ["a", "b"]}), tmp_path / "u.parquet")
    with pytest.raises(InputError, match=r"row 1: expected a text \(a string\), got \d+ bytes"):
        open_data(tmp_path / "u.parquet")


def test_a_name_on_the_hub_says_how_to_bring_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"load_dataset\('ylecun/mnist'\)\.save_to_disk\('mnist'\).*Parquet"):
        open_data("ylecun/mnist")
    (tmp_path / "here").mkdir()
    for other in (tmp_path / "mnist", "here/mnist", "lists/of.csv", "mnist"):
        with pytest.raises(InputError) as caught:
            open_data(other)
        assert "load_dataset" not in str(caught.value)


def test_a_list_without_labels(listed: Path) -> None:
    _csv(listed, "path,source", "pictures/3.png,night", "pictures/0.png,day")
    with pytest.raises(InputError, match=r"which column holds the label.*--classes-from samples"):
        open_data(listed, SMALL)
    data = open_data(listed, SMALL, labelled=False)
    assert (data.labels.tolist(), _shades(data), data.source_names) == ([0, 1], [30, 0], ("night", "day"))
    with pytest.raises(InputError, match="'label' mean nothing where every sample is its own class; leave them out"):
        open_data(listed, SMALL, labelled=False, fields=Fields(label="label"))
    # with labels it is another store than without
    _csv(listed, "path,label", "pictures/3.png,a", "pictures/0.png,a")
    assert open_data(listed, SMALL, labelled=False).n_classes == 2
    assert open_data(listed, SMALL).label_names == ("a",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,kind", "pictures/0.png,a"], "which column holds the label.*'label' or 'class'.*it has 'file', 'kind'"),
        (["label", "a"], "which column holds the image's path.*it has 'label'"),
        ([""], "it has no columns"),
        (["path,label"], "lists no image"),
        (["path,label", "pictures/0.png,a", "pictures/1.png"], "line 3 has 1 values, the head names 2"),
        (["path,label", "pictures/0.png,a", "pictures/1.png,"], "row 2 has no label"),
        (["path,label", ",a"], "row 1 has no path"),
        (
            ["path,label", "pictures/0.png,a", "pictures/1.png,b", "pictures/0.png,c"],
            "'pictures/0.png' stands twice, in rows 1 and 3, with the labels 'a' and 'c'",
        ),
        (["path,label,label", "pictures/0.png,a,b"], "names the column 'label' 2 times; rename all but one"),
        (["path,path,label", "pictures/0.png,a,b"], "names the column 'path' 2 times"),
        (["Path,Label", "pictures/0.png,a"], "did you mean 'Path'\\? name it with --image-column"),
        (["Title,Label", "x,a"], "did you mean 'Title'\\? name it with --image-column or --text-column"),
        (["path, label", "pictures/0.png,a"], "did you mean ' label'\\? name it with --label-column"),
        (["file,labels", "pictures/0.png,a"], "did you mean 'labels'\\? name it with --label-column .*data build"),
        (["path,label", "pictures/0.png,a", "a" * 300 + ".png,b"], r"cannot be read \(.*long\).*--skip-bad"),
        (["path,label", "pictures/0.png,a", "pictures/0.png,a"], "stands twice, in rows 1 and 2; keep one"),
        (["path,label", "pictures/0.png,a", "pictures/9.png,b"], r"9\.png: no such file; .*--skip-bad"),
    ],
)
def test_wrong_tables_are_refused(listed: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_data(_csv(listed, *lines), SMALL)
    assert "\n" not in str(caught.value)


def test_a_table_of_other_bytes_is_refused(listed: Path) -> None:
    listed.write_bytes(b"path,label\ncaf\xe9.png,a\n")
    with pytest.raises(InputError, match=r"list\.csv: cannot be read as a table"):
        open_data(listed, SMALL)


def test_listed_files_that_are_missing_are_skipped_on_request_and_noticed_when_they_come(listed: Path) -> None:
    _csv(listed, "path,label", *(f"pictures/{number}.png,{number % 2}" for number in range(6)))
    data = open_data(listed, SMALL, skip_bad=True)
    assert (len(data), data.store.about["skipped"]) == (4, ["pictures/4.png", "pictures/5.png"])
    (listed.parent / "pictures" / "4.png").write_bytes(_picture(77))
    assert _shades(open_data(listed, SMALL, skip_bad=True)) == [0, 10, 20, 30, 77]


def test_a_column_asked_for_that_is_nearly_there(listed: Path) -> None:
    _csv(listed, "path,Species", "pictures/0.png,a")
    with pytest.raises(InputError, match=r"no column 'species' for the label; did you mean 'Species'\?"):
        open_data(listed, SMALL, fields=Fields(label="species"))


def test_columns_that_nobody_reads_may_repeat(listed: Path) -> None:
    _csv(listed, "path,label,note,note,,", "pictures/0.png,a,,,,", "pictures/1.png,b,,,,")
    assert open_data(listed, SMALL).label_names == ("a", "b")


def test_a_path_that_is_too_long_is_skipped_on_request(listed: Path) -> None:
    _csv(listed, "path,label", "pictures/0.png,a", "a" * 300 + ".png,b", "pictures/1.png,b")
    data = open_data(listed, SMALL, skip_bad=True)
    assert (_shades(data), data.store.about["skipped"]) == ([0, 10], ["a" * 300 + ".png"])


# ---------------------------------------------------------------------- shards


def _shard(path: Path, samples: dict[str, dict[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for key, parts in samples.items():
            for ending, data in parts.items():
                entry = tarfile.TarInfo(f"{key}.{ending}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    pytest.importorskip("webdataset")
    (tmp_path / "shards").mkdir()
    for shard in range(3):
        samples = {
            f"s{shard}-{n}": {"png": _picture(10 * shard + n), "cls": str([10, 9][n % 2]).encode()} for n in range(4)
        }
        _shard(tmp_path / "shards" / f"train-{shard:03}.tar", samples)
    return tmp_path / "shards"


@pytest.mark.parametrize("name", ["", "train-{000..002}.tar", "train-*.tar"])
def test_shards_are_read_in_their_order(shards: Path, name: str) -> None:
    data = open_data(shards / name, SMALL)
    assert data.label_names == ("9", "10")
    assert data.labels.tolist() == [1, 0] * 6
    assert _shades(data) == [10 * shard + n for shard in range(3) for n in range(4)]
    assert data.source_names == ("shards",)


def test_one_shard_and_a_compressed_one(shards: Path) -> None:
    assert len(open_data(shards / "train-001.tar", SMALL)) == 4
    _shard(shards / "more.tar.gz", {"a": {"jpg": _picture(200, "JPEG"), "txt": " ёж \n".encode()}})
    data = open_data(shards / "more.tar.gz", SMALL)
    assert (data.label_names, _shades(data)) == (("ёж",), [200])


def test_an_archive_beside_class_folders_is_no_shard(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ash", "birch"):
        (shards / name / "deep").mkdir(parents=True)
        (shards / name / "notes.txt").write_text("none")
    assert len(open_data(shards, SMALL)) == 12  # as long as there are no images in the folders
    for number, name in enumerate(("ash", "birch")):
        (shards / name / "deep" / "a.png").write_bytes(_picture(100 + number))
    capsys.readouterr()
    data = open_data(shards, SMALL)
    assert (data.label_names, _shades(data)) == (("ash", "birch"), [100, 101])
    assert "left out 3 archives, such as train-000.tar: beside folders of images" in capsys.readouterr().err
    assert not has_columns(shards)
    assert len(open_data(shards / "train-*.tar", SMALL)) == 12


def test_shards_keep_the_zeros_of_labels(shards: Path) -> None:
    names = ("0012", "12", "n02", "7")
    _shard(shards / "z.tar", {f"s{i}": {"png": _picture(i), "cls": name.encode()} for i, name in enumerate(names)})
    data = open_data(shards / "z.tar", SMALL)
    assert [data.label_names[label] for label in data.labels] == list(names)


def test_shards_without_labels(shards: Path) -> None:
    _shard(shards / "u.tar", {f"s{i}": {"jpg": _picture(i, "JPEG")} for i in range(3)})
    with pytest.raises(InputError, match="no label; it has jpg; with --classes-from samples"):
        open_data(shards / "u.tar", SMALL)
    assert open_data(shards / "u.tar", SMALL, labelled=False).labels.tolist() == [0, 1, 2]
    assert open_data(shards, SMALL, labelled=False).n_classes == 15


@pytest.mark.parametrize("label", [None, "json", "json:label"])
def test_labels_in_json(shards: Path, label: str | None) -> None:
    parts = {"webp": _picture(5, "WEBP"), "json": json.dumps({"label": "cat", "width": 12}).encode()}
    _shard(shards / "j.tar", {"a": parts})
    assert open_data(shards / "j.tar", SMALL, fields=Fields(label=label)).label_names == ("cat",)


def test_keys_may_be_named(shards: Path) -> None:
    meta = json.dumps({"species": 12, "camera": "north"}).encode()
    parts = {"jpg": b"a thumbnail", "left.png": _picture(5), "cls": b"0", "meta.json": meta}
    _shard(shards / "k.tar", {"a": parts})
    fields = Fields("left.png", "meta.json:species", "meta.json:camera")
    data = open_data(shards / "k.tar", SMALL, fields=fields)
    assert (data.label_names, data.source_names, _shades(data)) == (("12",), ("north",), [5])


@pytest.mark.parametrize(
    ("parts", "fields", "message"),
    [
        ({"txt": b"a"}, Fields(), "bad.tar: b: no image; it has txt"),
        ({"png": _picture(0)}, Fields(), "bad.tar: b: no label; it has png"),
        ({"png": _picture(0), "cls": b""}, Fields(), "no label"),
        ({"png": _picture(0), "cls": b"1"}, Fields(label="txt"), "no label under 'txt'; it has png, cls"),
        ({"png": _picture(0), "json": b"{}"}, Fields(label="json:a"), "no label under 'json:a'"),
        ({"png": _picture(0), "json": b"{"}, Fields(), "no label"),
        ({"png": _picture(0), "cls": b"1"}, Fields(source="cam"), "no source under 'cam'"),
        ({"png": _picture(0)[:40], "cls": b"1"}, Fields(), "bad.tar: b.png: not a readable image"),
    ],
)
def test_wrong_samples_are_named_or_skipped(
    shards: Path, parts: dict[str, bytes], fields: Fields, message: str
) -> None:
    good = {"png": _picture(1), "cls": b"1", "txt": b"1", "json": b'{"a": 1}', "cam": b"x"}
    good = {key: good[key] for key in ("png", "cls", "txt", "json", "cam")}
    _shard(shards / "bad.tar", {"a": good, "b": parts, "c": good})
    with pytest.raises(InputError, match=f"{message}.*--skip-bad") as caught:
        open_data(shards / "bad.tar", SMALL, fields=fields)
    assert "\n" not in str(caught.value)
    data = open_data(shards / "bad.tar", SMALL, skip_bad=True, fields=fields)
    assert len(data) == 2
    assert len(data.store.about["skipped"]) == 1


@pytest.mark.parametrize("cut", [-10240, 2500, 2048, 700, 100])
def test_a_shard_that_is_cut_off_is_named_or_read_so_far(shards: Path, cut: int) -> None:
    file = shards / "train-001.tar"
    whole = file.read_bytes()
    with tarfile.open(file) as archive:
        ends = [entry.offset_data + -(-entry.size // 512) * 512 for entry in archive]
    # at a negative place: exactly behind the last member, where a tar file reads like a whole one
    file.write_bytes(whole[: cut if cut > 0 else ends[-1]])
    with pytest.raises(InputError, match=r"train-001\.tar: .*cut off.*--skip-bad"):
        open_data(shards, SMALL)
    data = open_data(shards, SMALL, skip_bad=True)
    assert 8 <= len(data) <= 12
    assert str(file) in data.store.about["skipped"]


def test_shards_that_are_not_there(shards: Path) -> None:
    with pytest.raises(InputError, match=r"train-003\.tar: no such shard"):
        open_data(shards / "train-{000..003}.tar", SMALL)
    with pytest.raises(InputError, match="there is no such shard"):
        open_data(shards / "other-*.tar", SMALL)


def test_a_shard_that_may_not_be_read_is_named(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rootspace.data import shards as module

    def refusing(path: Path, mode: str) -> Any:
        if path.name == "train-001.tar":
            raise PermissionError(13, "Permission denied")
        return open(path, mode)

    monkeypatch.setattr(module, "open", refusing, raising=False)
    with pytest.raises(InputError, match=r"train-001\.tar: cannot be read \(Permission denied\).*--skip-bad"):
        open_data(shards, SMALL)
    assert len(open_data(shards, SMALL, skip_bad=True)) == 8


def test_a_changed_shard_is_read_anew(shards: Path) -> None:
    assert len(open_data(shards, SMALL)) == 12
    _shard(shards / "train-000.tar", {"a": {"png": _picture(9), "cls": b"3"}})
    assert open_data(shards, SMALL).label_names == ("3", "9", "10")


# ---------------------------------------------------------------------- saved data sets


def _rows(n: int, **more: list[Any]) -> dict[str, list[Any]]:
    return {"picture": [{"bytes": _picture(number), "path": None} for number in range(n)], **more}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets")


def test_a_saved_dataset_keeps_its_class_names(library: Any, tmp_path: Path) -> None:
    features = library.Features(
        {"id": library.Value("int64"), "picture": library.Image(), "kind": library.ClassLabel(names=["б", "а", "в"])}
    )
    rows = library.Dataset.from_dict(_rows(3, kind=[1, 0, 1], id=[7, 8, 9]), features=features)
    rows.save_to_disk(tmp_path / "saved")
    data = open_data(tmp_path / "saved", SMALL)
    assert data.label_names == ("б", "а", "в")
    assert (data.labels.tolist(), _shades(data), data.source_names) == ([1, 0, 1], [0, 1, 2], ("saved",))
    assert open_data(tmp_path / "saved", SMALL, fields=Fields(label="id")).label_names == ("7", "8", "9")
    with pytest.raises(InputError, match="has no column 'species' for the label; it has 'picture', 'kind', 'id'"):
        open_data(tmp_path / "saved", SMALL, fields=Fields(label="species"))
    with pytest.raises(InputError, match=r"'id' is .*expected datasets\.Image"):
        open_data(tmp_path / "saved", SMALL, fields=Fields(image="id"))
    with pytest.raises(InputError, match="has no splits; leave out ':train'"):
        open_data(tmp_path / "saved:train", SMALL)


def test_splits_are_named_after_a_colon(library: Any, tmp_path: Path) -> None:
    features = library.Features({"picture": library.Image(), "label": library.Value("string")})
    splits = {
        name: library.Dataset.from_dict(_rows(n, label=[f"c{number}" for number in range(n)]), features=features)
        for name, n in (("train", 4), ("test", 2))
    }
    library.DatasetDict(splits).save_to_disk(tmp_path / "both")
    assert len(open_data(tmp_path / "both:train", SMALL)) == 4
    assert open_data(tmp_path / "both:test", SMALL).label_names == ("c0", "c1")
    with pytest.raises(InputError, match="several splits; name one of both:train, both:test"):
        open_data(tmp_path / "both", SMALL)
    with pytest.raises(InputError, match="no split 'dev'"):
        open_data(tmp_path / "both:dev", SMALL)


def test_a_saved_dataset_without_labels(library: Any, tmp_path: Path) -> None:
    features = library.Features({"picture": library.Image(), "site": library.Value("string")})
    rows = library.Dataset.from_dict(_rows(3, site=["a", "b", "b"]), features=features)
    rows.save_to_disk(tmp_path / "saved")
    with pytest.raises(InputError, match="which column holds the label"):
        open_data(tmp_path / "saved", SMALL)
    data = open_data(tmp_path / "saved", SMALL, labelled=False, fields=Fields(source="site"))
    assert (data.labels.tolist(), _shades(data), data.source_names) == ([0, 1, 2], [0, 1, 2], ("a", "b"))


def test_rows_that_lack_something(library: Any, tmp_path: Path) -> None:
    features = library.Features({"picture": library.Image(), "label": library.ClassLabel(names=["a", "b"])})
    rows = _rows(3, label=[0, 1, 0])
    rows["picture"][1] = None
    library.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "gap")
    with pytest.raises(InputError, match=r"row 1: holds no image.*--skip-bad"):
        open_data(tmp_path / "gap", SMALL)
    assert len(open_data(tmp_path / "gap", SMALL, skip_bad=True)) == 2
    library.Dataset.from_dict(_rows(2, label=[0, -1]), features=features).save_to_disk(tmp_path / "hidden")
    with pytest.raises(InputError, match=r"row 1 has no label \('label' is -1\)"):
        open_data(tmp_path / "hidden", SMALL)
    for file in (tmp_path / "gap").glob("*.arrow"):
        os.truncate(file, 100)
    with pytest.raises(InputError, match="gap: not a readable data set"):
        open_data(tmp_path / "gap", SMALL)


# ---------------------------------------------------------------------- what needs no decoding


def test_what_needs_decoding(shards: Path, tmp_path: Path) -> None:
    open_data(shards, SMALL).store.save(tmp_path / "store")
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.arange(2))
    assert [needs_decoding(path) for path in (shards, tmp_path / "store", tmp_path / "a.npz")] == [True, False, False]


def test_a_folder_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no columns or keys"):
        open_data(tmp_path / "folder", fields=Fields(label="x"))


def test_a_missing_library_names_the_extra(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rootspace.data import shards as module
    from rootspace.errors import require

    monkeypatch.setattr(module, "require", lambda name, extra: require("no_such_module", extra=extra))
    with pytest.raises(InputError, match=r"pip install 'rootspace\[data\]'"):
        open_data(shards, SMALL)
