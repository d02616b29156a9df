"""Stores on disk, views, splits, and what happens to damaged ones."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootspace.data import ImageSet, ImageStore, Preprocessing, open_data, split_by_source, split_random, writing
from rootspace.data.blocks import MappedImages
from rootspace.errors import InputError


def _sample(n: int = 30, classes: int = 5, sources: int = 3) -> ImageSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
    names = [f"类{number}" for number in range(classes)]
    hands = [f"hand {number}" for number in range(sources)]
    return ImageSet.from_arrays(images, np.arange(n) % classes, names, np.arange(n) % sources, hands)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    _sample().store.save(tmp_path / "store", {"made by": "a test"})
    return tmp_path / "store"


def test_saved_store_opens_with_the_same_content(saved: Path) -> None:
    before, after = _sample().store, ImageStore.open(saved)
    assert isinstance(after.images, MappedImages)
    assert np.array_equal(before.images, after.images)
    assert np.array_equal(before.labels, after.labels)
    assert np.array_equal(before.sources, after.sources)
    assert (before.label_names, before.source_names) == (after.label_names, after.source_names)
    assert before.preprocessing == after.preprocessing
    assert after.about == {"made by": "a test"}
    assert (after.labels.dtype, after.sources.dtype) == (np.int64, np.int32)


def test_view_pickles_small_and_reopens_the_pixels(saved: Path) -> None:
    view = ImageStore.open(saved).all().select([3, 1, 4])
    wire = pickle.dumps(view)
    again = pickle.loads(wire)
    assert len(wire) < 1000
    assert np.array_equal(again.images_at([0, 2]), view.images_at([0, 2]))
    assert again.labels.tolist() == [3, 1, 4]


@pytest.mark.parametrize("shape", [(600, 16, 16), (600, 16, 16, 3)])
def test_a_mapped_file_travels_as_its_name(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(600) % 3)
    data = open_data(tmp_path / "images.npy").select([3, 599, 0])
    wire = pickle.dumps(data)
    assert len(wire) < 600 * 50  # labels and sources; the images are 256 bytes or more each
    again = pickle.loads(wire)
    assert isinstance(again.store.images, np.memmap)
    assert np.array_equal(again.images_at(range(3)), data.images_at(range(3)))
    assert data.images_at([0]).any()


@pytest.mark.parametrize(
    "view",
    [
        lambda images: images[::-1],
        lambda images: images[2:],
        lambda images: images[:, ::-1],
        lambda images: images.transpose(0, 2, 1, 3),
        lambda images: images[..., :1],
    ],
)
def test_a_view_of_a_mapped_file_is_not_taken_for_the_file(
    tmp_path: Path, view: Callable[[np.ndarray], np.ndarray]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    part = view(np.load(tmp_path / "images.npy", mmap_mode="r"))
    data = ImageSet.from_arrays(part, np.zeros(len(part), int))
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.images_at(range(len(part))), view(images))


def test_changes_in_memory_alone_travel(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((2, 8, 8, 1), np.uint8))
    images = np.load(tmp_path / "images.npy", mmap_mode="c")
    images[1] = 7
    again = pickle.loads(pickle.dumps(ImageSet.from_arrays(images, np.zeros(2, int))))
    assert again.images_at([0, 1])[:, 0, 0, 0].tolist() == [0, 7]


def test_images_at_is_a_copy_that_can_be_written(saved: Path) -> None:
    view = ImageStore.open(saved).all()
    images = view.images_at([0])
    assert type(images) is np.ndarray
    images[:] = 7
    assert not (view.images_at([0]) == 7).all()


def test_an_interrupted_write_leaves_nothing_and_keeps_the_old_store(saved: Path) -> None:
    before = ImageStore.open(saved).images[:].copy()

    def interrupted() -> None:
        with writing(saved, Preprocessing(8, 1, "stretch"), ["a"], ["s"]) as writer:
            writer.add(np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1), np.zeros(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in saved.parent.iterdir()] == ["store"]
    assert np.array_equal(ImageStore.open(saved).images, before)


def test_classes_without_an_image_are_dropped_when_asked(tmp_path: Path) -> None:
    with writing(tmp_path / "s", Preprocessing(8, 1), ["a", "b", "c"], ["s"], drop_unused=True) as writer:
        writer.add(np.zeros((2, 8, 8, 1), np.uint8), np.array([2, 0]), np.zeros(2))
    store = ImageStore.open(tmp_path / "s")
    assert store.label_names == ("a", "c")
    assert store.labels.tolist() == [1, 0]


def _truncate(store: Path) -> None:
    data = (store / "images.npy").read_bytes()
    (store / "images.npy").write_bytes(data[: len(data) // 2])


def _flip_a_bit(store: Path) -> None:
    data = bytearray((store / "images.npy").read_bytes())
    data[-1] ^= 1
    (store / "images.npy").write_bytes(data)


def _edit(store: Path, **changes: object) -> None:
    manifest = json.loads((store / "manifest.json").read_text("utf-8"))
    (store / "manifest.json").write_text(json.dumps({**manifest, **changes}), "utf-8")


DAMAGE = {
    "truncated": (_truncate, "images.npy"),
    "altered": (_flip_a_bit, "checksum mismatch"),
    "array missing": (lambda s: (s / "labels.npy").unlink(), "labels.npy: missing"),
    "manifest missing": (lambda s: (s / "manifest.json").unlink(), "no such file"),
    "manifest cut": (lambda s: (s / "manifest.json").write_text("{"), "not valid JSON"),
    "manifest a list": (lambda s: (s / "manifest.json").write_text("[]"), "expected the manifest"),
    "newer": (lambda s: _edit(s, version=99), "version 99"),
    "names of numbers": (lambda s: _edit(s, source_names=[1, 2, 3]), "strings only"),
    "names short": (lambda s: _edit(s, source_names=["a"]), "source 2 is out of range"),
    "names altered": (lambda s: np.save(s / "label_names.npy", np.zeros(25, np.uint8)), "checksum mismatch"),
    "names missing": (lambda s: (s / "label_ends.npy").unlink(), "label_ends.npy: missing"),
    "blocks missing": (lambda s: _edit(s, blocks=None), "'blocks'"),
    "blocks short": (lambda s: _edit(s, blocks={"rows": 3, "sha256": ["0"]}), "1 digests for 30 images"),
    "preprocessing": (lambda s: _edit(s, preprocessing={"size": 8}), "preprocessing"),
    "count": (lambda s: _edit(s, counts={"images": 3}), "counts 3"),
    "sums missing": (lambda s: _edit(s, sha256=None), "'sha256'"),
    "labels a pickle": (lambda s: np.save(s / "labels.npy", np.array([{}]), allow_pickle=True), "labels.npy"),
    "labels short": (lambda s: np.save(s / "labels.npy", np.zeros(3, np.int64)), "labels.npy: checksum mismatch"),
    "labels float": (lambda s: np.save(s / "labels.npy", np.zeros(30)), "labels.npy: checksum mismatch"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_store_is_refused_with_one_line_that_names_it(saved: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    damage(saved)
    with pytest.raises(InputError) as caught:
        ImageStore.open(saved)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value)


def test_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        ImageStore.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 8, 8)), np.zeros(2, int), "expected uint8"),
        (np.zeros((2, 8, 8, 4), np.uint8), np.zeros(2, int), "expected uint8"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(2), "expected integers"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(3, int), "2 images, but labels"),
        (np.zeros((2, 8, 8), np.uint8), np.array([0, -1]), "label -1 is out of range"),
        (np.zeros((2, 8, 8), np.uint8), np.array([0, 10**12]), "too large"),
        (np.zeros((0, 8, 8), np.uint8), np.zeros(0, int), "at least one"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageSet.from_arrays(images, labels)


def test_split_by_source_separates_whole_sources() -> None:
    data = _sample()
    train, tests = split_by_source(data, ["hand 2", "hand 0"])
    assert list(tests) == ["hand 2", "hand 0"]
    assert set(train.sources) == {1}
    assert set(tests["hand 0"].sources) == {0}
    assert len(train) + sum(map(len, tests.values())) == len(data)


def test_split_by_source_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match="did you mean 'hand 1'"):
        split_by_source(_sample(), ["hand1"])
    with pytest.raises(InputError, match="nothing to train on"):
        split_by_source(_sample(), ["hand 0", "hand 1", "hand 2"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=8, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 2**31),
)
def test_split_random_is_a_stratified_partition(labels: list[int], fraction: float, seed: int) -> None:
    data = ImageSet.from_arrays(np.zeros((len(labels), 4, 4), np.uint8), np.array(labels))
    try:
        train, test = split_random(data, fraction, seed)
    except InputError:
        assert (np.floor(np.bincount(labels) * fraction) < 1).all() or max(np.bincount(labels)) == 1
        return
    assert sorted([*train.indices, *test.indices]) == list(range(len(labels)))
    counts, kept = np.bincount(labels, minlength=7), np.bincount(train.labels, minlength=7)
    assert (kept[counts > 0] >= 1).all()
    held = counts - kept
    assert (np.abs(held - counts * fraction) <= 1 + 1e-9)[counts * (1 - fraction) >= 1].all()
    again = split_random(data, fraction, seed)[1]
    assert np.array_equal(again.indices, test.indices)


def test_split_random_needs_a_real_fraction_and_enough_images() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        split_random(_sample(), 1.0)
    lonely = ImageSet.from_arrays(np.zeros((4, 4, 4), np.uint8), np.arange(4))
    with pytest.raises(InputError, match="too few images"):
        split_random(lonely, 0.5)
