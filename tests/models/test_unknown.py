"""Signals of unknown classes against brute force, the detector against another implementation, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from rootspace.assign import TableAssignment, shuffled
from rootspace.data import ImageSet, Preprocessing
from rootspace.errors import InputError
from rootspace.models import Detector, Embedder, Recogniser, SmallConv, fit_detector, load, signals
from rootspace.models.folder import _checksum
from rootspace.models.unknown import SIGNALS, available
from rootspace.systems import V, graded

NAMES = [f"kind {number}" for number in range(12)]


def recogniser() -> Recogniser:
    torch.manual_seed(0)
    embedder = Embedder(SmallConv(width=4), 6)
    return Recogniser(embedder, shuffled(V(6, 1, 1), 12), NAMES, Preprocessing(16, 1, "ink"))


def images(count: int, seed: int) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16), dtype=np.uint8)
    # darker images of the second seed: something to tell the two apart by
    return ImageSet.from_arrays(pixels // (1 + seed), np.arange(count) % 12, NAMES)


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("n_classes", [2, 700, 1260])
def test_signals_are_what_they_say(n_classes: int, table: bool) -> None:
    assignment = shuffled(V(10, 2, 2), n_classes, key=4)
    x = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    unit = normalize(x.double(), dim=1)
    classes, every = (
        normalize(v.double(), dim=1) for v in (assignment.vectors(torch.arange(n_classes)), V(10, 2, 2).all())
    )
    cosines, everywhere = unit @ classes.T, unit @ every.T
    best = cosines.topk(2, dim=1).values
    expected = {
        "cosine": best[:, 0],
        "margin": best[:, 0] - best[:, 1],
        "probability": (16 * cosines).log_softmax(1).amax(1),
        "system": 16 * best[:, 0] - (16 * everywhere).logsumexp(1),
        "unused": best[:, 0] - everywhere.amax(1),
    }
    found = signals(TableAssignment.of(assignment) if table else assignment, x, scale=16.0)
    assert list(found) == list(SIGNALS)
    for name, values in expected.items():
        torch.testing.assert_close(found[name].double(), values, rtol=1e-4, atol=1e-5)
    used = assignment.shuffle.inverse(V(10, 2, 2).decode(x)) < n_classes
    assert torch.equal(found["unused"] == 0, used)
    assert int(used.sum()) > 0 or n_classes == 2


def test_signals_of_a_system_without_an_exact_sum_and_of_one_class() -> None:
    assert "system" not in available(shuffled(graded(128), 3))
    single = shuffled(V(6, 1, 1), 1)
    assert signals(single, torch.randn(4, 6), ["margin"])["margin"].tolist() == [2.0] * 4
    with pytest.raises(InputError, match=r"expected one of cosine, .*got 'system'"):
        signals(shuffled(graded(128), 3), torch.randn(2, 128), ["system"])
    assert signals(single, torch.zeros(0, 6))["probability"].shape == (0,)


# ---------------------------------------------------------------------- the detector


def draws(count: int, shift: float, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cosine = torch.randn(count, generator=generator) + shift
    return {"cosine": cosine, "margin": 0.01 * torch.randn(count, generator=generator) + 0.005 * shift}


def test_the_fit_is_the_logistic_regression() -> None:
    """The gradient of the balanced likelihood vanishes at the fitted weights, up to the small ridge."""
    known, unknown = draws(300, 1, 0), draws(80, -1, 1)
    found = fit_detector(known, unknown)
    columns = torch.cat([torch.stack([part["cosine"], part["margin"]], 1) for part in (known, unknown)]).double()
    residual = torch.cat([1 - found.probability(known), -found.probability(unknown)]).double()
    share = torch.cat([torch.full((300,), 0.5 / 300), torch.full((80,), 0.5 / 80)]).double()
    slope = (columns / columns.std(0)).T @ (share * residual)
    assert float((share * residual).sum().abs()) < 1e-5
    assert float(slope.abs().max()) < 0.01


def test_two_signals_beat_either() -> None:
    from rootspace.evaluate import auroc

    known, unknown = draws(4000, 0.5, 0), draws(4000, -0.5, 1)
    found = fit_detector(known, unknown)
    both = auroc(found.probability(known), found.probability(unknown))
    assert both > max(auroc(known[name], unknown[name]) for name in known) + 0.02


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.9])
def test_the_cut_keeps_its_promise(share: float) -> None:
    known = draws(1000, 1, 0)
    found = fit_detector(known, draws(500, -1, 1), share)
    refused = 1 - float(found.accepts(known).double().mean())
    assert refused == pytest.approx(found.false_rejection)
    assert share - 0.002 < refused <= share + 1e-9


def test_separable_examples_still_give_finite_weights() -> None:
    found = fit_detector({"cosine": torch.tensor([0.9, 0.8])}, {"cosine": torch.tensor([0.1])})
    assert found.probability({"cosine": torch.tensor([0.9, 0.1])}).tolist() == pytest.approx([1, 0], abs=0.05)


def test_bad_examples() -> None:
    with pytest.raises(InputError, match="the same signals"):
        fit_detector({"cosine": torch.ones(2)}, {"margin": torch.ones(2)})
    with pytest.raises(InputError, match="2 known, 0 unknown"):
        fit_detector({"cosine": torch.ones(2)}, {"cosine": torch.ones(0)})
    with pytest.raises(InputError, match="false_rejection"):
        fit_detector({"cosine": torch.ones(2)}, {"cosine": torch.ones(1)}, 1.0)
    with pytest.raises(InputError, match="'margin' is missing"):
        Detector(("margin",), (1.0,), 0.0, 24.0, 0.5, 0.05).probability({"cosine": torch.ones(1)})


# ---------------------------------------------------------------------- in a model


def test_a_model_with_examples_of_both_kinds(tmp_path: Path) -> None:
    model = recogniser()
    known, unknown = images(200, 0), images(200, 1)
    model.calibrate(known, 0.1)
    assert model.predict(known.images_at([0]))[0].probability is None
    model.calibrate(known, 0.1, unknown=unknown)
    assert model.detector is not None
    found, others = (model.predict(part.images_at(np.arange(200))) for part in (known, unknown))
    assert np.mean([one.known for one in found]) == pytest.approx(1 - model.detector.false_rejection)
    assert np.mean([one.known for one in others]) < np.mean([one.known for one in found])
    assert [one.known for one in found] == [one.probability >= model.detector.cut for one in found]
    copied = load(model.save(tmp_path / "model"))
    assert copied.detector == model.detector
    assert copied.predict(known.images_at(np.arange(200))) == found
    model.calibrate(known, 0.1)
    assert model.detector is None


def test_models_from_before_detectors_load(tmp_path: Path) -> None:
    """The configuration as it was written then: no detector, and a threshold of three numbers."""
    model = recogniser()
    model.calibrate(images(50, 0))
    folder = model.save(tmp_path / "model")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["checksum"], config["detector"], config["threshold"]["n_classes"]
    path.write_text(json.dumps({**config, "checksum": _checksum(config)}), encoding="utf-8")
    old = load(folder)
    assert (old.threshold.cosine, old.threshold.n_classes, old.detector) == (model.threshold.cosine, None, None)
    assert old.calibrated


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["colour"]}, "a weight for each of some of cosine"),
        ({"weights": []}, "a weight for each of some of cosine"),
        ({"weights": ["x"]}, "expected finite numbers"),
        ({"bias": float("inf")}, "expected finite numbers"),
        ({"n_classes": 0}, "detector n_classes: expected a whole number"),
        ({"more": 1}, "detector: expected names, weights, bias"),
    ],
)
def test_a_damaged_detector_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    model = recogniser()
    model.detector = Detector(("cosine",), (1.0,), 0.0, 24.0, 0.5, 0.05, 12)
    folder = model.save(tmp_path / "model")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["detector"].update(change)
    del config["checksum"]
    path.write_text(json.dumps({**config, "checksum": _checksum(config)}), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load(folder)
