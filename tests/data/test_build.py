"""Long builds: stopped in any way they go on where they were, and leave nothing half done."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rootspace.data import (
    ImageSet,
    ImageStore,
    Preprocessing,
    Sample,
    Samples,
    build,
    build_store,
    image_folder,
    open_data,
    unseen_views,
    writing,
)
from rootspace.data.cache import alone
from rootspace.errors import InputError

SMALL = Preprocessing(8, 1, "stretch")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_CHUNK", 4)
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label in range(6):
        (tmp_path / "pictures" / f"class {label}").mkdir(parents=True)
        for number in range(5):
            Image.new("L", (9, 9), 40 * label + number).save(tmp_path / "pictures" / f"class {label}" / f"{number}.png")
    return tmp_path / "pictures"


def _decoded_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    original = build.decode

    def noting(picture: Path, smallest: int | None, name: str) -> Image.Image:
        names.append(name)
        return original(picture, smallest, name)

    monkeypatch.setattr(build, "decode", noting)
    return names


def _content(store: ImageStore) -> tuple[list[int], list[int], list[str], list[str]]:
    shades = store.images[:][:, 0, 0, 0].tolist()
    return shades, store.labels.tolist(), list(store.label_names), list(store.source_names)


def test_a_build_goes_on_after_a_bad_picture(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "class 4" / "2.png").write_bytes(b"no image")
    names = _decoded_names(monkeypatch)
    with pytest.raises(InputError, match=r"2\.png: not a readable image"):
        image_folder(root, SMALL)
    (left,) = (cache / "folders").iterdir()
    assert left.name.endswith(".part")
    names.clear()
    data = image_folder(root, SMALL, skip_bad=True)
    assert len(names) == 10  # of 30: five chunks of four were done
    assert data.store.about["skipped"] == [os.path.join("class 4", "2.png")]
    shades, labels, label_names, _ = _content(data.store)
    expected = [(40 * label + number, label) for label in range(6) for number in range(5) if (label, number) != (4, 2)]
    assert list(zip(shades, labels, strict=True)) == expected
    assert label_names == [f"class {label}" for label in range(6)]
    assert [path.name[0] for path in (cache / "folders").iterdir()] != ["."]


def test_what_another_build_of_the_store_left_is_removed(root: Path, cache: Path) -> None:
    (root / "class 4" / "2.png").write_bytes(b"no image")
    with pytest.raises(InputError):
        image_folder(root, SMALL)
    (root / "class 4" / "2.png").unlink()
    assert len(image_folder(root, SMALL)) == 29
    assert [path.suffix for path in (cache / "folders").iterdir()] == [""]


def test_what_was_skipped_on_request_is_no_start_for_a_build_without(root: Path, tmp_path: Path) -> None:
    (root / "class 0" / "1.png").write_bytes(b"no image")

    def stopping(image: int) -> Samples:
        from rootspace.data.folders import folder_samples

        whole = folder_samples(root)

        def read(part: int) -> Iterator[Sample]:
            if part == image:
                raise KeyboardInterrupt
            return whole.read(part)

        return Samples(whole.where, whole.kind, whole.stamp, whole.parts, read)

    with pytest.raises(KeyboardInterrupt):
        build_store(stopping(5), tmp_path / "store", SMALL, skip_bad=True)
    with pytest.raises(InputError, match=r"1\.png"):
        build_store(stopping(9), tmp_path / "store", SMALL)


def test_damaged_remains_are_not_built_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _content(image_folder(root, SMALL).store)
    (root / "class 5" / "4.png").rename(tmp_path / "away.png")
    (root / "class 5" / "4.png").write_bytes(b"")
    with pytest.raises(InputError):
        image_folder(root, SMALL)
    (left,) = (path for path in (tmp_path / "cache" / "folders").iterdir() if path.suffix == ".part")
    pixels = bytearray((left / "images.npy").read_bytes())
    pixels[128 + 9 * 64] ^= 1  # in the third chunk: the first two are whole
    (left / "images.npy").write_bytes(pixels)
    with open(left / "journal.jsonl", "ab") as journal:
        journal.write(b'{"place": [0')
    names = _decoded_names(monkeypatch)
    data = image_folder(root, SMALL, skip_bad=True)
    assert len(names) == 22
    assert [part[:29] for part in _content(data.store)[:2]] == [part[:29] for part in expected[:2]]
    ImageStore.open(data.store.path or "")


SCRIPT = """
import sys, time
from pathlib import Path
from rootspace.data import Preprocessing, build, build_store, folders
build._CHUNK = 4
decode = build.decode
def slow(*arguments):
    time.sleep(float(sys.argv[3]))
    return decode(*arguments)
build.decode = slow
build_store(folders.folder_samples(Path(sys.argv[1])), Path(sys.argv[2]), Preprocessing(8, 1, "stretch"))
"""


def test_a_killed_build_goes_on_to_the_same_store(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = image_folder(root, SMALL).store
    out = tmp_path / "out" / "store"
    command = [sys.executable, "-c", SCRIPT, str(root), str(out), "0.15"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            journals = list(out.parent.glob(".store.*.part/journal.jsonl"))
            if journals and journals[0].read_bytes().count(b"\n") >= 2:
                break
            assert process.poll() is None, "the build ended before it was killed"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    done = 4 * journals[0].read_bytes().count(b"\n")
    assert done < 30
    names = _decoded_names(monkeypatch)
    build_store(build_samples(root), out, SMALL)
    assert len(names) == 30 - done
    assert _content(ImageStore.open(out)) == _content(whole)
    for name in ("images.npy", "labels.npy", "label_names.npy"):
        assert whole.path is not None
        assert (out / name).read_bytes() == (whole.path / name).read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["store"]


class Killed(BaseException):
    """The process ends: nothing that it would do afterwards happens."""


def _kill_at(patch: pytest.MonkeyPatch, moment: int) -> None:
    """Let the process be killed before its change number `moment` of the file system, but for the writing of files."""
    done = 0

    def changing(original: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **more: Any) -> Any:
            nonlocal done
            done += 1
            if done > moment:
                raise Killed
            return original(*arguments, **more)

        return change

    places = [(os, "replace"), (os, "rename"), (os, "rmdir"), (Path, "unlink"), (Path, "rmdir"), (shutil, "rmtree")]
    for place, name in places:
        patch.setattr(place, name, changing(getattr(place, name)))


@pytest.mark.parametrize("again", [False, True])
def test_a_build_killed_at_any_moment_of_its_end_loses_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    expected = image_folder(root, SMALL).store
    whole = _content(expected)
    files = sorted(path.name for path in expected.path.iterdir()) if expected.path else []
    names = _decoded_names(monkeypatch)
    images, labels = np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, np.int64)
    old = _content(ImageSet.from_arrays(images, labels).store.save(tmp_path / "old"))
    finished = False
    for moment in range(30):
        out = tmp_path / f"out {moment}" / "store"
        if again:  # a store lies there that this one replaces
            shutil.copytree(tmp_path / "old", out)
        with monkeypatch.context() as patch:
            _kill_at(patch, moment)
            try:
                build_store(build_samples(root), out, SMALL)
                finished = True
            except Killed:
                pass
        names.clear()
        if not out.exists() or _content(ImageStore.open(out)) == old:
            build_store(build_samples(root), out, SMALL)
            assert names == []  # all had been decoded before
            assert sorted(path.name for path in out.iterdir()) == files
        assert _content(ImageStore.open(out)) == whole
        if finished:
            break
    assert finished
    assert moment > 3


def test_a_build_that_stood_for_long_goes_on_and_older_ones_of_others_are_removed(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "class 4" / "2.png").write_bytes(b"no image")
    with pytest.raises(InputError):
        image_folder(root, SMALL)
    (own,) = (cache / "folders").iterdir()
    others = [cache / "folders" / f".{name}.part" for name in ("young", "old")]
    for folder, days in ((own, 400), (others[0], 20), (others[1], 40)):
        folder.mkdir(exist_ok=True)
        (folder / "file").write_text("")
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - days * 24 * 3600,) * 2)
    names = _decoded_names(monkeypatch)
    assert len(image_folder(root, SMALL, skip_bad=True)) == 29
    assert len(names) == 10
    assert [other.exists() for other in others] == [True, False]


def test_a_disk_that_answers_no_more_loses_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_samples(root)

    def read(part: int) -> Iterator[Sample]:
        if part == 5:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole.read(part)

    with pytest.raises(InputError, match="Input/output error"):
        build_store(replace(whole, read=read), tmp_path / "out" / "store", SMALL)
    names = _decoded_names(monkeypatch)
    build_store(whole, tmp_path / "out" / "store", SMALL)
    assert len(names) < 30


def build_samples(root: Path) -> Samples:
    from rootspace.data.folders import folder_samples

    return folder_samples(root)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def full(writer: writing.StoreWriter, cells: np.ndarray, *rest: object) -> None:
        nonlocal written
        written += len(cells)
        if written > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(build.StoreWriter, "add", full)
        with pytest.raises(InputError, match=r"store: cannot be written \(No space left on device\)") as caught:
            build_store(build_samples(root), tmp_path / "out" / "store", SMALL)
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match=r"cannot write the cache \(No space left.*ROOTSPACE_CACHE"):
            image_folder(root, SMALL)
    assert list((tmp_path / "out").iterdir()) == []
    assert list((tmp_path / "cache" / "folders").iterdir()) == []


def _disk_with(free: int) -> Any:
    return lambda folder: shutil._ntuple_diskusage(10**12, 10**12 - free, free)  # type: ignore[attr-defined]


def test_a_store_that_the_disk_has_no_room_for_is_not_begun(
    root: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _decoded_names(monkeypatch)
    monkeypatch.setattr(build.shutil, "disk_usage", _disk_with(30 * 64 - 1))
    message = r"pictures: 30 images of 8 × 8 × 1 bytes take .* GB on the disk, but .* free; .*ROOTSPACE_CACHE.*--size"
    with pytest.raises(InputError, match=message):
        image_folder(root, SMALL)
    with pytest.raises(InputError, match=message):
        build_store(build_samples(root), tmp_path / "stores" / "s", SMALL)
    assert (names, list((cache / "folders").iterdir()), list((tmp_path / "stores").iterdir())) == ([], [], [])
    monkeypatch.setattr(build.shutil, "disk_usage", _disk_with(30 * 64))
    assert len(image_folder(root, SMALL)) == 30


def test_room_is_asked_for_what_is_still_to_do(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "class 4" / "2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"2\.png"):
        image_folder(root, SMALL)
    monkeypatch.setattr(build.shutil, "disk_usage", _disk_with(10 * 64 - 1))
    with pytest.raises(InputError, match=r"take .* on the disk"):
        image_folder(root, SMALL, skip_bad=True)
    monkeypatch.setattr(build.shutil, "disk_usage", _disk_with(10 * 64))
    assert len(image_folder(root, SMALL, skip_bad=True)) == 29


def test_a_large_store_is_announced_before_it_is_made(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image_folder(root, Preprocessing(4, 1, "stretch"))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(build, "_NOTICED", 30 * 64)
    monkeypatch.setattr(build.shutil, "disk_usage", _disk_with(5 * 10**11))
    image_folder(root, SMALL)
    said = capsys.readouterr().err
    assert f"30 images of 8 × 8 × 1 bytes take 0.0 GB in {cache / 'folders'}, which has 500.0 GB free" in said
    image_folder(root, SMALL)
    assert capsys.readouterr().err == ""


def test_the_second_of_two_builders_waits_and_finds_it_done(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _decoded_names(monkeypatch)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(image_folder(root, SMALL)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [30, 30, 30]
    assert len(names) == 30


def test_alone_is_alone(tmp_path: Path) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with alone(tmp_path / "thing"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list(tmp_path.iterdir()) == []


def test_extreme_sizes_in_a_folder(tmp_path: Path) -> None:
    for name, size in (("dot", (1, 1)), ("wide", (20_000, 3)), ("tall", (2, 20_000))):
        (tmp_path / "odd" / name).mkdir(parents=True)
        Image.new("RGB", size, (200, 100, 50)).save(tmp_path / "odd" / name / "a.png")
    data = open_data(tmp_path / "odd", Preprocessing(16, 3, "crop"))
    assert data.label_names == ("dot", "tall", "wide")
    assert (data.images_at(range(3)) == np.array([200, 100, 50], np.uint8)).all()
    assert len(unseen_views(data, lambda images, _: images)) == 3


def test_many_class_folders_are_looked_at_once(tmp_path: Path) -> None:
    for label in range(600):
        (tmp_path / "many" / f"{label:04}").mkdir(parents=True)
        Image.new("L", (4, 4), label % 256).save(tmp_path / "many" / f"{label:04}" / "a.png")
    data = image_folder(tmp_path / "many", SMALL)
    assert data.n_classes == 600
    assert data.labels.tolist() == list(range(600))
    assert data.label_names[599] == "0599"
