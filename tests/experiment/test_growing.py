"""Growing a trained model on small synthetic classes: what is replayed, learned, kept, written and resumed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import rootspace
from rootspace import experiment
from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.experiment import Recipe
from rootspace.experiment.growing import STAGES, grow, joined, replayed
from rootspace.models import Recogniser
from rootspace.train import Interrupted, TrainConfig

OLD, NEW = [f"old {number}" for number in range(12)], [f"new {number}" for number in range(4)]
PATTERNS = np.random.default_rng(0).integers(0, 2, (16, 4, 4)).repeat(4, 1).repeat(4, 2) * 255
RECIPE = Recipe(backbone={"name": "small_conv", "width": 8}, augment="none")
CONFIG = TrainConfig(epochs=3, batch_size=16, learning_rate=1e-2, device="cpu")


def images(names: list[str], per_class: int, seed: int) -> ImageSet:
    generator = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(names)), per_class)
    first = len(OLD) if names[0].startswith("new") else 0
    noisy = PATTERNS[first + labels] + generator.normal(0, 40, (len(labels), 16, 16))
    return ImageSet.from_arrays(noisy.clip(0, 255).astype(np.uint8), labels, names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the old classes."""
    train, heldout = images(OLD, 20, 1), {"old": images(OLD, 5, 2)}
    trained = experiment.train(train, heldout, RECIPE, CONFIG, progress=False)
    model = experiment.recogniser_of(trained, train, heldout["old"])
    return model.save(tmp_path_factory.mktemp("grow") / "model")


@pytest.fixture
def model(folder: Path) -> Recogniser:
    return rootspace.load(folder)


HELDOUT = {"old": images(OLD, 5, 3), "new": images(NEW, 5, 3)}


def vectors(model: Recogniser) -> torch.Tensor:
    return model.assignment.vectors(torch.arange(model.assignment.n_classes))


# ---------------------------------------------------------------------- what is trained on


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_old_images_have_their_share_and_each_comes_as_often_as_the_others(share: float) -> None:
    new = ImageSet.from_arrays(np.zeros((30, 4, 4), np.uint8), np.full(30, 1), ["old", "new"])
    pixels = np.arange(40, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    old = ImageSet.from_arrays(pixels, np.zeros(40, int), ["old", "new"])
    found, epoch_images = replayed(new, old, share, epochs=4, seed=1)
    assert len(found) == 4 * epoch_images
    assert np.mean(found.labels == 0) == pytest.approx(share, abs=0.01)
    assert int((found.labels == 1).sum()) == 120
    if share:
        drawn = np.bincount(found.images_at(np.flatnonzero(found.labels == 0))[:, 0, 0, 0], minlength=40)
        assert drawn.max() - drawn.min() <= 1


def test_without_old_images_there_are_new_ones_alone() -> None:
    new = images(NEW, 2, 0)
    found, epoch_images = replayed(new, None, 0.5, epochs=3)
    assert (len(found), epoch_images) == (24, 8)
    with pytest.raises(InputError, match=r"replay_share: expected a share in \[0, 1\), got 1"):
        replayed(new, None, 1.0, epochs=3)


def test_images_of_other_shapes_do_not_join() -> None:
    with pytest.raises(InputError, match=r"\(16, 16, 1\), got \(8, 8, 1\) too"):
        joined([images(NEW, 1, 0), ImageSet.from_arrays(np.zeros((2, 8, 8), np.uint8), np.arange(2))])


def test_joined_images_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    first, second = images(NEW, 3, 1), images(OLD, 2, 0)
    both = joined([first.select([5, 1, 1]), second.select([0, 11])])
    assert both.image_shape == first.image_shape
    expected = np.concatenate([first.images_at([5, 1, 1]), second.images_at([0, 11])])
    assert np.array_equal(both.images_at(np.arange(5)), expected)
    assert np.array_equal(both.images_at([4, 0, 3, 0]), expected[[4, 0, 3, 0]])
    assert both.images_at([]).shape == (0, 16, 16, 1)
    assert both.labels.tolist() == [1, 1, 1, 0, 11]
    again = pickle.loads(pickle.dumps(both))  # as a data loader's worker gets it
    assert np.array_equal(again.images_at([4, 2]), expected[[4, 2]])
    saved = both.store.save(tmp_path / "store")  # in slices
    assert np.array_equal(saved.all().images_at(np.arange(5)), expected)
    read = []

    class Counted(ImageSet):
        def images_at(self, positions: object) -> np.ndarray:
            read.append(positions)
            return super().images_at(positions)

    joined([Counted(first.store, first.indices), Counted(second.store, second.indices)])
    assert not read


# ---------------------------------------------------------------------- growing


@pytest.mark.parametrize("enrol", [True, False])
def test_new_classes_are_learned_and_old_ones_kept(
    model: Recogniser, tmp_path: Path, enrol: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rootspace.experiment.growing.CALIBRATION_LEAST", 16)  # 12 old and 4 new images
    before = vectors(model)
    found = grow(
        model, images(NEW, 20, 4), HELDOUT, CONFIG, tmp_path, old=images(OLD, 20, 1), recipe=RECIPE, enrol=enrol,
        progress=False,
    )  # fmt: skip
    assert tuple(found.accuracy) == STAGES
    assert set(found.accuracy["before"]) == {"old"}
    assert found.accuracy["trained"]["new"] > 0.9
    assert found.accuracy["trained"]["old"] > found.accuracy["before"]["old"] - 0.1 > 0.6
    assert (found.accuracy["enrolled"]["new"] > 0.8) == enrol
    assert (found.old_classes, found.new_classes) == (12, 4)
    saved = rootspace.load(tmp_path / "model")
    assert saved.label_names == (*OLD, *NEW)
    assert torch.equal(vectors(saved)[:12], before)
    assert saved.calibrated
    stored = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert stored["accuracy"] == found.accuracy
    assert stored["classes"] == {"old": 12, "new": 4}
    assert (tmp_path / "training" / "rootspace" / "metrics.jsonl").is_file()


def test_one_image_of_a_class_is_enough(model: Recogniser, tmp_path: Path) -> None:
    threshold = model.threshold
    found = grow(model, images(NEW, 1, 4), {}, CONFIG, tmp_path, recipe=RECIPE, progress=False)
    assert found.accuracy == {stage: {} for stage in STAGES}
    assert rootspace.load(tmp_path / "model").threshold == threshold
    assert not model.calibrated


def test_a_larger_system_comes_first(tmp_path: Path) -> None:
    from rootspace.assign import shuffled
    from rootspace.models import Embedder, build
    from rootspace.systems import smallest

    classes = shuffled(smallest("V22", 12), 12)
    embedder = Embedder(build({"name": "small_conv", "width": 4}), classes.system.dim)
    tight = Recogniser(embedder, classes, OLD, images(OLD, 1, 0).preprocessing)
    names = [f"new {number}" for number in range(20)]
    many = ImageSet.from_arrays(np.zeros((40, 16, 16), np.uint8), np.arange(40) % 20, names)
    with pytest.raises(InputError, match=r"32 classes do not fit V22:5"):
        grow(tight, many, {}, CONFIG, tmp_path / "a", recipe=RECIPE, progress=False)
    assert not (tmp_path / "a").exists()
    grow(tight, many, {}, CONFIG, tmp_path / "b", recipe=RECIPE, system="V22:6", progress=False)
    assert rootspace.load(tmp_path / "b" / "model").assignment.system.spec == "V22:6"


def test_classes_that_do_not_fit_together(model: Recogniser, tmp_path: Path) -> None:
    for new, old, message in (
        (images(OLD, 2, 0), None, "'old 0' is known"),
        (images(NEW, 2, 0), images(NEW, 2, 0), "not known: new 0"),
    ):
        with pytest.raises(InputError, match=message):
            grow(model, new, {}, CONFIG, tmp_path / "o", old=old, recipe=RECIPE, progress=False)
    assert not (tmp_path / "o").exists()
    assert model.label_names == tuple(OLD)


def test_a_run_that_was_stopped_comes_to_the_same_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rootspace.train import loop

    def run(output: Path, resume: bool = False) -> None:
        grow(
            rootspace.load(folder), images(NEW, 20, 4), HELDOUT, CONFIG, output, old=images(OLD, 20, 1), recipe=RECIPE,
            resume=resume, progress=False,
        )  # fmt: skip

    run(tmp_path / "whole")
    finish = loop._Run.finish_epoch

    def stop_after_one(self: loop._Run, epoch: int) -> None:
        finish(self, epoch)
        raise Interrupted("stopped")

    monkeypatch.setattr(loop._Run, "finish_epoch", stop_after_one)
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "model").exists()
    monkeypatch.undo()
    run(tmp_path / "stopped", resume=True)
    first, second = (rootspace.load(tmp_path / name / "model").state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)
