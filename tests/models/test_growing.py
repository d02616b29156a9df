"""A model that takes more classes and more coordinates: what it knew stays, and files keep everything."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from rootspace.assign import ShuffledAssignment, TableAssignment, shuffled
from rootspace.data import ImageSet, Preprocessing
from rootspace.errors import InputError
from rootspace.models import Embedder, Recogniser, SmallConv, load
from rootspace.systems import V, VectorSystem, graded, parse

OLD = [f"old {number}" for number in range(40)]
NEW = [f"new {number}" for number in range(6)]


def model(system: VectorSystem, table: bool = False, normalise: str = "batch") -> Recogniser:
    """An encoder with random weights and, where it normalises, statistics of some images."""
    torch.manual_seed(0)
    embedder = Embedder(SmallConv(width=4), system.dim, normalise=normalise)
    embedder.train()(torch.randn(64, 1, 16, 16))
    assignment = shuffled(system, len(OLD), key=2)
    return Recogniser(
        embedder, TableAssignment.of(assignment) if table else assignment, OLD, Preprocessing(16, 1, "ink")
    )


def images(names: list[str], per_class: int = 3, seed: int = 0) -> ImageSet:
    """Blocky patterns, another for each class, under noise."""
    patterns = np.random.default_rng(1).integers(0, 2, (100, 4, 4)).repeat(4, 1).repeat(4, 2) * 255
    generator = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(names)), per_class)
    noisy = patterns[50 * names[0].startswith("new") + labels] + generator.normal(0, 20, (len(labels), 16, 16))
    return ImageSet.from_arrays(noisy.clip(0, 255).astype(np.uint8), labels, names)


def pixels(data: ImageSet) -> np.ndarray:
    return data.images_at(np.arange(len(data)))


def rows(found: Recogniser) -> torch.Tensor:
    return found.assignment.vectors(torch.arange(found.assignment.n_classes))


KINDS = pytest.mark.parametrize(("system", "table"), [(V(10, 2, 2), False), (V(10, 2, 2), True), (graded(64), True)])


@KINDS
@pytest.mark.parametrize("enrol", [True, False])
def test_old_classes_stay_and_files_keep_all(system: VectorSystem, table: bool, enrol: bool, tmp_path: Path) -> None:
    grown = model(system, table)
    before = rows(grown)
    grown.add_classes(NEW, images(NEW) if enrol else None)
    assert grown.label_names == (*OLD, *NEW)
    assert torch.equal(rows(grown)[: len(OLD)], before)
    assert len(rows(grown).unique(dim=0)) == len(OLD) + len(NEW)
    assert isinstance(grown.assignment, TableAssignment) == (table or enrol)
    copied = load(grown.save(tmp_path / "model"))
    assert copied.label_names == grown.label_names
    assert torch.equal(rows(copied), rows(grown))
    data = pixels(images(NEW))
    assert copied.predict(data) == grown.predict(data)


def test_enrolled_classes_are_recognised_at_once() -> None:
    grown = model(graded(64), table=True)
    grown.add_classes(NEW, images(NEW, per_class=2))
    found = grown.predict(pixels(images(NEW, per_class=5, seed=7)), k=1)
    right = [one.labels[0] == NEW[at % len(NEW)] for at, one in enumerate(found)]
    assert np.mean(right) > 0.9


def test_a_class_gets_the_free_vector_nearest_to_its_mean_embedding() -> None:
    grown = model(V(10, 2, 2))
    data = images(NEW[:1], per_class=8)
    unit = torch.nn.functional.normalize(grown.embed(pixels(data)), dim=1).mean(0)
    free = shuffled(grown.assignment.system, 1260, key=2).vectors(torch.arange(len(OLD), 1260))
    grown.add_classes(NEW[:1], data)
    assert torch.equal(rows(grown)[-1], free[(free @ unit).argmax()])


def test_shuffled_classes_without_images_are_the_shuffles_next() -> None:
    grown = model(V(10, 2, 2))
    grown.add_classes(NEW)
    assert torch.equal(rows(grown), shuffled(V(10, 2, 2), 46, key=2).vectors(torch.arange(46)))
    assert isinstance(grown.assignment, ShuffledAssignment)


def test_a_calibration_is_kept_and_flagged(tmp_path: Path) -> None:
    grown = model(graded(64), table=True)
    assert not grown.calibrated
    threshold = grown.calibrate(images(OLD))
    assert grown.calibrated
    grown.add_classes(NEW, images(NEW))
    assert grown.threshold == threshold
    assert not grown.calibrated
    grown = load(grown.save(tmp_path / "model"))
    assert grown.threshold == threshold
    assert not grown.calibrated
    grown.calibrate(images(NEW))
    assert grown.calibrated


def test_nothing_to_add_changes_nothing() -> None:
    grown = model(V(10, 2, 2))
    grown.add_classes([], images(NEW))
    assert isinstance(grown.assignment, ShuffledAssignment)
    assert len(grown.label_names) == 40


@pytest.mark.parametrize(
    ("names", "data", "message"),
    [
        (["old 3"], None, "'old 3' is known or stands twice"),
        (["a", "b", "a"], None, "'a' is known or stands twice"),
        (NEW, images(NEW[:5]), "no image of the new class 'new 5'"),
        (NEW, images(OLD), "none of the data's classes is known"),
        ([f"c{number}" for number in range(1300)], None, r"1,340 classes do not fit V22:10.*V22:11"),
        ([f"c{number}" for number in range(1300)], images(NEW), r"1,340 classes do not fit V22:10.*V22:11"),
    ],
)
def test_what_cannot_be_added_changes_nothing(names: list[str], data: ImageSet | None, message: str) -> None:
    for table in (False, True):
        grown = model(V(10, 2, 2), table)
        before = rows(grown)
        with pytest.raises(InputError, match=message):
            grown.add_classes(names, data)
        assert grown.label_names == tuple(OLD)
        assert torch.equal(rows(grown), before)
        assert isinstance(grown.assignment, TableAssignment) == table


# ---------------------------------------------------------------------- more coordinates


@pytest.mark.parametrize("normalise", ["batch", "none"])
@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize(
    ("small", "large"), [("V22:10", "V22:14"), ("W3:8", "W3:9"), ("graded:16", "embedded(graded:16, 20)")]
)
def test_enlarged_models_predict_what_they_did(
    small: str, large: str, table: bool, normalise: str, tmp_path: Path
) -> None:
    before = model(parse(small), table, normalise)
    after = copy.deepcopy(before)
    after.enlarge(large)
    data = pixels(images(OLD, per_class=4))
    dim = before.embedder.dim
    # the same numbers; a wider product may add them in another order
    torch.testing.assert_close(after.embed(data)[:, :dim], before.embed(data), rtol=1e-5, atol=1e-6)
    assert bool((after.embed(data)[:, dim:] == 0).all())
    assert torch.equal(rows(after)[:, :dim], rows(before))
    for one, other in zip(before.predict(data), after.predict(data), strict=True):
        assert one.labels == other.labels
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    copied = load(after.save(tmp_path / "model"))
    assert copied.assignment.system.spec == large
    assert torch.equal(copied.embed(data), after.embed(data))


def test_a_full_model_grows_on_in_a_larger_system() -> None:
    grown = model(V(10, 2, 2))
    grown.add_classes([f"c{number}" for number in range(1220)])
    with pytest.raises(InputError, match=r"V22:11 has 1,980"):
        grown.add_classes(NEW, images(NEW))
    grown.enlarge("V22:11")
    old = rows(grown)
    grown.add_classes(NEW, images(NEW))
    assert torch.equal(rows(grown)[:1260], old)
    assert bool((rows(grown)[1260:, 10] != 0).all())


@pytest.mark.parametrize("normalise", ["batch", "none"])
def test_new_coordinates_learn_once_a_class_uses_them(normalise: str) -> None:
    from rootspace.losses import CosineLoss

    grown = model(V(10, 2, 2), normalise=normalise)
    grown.enlarge("V22:12")
    x = torch.randn(32, 1, 16, 16)

    def gradient(labels: torch.Tensor) -> torch.Tensor:
        grown.zero_grad()
        CosineLoss(grown.assignment)(grown.embedder.train()(x), labels).backward()
        return grown.embedder.projection.weight.grad[10:]

    assert not gradient(torch.arange(32)).any()
    target = torch.zeros(1, 12)
    target[0, [0, 11]], target[0, [1, 10]] = 1.0, -1.0
    grown.assignment = grown.assignment.grown(target)
    assert gradient(torch.full((32,), 40)[:16].repeat(2) - torch.arange(32) % 2).abs().sum(1).min() > 0


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("graded:16", r"vectors of V22:10 with 6 zeros more are not vectors of graded:16"),
        ("V22:10", "expected more than 10"),
        ("V22:9", "expected more than 10"),
        ("V22;14", "system: cannot read"),
    ],
)
def test_what_cannot_be_enlarged_changes_nothing(system: str, message: str) -> None:
    grown = model(V(10, 2, 2))
    with pytest.raises(InputError, match=message):
        grown.enlarge(system)
    assert grown.embedder.dim == grown.assignment.system.dim == 10
    assert isinstance(grown.assignment, ShuffledAssignment)


def test_an_embedder_does_not_shrink() -> None:
    with pytest.raises(InputError, match="has 10 coordinates already, got 9"):
        model(V(10, 2, 2)).embedder.enlarge(9)
