"""Image folders, NumPy files, and the one entrance for both."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rootspace.data import ImageSet, Preprocessing, build, image_folder, open_data, refit, with_label_names
from rootspace.errors import InputError

SMALL = Preprocessing(8, 1, "stretch")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for shade, name in enumerate(["猫", "chien", "Öl/deep/er"]):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("L", (20, 10), 60 * shade + number).save(folder / f"{number}.PNG")
    (tmp_path / "pictures" / "notes").mkdir()
    (tmp_path / "pictures" / "notes" / "readme.txt").write_text("not an image")
    (tmp_path / "pictures" / ".hidden").mkdir()
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_folder_becomes_a_data_set(root: Path) -> None:
    data = open_data(root, SMALL)
    assert data.label_names == ("chien", "Öl", "猫")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.images_at(range(9))[:, 0, 0, 0].tolist() == [60, 61, 62, 120, 121, 122, 0, 1, 2]
    assert data.image_shape == (8, 8, 1)


def test_second_start_decodes_nothing_until_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    original = build.decode

    def counting(file: Path, smallest: int | None = None, name: str = "") -> Image.Image:
        decoded.append(file)
        return original(file, smallest, name)

    monkeypatch.setattr(build, "decode", counting)
    image_folder(root, SMALL)
    assert len(decoded) == 9
    image_folder(root, SMALL)
    assert len(decoded) == 9
    Image.new("L", (20, 10), 200).save(root / "猫" / "0.PNG")
    os.utime(root / "猫" / "0.PNG", ns=(1, 1))
    assert image_folder(root, SMALL).images_at([6])[0, 0, 0, 0] == 200
    assert len(decoded) == 18
    (root / "猫" / "1.PNG").unlink()
    assert len(image_folder(root, SMALL)) == 8


def test_damaged_cache_is_made_anew(root: Path, cache: Path) -> None:
    image_folder(root, SMALL)
    (store,) = (cache / "folders").iterdir()
    (store / "images.npy").write_bytes(b"rubbish")
    assert len(image_folder(root, SMALL)) == 9


def test_unreadable_image_is_named_or_skipped_and_counted(root: Path) -> None:
    (root / "chien" / "bad.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    (root / "猫" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(InputError, match=r"bad\.jpg: not a readable image .*--skip-bad"):
        image_folder(root, SMALL)
    data = image_folder(root, SMALL, skip_bad=True)
    assert len(data) == 9
    assert data.store.about["skipped"] == [os.path.join("chien", "bad.jpg"), os.path.join("猫", "gone.png")]
    with pytest.raises(InputError, match=r"bad\.jpg"):  # what was skipped before is still an error without it
        image_folder(root, SMALL)


def test_class_whose_images_are_all_bad_is_left_out(root: Path) -> None:
    for number in range(3):
        (root / "猫" / f"{number}.PNG").write_bytes(b"")
    data = image_folder(root, SMALL, skip_bad=True)
    assert data.label_names == ("chien", "Öl")
    assert set(data.labels) == {0, 1}


def test_nothing_readable_is_an_error(root: Path) -> None:
    for file in root.rglob("*.PNG"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="none of its 9 images can be read"):
        image_folder(root, SMALL, skip_bad=True)


def test_folders_without_classes_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no images"):
        open_data(empty)
    Image.new("L", (4, 4)).save(empty / "loose.png")
    with pytest.raises(InputError, match="lie in no class folder"):
        open_data(empty)
    (empty / "one").mkdir()
    Image.new("L", (4, 4)).save(empty / "one" / "a.png")
    with pytest.raises(InputError, match="only one class"):
        open_data(empty)


def test_images_without_classes_lie_anywhere(root: Path, tmp_path: Path) -> None:
    data = open_data(root, SMALL, labelled=False)
    assert data.n_classes == len(data) == 9
    assert data.images_at(range(9))[:, 0, 0, 0].tolist() == [60, 61, 62, 120, 121, 122, 0, 1, 2]
    assert open_data(root, SMALL).label_names == ("chien", "Öl", "猫")
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(3):
        Image.new("L", (4, 4), number).save(flat / f"{number}.png")
    with pytest.raises(InputError, match=r"lie in no class folder.*--classes-from samples"):
        open_data(flat, SMALL)
    assert open_data(flat, SMALL, labelled=False).images_at(range(3))[:, 0, 0, 0].tolist() == [0, 1, 2]
    (flat / "one").mkdir()
    (flat / "one" / "a.png").write_bytes((flat / "2.png").read_bytes())
    (flat / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"only one class \('one'\).*--classes-from samples"):
        open_data(flat, SMALL)
    data = open_data(flat, SMALL, skip_bad=True, labelled=False)
    assert data.images_at(range(3))[:, 0, 0, 0].tolist() == [1, 2, 2]
    assert data.store.about["skipped"] == ["0.png"]
    with pytest.raises(InputError, match="holds no images"):
        open_data(root / "notes", SMALL, labelled=False)


def test_folders_without_images_are_announced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "bees").mkdir()
    for number in range(3):
        (root / "bees" / f"{number}.heic").write_bytes(b"")
    for _ in range(2):  # also when the cache is opened
        image_folder(root, SMALL)
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "pictures: left out 2 of 5 folders, such as 'bees' (3 files of other kinds: .heic): no image" in said
    image_folder(root, SMALL, progress=False)
    assert capsys.readouterr().err == ""
    for name in ("chien", "Öl"):
        for file in (root / name).rglob("*.PNG"):
            file.unlink()
    with pytest.raises(InputError, match=r"only one class \('猫'\).*left out 4 of 5 folders.*3 files.*\.heic"):
        image_folder(root, SMALL)


def test_an_empty_folder_is_announced_and_a_whole_one_is_not(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "notes" / "readme.txt").unlink()
    image_folder(root, SMALL)
    assert "left out 1 of 4 folders, 'notes' (empty)" in capsys.readouterr().err
    (root / "notes").rmdir()
    image_folder(root, SMALL)
    assert capsys.readouterr().err == ""


def test_one_process_of_several_speaks(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    image_folder(root, SMALL)
    assert capsys.readouterr().err == ""


def test_parts_of_a_data_set_are_no_classes(root: Path, tmp_path: Path) -> None:
    nested = tmp_path / "nested"
    shutil.copytree(root, nested / "train")
    shutil.copytree(root, nested / "Val")
    (nested / "test").mkdir()
    Image.new("L", (4, 4)).save(nested / "test" / "a.png")
    with pytest.raises(InputError) as caught:
        open_data(nested, SMALL)
    assert f"give {nested / 'train'}, and {nested / 'Val'} with --test" in str(caught.value)
    assert len(open_data(nested / "train", SMALL)) == 9
    assert len(open_data(nested, SMALL, labelled=False)) == 19
    # where pictures lie in them at once, the names are classes, and so they are beside others
    shutil.rmtree(nested / "train")
    shutil.rmtree(nested / "Val")
    shutil.copytree(nested / "test", nested / "train")
    assert open_data(nested, SMALL).label_names == ("test", "train")
    shutil.copytree(root, nested / "plane")
    shutil.copytree(root, nested / "train" / "more")
    assert open_data(nested, SMALL).label_names == ("plane", "test", "train")


NFC, NFD = "caf\u00e9", "cafe\u0301"


def _shades_of(folder: Path, names: tuple[str, ...]) -> Path:
    for shade, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        Image.new("L", (4, 4), shade).save(folder / name / "0.png")
    return folder


def test_names_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    apart = open_data(_shades_of(tmp_path / "mac", (NFD, "tea")), SMALL)
    composed = open_data(_shades_of(tmp_path / "linux", ("ant", NFC, "tea")), SMALL)
    assert tuple(apart.label_names) == (NFC, "tea")
    assert with_label_names(apart, composed.label_names).labels.tolist() == [1, 2]
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.array([NFD, "tea"]))
    assert open_data(tmp_path / "data.npz").label_names == (NFC, "tea")
    # what was made before names were composed on reading
    old = ImageSet.from_arrays(IMAGES, np.arange(2), [NFD, "tea"])
    assert with_label_names(old, composed.label_names).labels.tolist() == [1, 2]
    assert with_label_names(composed, [NFD, "tea", "ant"]).labels.tolist() == [2, 0, 1]
    both = ImageSet.from_arrays(IMAGES, np.arange(2), [NFC, NFD])
    with pytest.raises(InputError, match=r"'caf\\xe9' and 'cafe\\u0301' look the same and become one name"):
        with_label_names(both, [NFC, "tea"])


def test_two_names_that_become_one_are_refused(tmp_path: Path) -> None:
    message = r"'cafe?\\\w+' and 'cafe?\\\w+' look the same and become one name \('café', Unicode NFC\)"
    try:
        folder = _shades_of(tmp_path / "both", (NFC, NFD))
    except FileExistsError:  # a file system that composes names itself
        folder = None
    if folder is not None:
        with pytest.raises(InputError, match=message):
            open_data(folder, SMALL)
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.array([NFC, NFD]))
    with pytest.raises(InputError, match=message):
        open_data(tmp_path / "data.npz")
    table = tmp_path / "t.csv"
    table.write_text(f"title,label\na,{NFD}\nb,{NFD}\nc,x\n", "utf-8")
    assert open_data(table).label_names == (NFC, "x")
    table.write_text(f"title,label\na,{NFC}\nb,{NFD}\n", "utf-8")
    with pytest.raises(InputError, match=message):
        open_data(table, skip_bad=True)


def test_a_cache_that_was_read_by_other_rules_is_made_anew(root: Path, cache: Path) -> None:
    image_folder(root, SMALL)
    (store,) = (cache / "folders").iterdir()
    manifest = json.loads((store / "manifest.json").read_text("utf-8"))
    del manifest["about"]["reading"]
    (store / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert "reading" in image_folder(root, SMALL).store.about


def test_links_in_a_circle_end(root: Path) -> None:
    (root / "猫" / "again").symlink_to(root / "猫", target_is_directory=True)
    assert len(image_folder(root, SMALL)) == 9


def test_a_class_folder_that_may_not_be_listed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.scandir

    def refusing(path: str | Path) -> Any:
        if Path(path).name == "chien":
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"chien: cannot be listed \(Permission denied\)"):
        image_folder(root, SMALL)


def test_unwritable_cache_is_an_input_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="ROOTSPACE_CACHE"):
        image_folder(root, SMALL, cache=tmp_path / "file")


def test_file_name_that_is_no_utf8(root: Path) -> None:
    try:
        os.mkdir(os.fsencode(root) + b"/caf\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for number in range(2):
        Image.new("L", (4, 4)).save(os.fsdecode(os.fsencode(root) + b"/caf\xe9/%d.png" % number))
    assert "caf\ufffd" in image_folder(root, SMALL).label_names


def test_store_folder_and_other_preprocessing(root: Path, tmp_path: Path) -> None:
    image_folder(root, SMALL).store.save(tmp_path / "store")
    assert open_data(tmp_path / "store").preprocessing == SMALL
    assert open_data(tmp_path / "store", Preprocessing(16, 3, "stretch")).image_shape == (16, 16, 3)


@pytest.mark.parametrize("name", ["nowhere", "data.doc", "train-{0..3}.tar.lz"])
def test_other_kinds_are_refused_with_what_was_expected(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.doc").write_text("a,b")
    with pytest.raises(InputError, match=r"expected an image folder .* image store .* \.npz"):
        open_data(tmp_path / name)


IMAGES = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)


def test_npz_and_npy(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.array([3, 7]))
    data = open_data(tmp_path / "data.npz")
    assert (data.label_names, data.labels.tolist(), data.image_shape) == (("3", "7"), [0, 1], (8, 8, 1))
    np.savez(tmp_path / "named.npz", images=IMAGES, labels=np.array(["猫", "dog"]))
    assert open_data(tmp_path / "named.npz").label_names == ("dog", "猫")
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", np.array([1, 0]))
    assert np.array_equal(open_data(tmp_path).images_at([0, 1])[..., 0], IMAGES)
    assert open_data(tmp_path / "images.npy", Preprocessing(16, 3, "stretch")).image_shape == (16, 16, 3)


def test_wide_arrays_become_square(tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", images=np.zeros((2, 8, 12, 3), np.uint8), labels=np.array([0, 1]))
    assert open_data(tmp_path / "wide.npz").image_shape == (12, 12, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES}, r"lacks images and labels \(it has \['pictures'\]\)"),
        ({"images": IMAGES / 255.0, "labels": np.arange(2)}, "images are float64, expected uint8"),
        ({"images": np.zeros((2, 3, 8, 8), np.uint8), "labels": np.arange(2)}, "channels first"),
        ({"images": IMAGES[0], "labels": np.arange(2)}, r"images \(8, 8\)"),
        ({"images": IMAGES, "labels": np.arange(3)}, "2 images, but 3 labels"),
        ({"images": IMAGES, "labels": np.array([0.0, 1.0])}, "labels are float64"),
        ({"images": IMAGES, "labels": np.array([0, -1])}, "label -1 is negative"),
        (
            {"images": IMAGES, "labels": np.array([0, 5]), "label_names": np.array(["a", "b"])},
            "label 5 is out of range",
        ),
        ({"images": IMAGES, "labels": np.array([{}, {}], dtype=object)}, "not a readable .npz file"),
        ({"images": IMAGES[:0], "labels": np.zeros(0, int)}, "none of them 0"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message) as caught:
        open_data(tmp_path / "data.npz")
    assert str(tmp_path / "data.npz") in str(caught.value)


@pytest.mark.parametrize("name", ["data.npz", "images.npy"])
def test_a_text_that_is_called_an_array(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("path,label\na.png,0\n")
    np.save(tmp_path / "labels.npy", np.arange(2))
    with pytest.raises(InputError, match=r"\(it is no file of NumPy\)") as caught:
        open_data(tmp_path / name)
    assert "pickle" not in str(caught.value)
    np.savez(tmp_path / "objects.npz", images=IMAGES, labels=np.array([{}, {}], dtype=object))
    with pytest.raises(InputError, match=r"\(it holds Python objects, which are not read\)"):
        open_data(tmp_path / "objects.npz")


def test_damaged_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.arange(2))
    whole = (tmp_path / "data.npz").read_bytes()
    for damaged in (b"", b"rubbish", whole[:100], whole[: len(whole) // 2], whole[:200] + b"xxxx" + whole[204:]):
        (tmp_path / "data.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"data\.npz"):
            open_data(tmp_path / "data.npz")


def test_arrays_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES)
    np.save(tmp_path / "images.npy", IMAGES)
    for path in (tmp_path / "data.npz", tmp_path / "images.npy", tmp_path):
        with pytest.raises(InputError, match="label"):
            open_data(path)
        data = open_data(path, labelled=False)
        assert (data.labels.tolist(), data.n_classes) == ([0, 1], 2)
        assert open_data(path, Preprocessing(16, 3, "stretch"), labelled=False).image_shape == (16, 16, 3)


def test_a_store_without_labels_is_for_nothing_else(root: Path, tmp_path: Path) -> None:
    open_data(root, SMALL, labelled=False).store.save(tmp_path / "store")
    with pytest.raises(InputError, match=r"store: holds no labels, because it was built for --classes-from samples"):
        open_data(tmp_path / "store")
    larger = Preprocessing(16, 1, "stretch")
    for preprocessing in (None, larger):
        data = open_data(tmp_path / "store", preprocessing, labelled=False)
        assert (data.n_classes, data.store.labelled) == (9, False)
    refit(data, SMALL).store.save(tmp_path / "again")
    with pytest.raises(InputError, match="holds no labels"):
        open_data(tmp_path / "again")


def test_what_was_skipped_is_still_known_at_another_size(root: Path) -> None:
    (root / "chien" / "bad.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    data = refit(image_folder(root, SMALL, skip_bad=True), Preprocessing(16, 3, "stretch"))
    assert data.store.about["skipped"] == [os.path.join("chien", "bad.jpg")]


def test_labels_are_matched_by_name() -> None:
    data = ImageSet.from_arrays(np.zeros((3, 4, 4), np.uint8), np.array([0, 1, 2]), ["dog", "cat", "emu"])
    with pytest.raises(InputError, match="not known: emu"):
        with_label_names(data, ["cat", "dog"])
    known = with_label_names(data, ["cat", "dog"], unknown="drop")
    assert (known.labels.tolist(), known.n_classes) == ([1, 0], 2)
    with pytest.raises(InputError, match="none of the data's classes"):
        with_label_names(data, ["ant"], unknown="drop")
