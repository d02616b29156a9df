"""A .pt2 file answers as the recogniser does, at any batch size."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch

from rootspace import assign, export
from rootspace.assign import Assignment
from rootspace.models import Threshold
from rootspace.systems import parse

from .conftest import Images, Make

ASSIGNMENTS = {
    "decoded": lambda: assign.shuffled(parse("V22:41"), 600_000, key=5),
    "signed": lambda: assign.shuffled(parse("W3:24"), 16_000, key=5),
    "compared": lambda: assign.shuffled(parse("V21:14"), 1_000, key=5),
    "named": lambda: assign.by_name(parse("graded:16"), [str(number) for number in range(700)]),
}


@pytest.mark.parametrize("kind", ASSIGNMENTS)
@pytest.mark.parametrize(("encoder", "normalise"), [("small_conv", "batch"), ("small_vit", "none")])
def test_round_trip(kind: str, encoder: str, normalise: str, recogniser: Make, images: Images, tmp_path: Path) -> None:
    classes: Assignment = ASSIGNMENTS[kind]()
    model = recogniser(classes, encoder, normalise, Threshold(0.4, 0.01, 0.05))
    assert export.to_torch(model, tmp_path / "m.pt2", k=3) == [tmp_path / "m.pt2"]
    described = {"rootspace": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notices of torch about itself
        run = torch.export.load(tmp_path / "m.pt2", extra_files=described).module()
    about = json.loads(described["rootspace"])
    assert len(about["label_names"]) == classes.n_classes
    assert about["outputs"] == ["embedding", "label", "score", "known"]
    for batch in (0, 1, 7, 64):
        pixels = images(batch, batch)
        embedding, label, score, known = run(torch.from_numpy(pixels))
        expected = model.predict(pixels, 3)
        assert torch.allclose(embedding, model.embed(pixels), atol=1e-6)
        scores, labels = classes.nearest(embedding, 3)
        assert torch.allclose(score, scores, atol=1e-6)
        apart = (scores.diff(dim=1).abs() > 1e-6).all(1)
        assert torch.equal(label[apart], labels[apart])
        assert known.tolist() == [row.known for row in expected]


def test_what_is_not_a_number_is_of_no_class(recogniser: Make, images: Images) -> None:
    model = recogniser(assign.shuffled(parse("V22:10"), 200), threshold=Threshold(-1, 0, 0), normalise="none")
    with torch.no_grad():
        model.embedder.projection.weight[0] = float("inf")
    whole = export.Pipeline(model, 3)
    embedding, label, _, known = whole(torch.from_numpy(images(9)))
    broken = ~embedding.isfinite().all(1)
    assert bool(broken.any())
    assert bool((label[broken] == -1).all())
    assert not bool(known[broken].any())


def test_exporting_changes_nothing_in_the_model(recogniser: Make, images: Images, tmp_path: Path) -> None:
    model = recogniser(assign.shuffled(parse("V22:10"), 200)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export.to_torch(model, tmp_path / "m.pt2")
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
