"""Blocks with digests: damage is found when it is first read, in workers too, and can be left out."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from rootspace.data import ImageSet, ImageStore, batches, blocks, damaged_rows, store
from rootspace.data.blocks import DamagedError
from rootspace.errors import InputError
from rootspace.files import sha256

ROW = 8 * 8


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of 50 images in 8 blocks of 7, none of which is verified on opening."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 7 * ROW)
    monkeypatch.setattr(store, "_AT_ONCE", 0)
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), dtype=np.uint8)
    ImageSet.from_arrays(images, np.arange(50) % 5).store.save(tmp_path / "store")
    return tmp_path / "store"


def _damage(path: Path, *rows: int) -> None:
    data = bytearray((path / "images.npy").read_bytes())
    for row in rows:
        data[128 + row * ROW] ^= 1
    (path / "images.npy").write_bytes(data)


def test_blocks_are_verified_when_first_read_and_only_then(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = blocks._digest_of

    def counting(path: Path, start: int, size: int) -> str:
        read.append((start - 128) // ROW)
        return original(path, start, size)

    monkeypatch.setattr(blocks, "_digest_of", counting)
    view = ImageStore.open(saved).all()
    assert read == []
    view.images_at([13, 0, 1])
    assert sorted(read) == [0, 7]
    view.select([2, 49]).images_at([0, 1])
    assert sorted(read) == [0, 7, 49]
    _ = view.store.images[-1], view.store.images[3:5], view.store.images[np.arange(50) == 8]
    assert len(read) == 3


def test_damage_is_named_when_it_is_read_and_not_before(saved: Path) -> None:
    whole = ImageStore.open(saved).images[:]
    _damage(saved, 16)
    view = ImageStore.open(saved).all()
    assert np.array_equal(view.images_at([0, 13, 21]), whole[[0, 13, 21]])
    for _ in range(2):  # not a word of it is forgotten
        with pytest.raises(
            InputError, match=r"images\.npy: checksum mismatch in block 2 \(images 14 to 20\)"
        ) as caught:
            view.images_at([0, 20])
        assert str(saved) in str(caught.value)
    for key in (slice(None), slice(20, 10, -1), 14, -36, np.arange(50) == 14):
        with pytest.raises(DamagedError):
            _ = view.store.images[key]
    assert len(view.store.images[5:5]) == 0


def test_a_worker_finds_damage_and_says_so_in_one_line(saved: Path) -> None:
    _damage(saved, 16)
    with pytest.raises(InputError) as caught:
        list(batches(ImageStore.open(saved).all(), 10, num_workers=1))
    assert str(caught.value).startswith(f"{saved / 'images.npy'}: checksum mismatch in block 2")
    assert "\n" not in str(caught.value)


def test_what_a_worker_verified_is_verified_for_all(saved: Path) -> None:
    for context in ("fork", "spawn"):
        opened = ImageStore.open(saved)
        process = multiprocessing.get_context(context).Process(target=_read_some, args=(opened.all(),))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert opened.images.verified.tolist() == [1, 0, 0, 1, 0, 0, 0, 0]  # type: ignore[union-attr]


def _read_some(view: ImageSet) -> None:
    view.images_at([0, 22])


def test_small_stores_are_verified_on_opening(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _damage(saved, 49)
    ImageStore.open(saved)
    monkeypatch.setattr(store, "_AT_ONCE", 50 * ROW)
    with pytest.raises(DamagedError, match="block 7"):
        ImageStore.open(saved)


def test_damaged_blocks_are_left_out_on_request_and_counted(saved: Path) -> None:
    whole = ImageStore.open(saved)
    before = (whole.images[:], whole.labels)
    _damage(saved, 0, 16, 49)
    assert damaged_rows(saved, progress=False) == (8, [range(7), range(14, 21), range(49, 50)])
    opened = ImageStore.open(saved, skip_bad=True)
    kept = np.r_[7:14, 21:49]
    assert np.array_equal(opened.all().images_at(range(35)), before[0][kept])
    assert np.array_equal(opened.images[2:9:3], before[0][kept[2:9:3]])
    assert np.array_equal(opened.labels, before[1][kept])
    assert len(opened) == 35
    assert len(opened.about["skipped"]) == 15
    assert opened.about["skipped"][0] == "image 0 (block 0 is damaged)"
    again = pickle.loads(pickle.dumps(opened.all()))
    assert np.array_equal(again.images_at([34]), before[0][[48]])
    (saved / "copy").mkdir()
    assert len(opened.save(saved / "copy" / "whole")) == 35
    assert damaged_rows(saved / "copy" / "whole", progress=False) == (5, [])


def test_nothing_left_is_an_error(saved: Path) -> None:
    _damage(saved, *range(50))
    with pytest.raises(InputError, match="all of its 8 blocks"):
        ImageStore.open(saved, skip_bad=True)


def test_a_disk_that_cannot_be_read_is_damage(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = ImageStore.open(saved).all()

    def broken(*_: object) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(blocks, "_digest_of", broken)
    with pytest.raises(DamagedError, match="block 0"):
        view.images_at([0])


def _as_version_1(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    names = list(ImageStore.open(path).label_names)
    for name in ("label_names.npy", "label_ends.npy"):
        (path / name).unlink()
    del manifest["blocks"]
    manifest |= {"version": 1, "label_names": names}
    manifest["sha256"] = {name: sha256(path / name) for name in ("images.npy", "labels.npy", "sources.npy")}
    (path / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def test_stores_of_version_1_are_read_and_their_damage_found(saved: Path) -> None:
    now = ImageStore.open(saved)
    _as_version_1(saved)
    old = ImageStore.open(saved)
    assert old.label_names == now.label_names
    assert np.array_equal(old.images, now.images)
    assert np.array_equal(pickle.loads(pickle.dumps(old.all())).images_at([3]), now.images[3:4])
    assert damaged_rows(saved, progress=False) == (0, [])
    _damage(saved, 3)
    with pytest.raises(InputError, match=r"images\.npy: checksum mismatch"):
        ImageStore.open(saved)
