"""The recogniser and its folder: predictions, the known-or-not signal, and everything that can be wrong on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from rootspace import assign
from rootspace.data import ImageSet, Preprocessing
from rootspace.errors import InputError
from rootspace.files import read_json, sha256, write_json
from rootspace.models import Embedder, Recogniser, SmallConv, Threshold, choose_threshold, load
from rootspace.models import recogniser as recogniser_module
from rootspace.models.folder import _checksum
from rootspace.systems import V

NAMES = ["一", "two", "three", "four", "five"]


def recogniser(backbone: nn.Module | None = None) -> Recogniser:
    torch.manual_seed(0)
    system = V(5, 2, 2)
    embedder = Embedder(backbone or SmallConv(width=4), system.dim, normalise="batch")
    embedder.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return Recogniser(embedder, assign.by_name(system, NAMES), NAMES, Preprocessing(16, 1, "stretch"))


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 1), dtype=np.uint8)


def test_predicts_labels_with_scores() -> None:
    model = recogniser()
    found = model.predict(pixels(4), k=3)
    assert len(found) == 4
    for prediction in found:
        assert len(prediction.labels) == len(set(prediction.labels)) == len(prediction.scores) == 3
        assert list(prediction.scores) == sorted(prediction.scores, reverse=True)
        assert prediction.labels == tuple(NAMES[number] for number in prediction.ids)
        assert prediction.known
        assert prediction.label == prediction.labels[0]
    assert [len(prediction.labels) for prediction in model.predict(pixels(2), k=99)] == [5, 5]
    assert [len(prediction.labels) for prediction in model.predict(pixels(2), k=1)] == [1, 1]


def test_scores_are_cosines_with_the_class_vectors() -> None:
    model = recogniser()
    best = model.predict(pixels(1), k=1)[0]
    vector = model.assignment.vectors(torch.tensor(best.ids[0]))
    cosine = torch.cosine_similarity(model.embed(pixels(1))[0], vector, dim=0)
    assert best.scores[0] == pytest.approx(float(cosine), abs=1e-5)


def test_empty_one_and_many_are_the_same() -> None:
    model = recogniser()
    assert model.predict(pixels(0)) == []
    assert model.predict([]) == []
    assert model.embed(pixels(0)).shape == (0, 5)
    many = pixels(300)
    torch.testing.assert_close(model.embed(many)[299:], model.embed(many[299:]), rtol=1e-4, atol=1e-5)


def test_training_mode_is_left_as_it_was() -> None:
    model = recogniser().train()
    before = model.embedder.norm.running_mean.clone()  # type: ignore[union-attr]
    model.predict(pixels(3))
    assert model.training
    assert torch.equal(before, model.embedder.norm.running_mean)  # type: ignore[union-attr]


def test_files_and_pictures(tmp_path: Path) -> None:
    model = recogniser()
    cells = pixels(2)
    for number, cell in enumerate(cells):
        Image.fromarray(cell[:, :, 0]).save(tmp_path / f"{number}.png")
    files = [tmp_path / "0.png", str(tmp_path / "1.png")]
    assert torch.equal(model.embed(files), model.embed(cells))
    assert torch.equal(model.embed(tmp_path / "0.png"), model.embed(cells[:1]))
    assert torch.equal(model.embed([Image.fromarray(cells[1, :, :, 0])]), model.embed(cells[1:]))
    with pytest.raises(InputError, match=r"none.png: no such file"):
        model.predict([tmp_path / "none.png"])


@pytest.mark.parametrize("images", [pixels(2).astype(np.float32), pixels(2)[:, :8], pixels(2)[0]])
def test_images_of_the_wrong_kind(images: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"images: expected uint8 \(B, 16, 16, 1\), got"):
        recogniser().predict(images)


def test_bad_arguments() -> None:
    model = recogniser()
    with pytest.raises(InputError, match="k: expected"):
        model.predict(pixels(1), k=0)
    with pytest.raises(InputError, match="expected 5 label names"):
        Recogniser(model.embedder, model.assignment, NAMES[:3], model.preprocessing)
    with pytest.raises(InputError, match="gives 9 coordinates"):
        Recogniser(Embedder(SmallConv(width=4), 9), model.assignment, NAMES, model.preprocessing)
    model.embedder.projection.weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match="NaN"):
        model.predict(pixels(1))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_threshold_keeps_its_promise(share: float, count: int) -> None:
    scores = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)).sort(descending=True).values
    found = choose_threshold(scores, share)
    refused = 1 - float(found.accepts(scores).double().mean())
    assert refused == pytest.approx(found.false_rejection)
    assert refused <= share + 1e-9
    if count == 1000:
        assert refused > share - 0.003


def test_calibration(tmp_path: Path) -> None:
    model = recogniser()
    data = ImageSet.from_arrays(pixels(300), np.arange(300) % 5, NAMES)
    threshold = model.calibrate(data, false_rejection=0.3)
    refused = [prediction for prediction in model.predict(pixels(300)) if not prediction.known]
    assert len(refused) == round(300 * threshold.false_rejection)
    assert 60 < len(refused) <= 90
    assert refused[0].label is None
    assert load(model.save(tmp_path / "model")).threshold == threshold
    with pytest.raises(InputError, match="expected validation images"):
        model.calibrate(data.select(np.arange(0)))
    with pytest.raises(InputError, match="false_rejection"):
        model.calibrate(data, false_rejection=1.0)


def test_single_class() -> None:
    model = recogniser()
    single = Recogniser(model.embedder, assign.shuffled(V(5, 2, 2), 1), ["only"], model.preprocessing)
    single.threshold = Threshold(-1.0, 0.5, 0.0)
    assert [prediction.label for prediction in single.predict(pixels(2))] == ["only", "only"]


def test_same_predictions_in_a_new_process(tmp_path: Path) -> None:
    model = recogniser()
    folder = model.save(tmp_path / "model")
    np.save(tmp_path / "pixels.npy", pixels(6))
    script = (
        "import json, sys, numpy, rootspace.models as m; "
        "found = m.load(sys.argv[1]).predict(numpy.load(sys.argv[2]), k=5); "
        "print(json.dumps([[p.labels, p.scores] for p in found]))"
    )
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "pixels.npy")]
    output = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    expected = model.predict(pixels(6), k=5)
    assert [labels for labels, _ in output] == [list(prediction.labels) for prediction in expected]
    for (_, scores), prediction in zip(output, expected, strict=True):
        assert scores == pytest.approx(prediction.scores, abs=1e-6)


def test_shuffled_assignment_is_stored_as_a_key(tmp_path: Path) -> None:
    model = recogniser()
    large = Recogniser(model.embedder, assign.shuffled(V(5, 2, 2), 5, key=3), NAMES, model.preprocessing)
    folder = large.save(tmp_path / "model")
    assert not [name for name in load_file(folder / "model.safetensors") if name.startswith("assignment")]
    again = load(folder)
    assert torch.equal(again.assignment.vectors(torch.arange(5)), large.assignment.vectors(torch.arange(5)))


def test_backbone_of_ones_own(tmp_path: Path) -> None:
    class Own(nn.Sequential):
        feature_dim = 256

    model = recogniser(Own(nn.Flatten()))
    folder = model.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"has a backbone of its own .*Own.*backbone="):
        load(folder)
    assert torch.equal(load(folder, backbone=Own(nn.Flatten())).embed(pixels(2)), model.embed(pixels(2)))
    with pytest.raises(InputError, match="do not give another"):
        load(recogniser().save(tmp_path / "other"), backbone=Own(nn.Flatten()))


def test_saving_replaces_models_only(tmp_path: Path) -> None:
    model = recogniser()
    model.save(tmp_path / "model")
    model.save(tmp_path / "model")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("...", encoding="utf-8")
    with pytest.raises(InputError, match="precious: exists and is no model folder"):
        model.save(tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.txt").exists()
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("config", ['{"model_type": "bert"}', "[]", "{"])
def test_models_of_other_libraries_are_not_replaced(tmp_path: Path, config: str) -> None:
    """transformers calls its two files as we call ours."""
    for name, text in (("config.json", config), ("model.safetensors", "weights of another")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="exists and is no model folder of rootspace"):
        recogniser().save(tmp_path)
    assert (tmp_path / "model.safetensors").read_text(encoding="utf-8") == "weights of another"
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == config


def test_images_are_made_ready_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them as float32 on the device at once would be its memory's end."""
    model, order = recogniser(), []
    made = recogniser_module.to_tensor
    monkeypatch.setattr(recogniser_module, "BATCH", 2)
    monkeypatch.setattr(recogniser_module, "to_tensor", lambda part, device: (order.append("made"), made(part))[1])
    model.embedder.register_forward_hook(lambda *_: order.append("embedded"))
    assert model.embed(pixels(6)).shape == (6, 5)
    assert order == ["made", "embedded"] * 3


def test_a_text_too_long_for_the_name_of_a_file() -> None:
    with pytest.raises(InputError, match="no such file; this model was trained on pictures"):
        recogniser().predict(["blue shoes " * 100])


def edit(change: Callable[[dict[str, Any]], Any], sealed: bool = True) -> Callable[[Path], None]:
    """Change config.json; `sealed` renews its checksum, so that what lies behind it is reached."""

    def apply(folder: Path) -> None:
        config = read_json(folder / "config.json")
        change(config)
        if sealed:
            config.pop("checksum")
            config["checksum"] = _checksum(config)
        write_json(folder / "config.json", config)

    return apply


def edit_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        edit(lambda config: config.update(weights_sha256=sha256(folder / "model.safetensors")))(folder)

    return apply


def flip_a_bit(folder: Path) -> None:
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-5] ^= 4
    (folder / "model.safetensors").write_bytes(raw)


def cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"short")
    edit(lambda config: config.update(weights_sha256=sha256(folder / "model.safetensors")))(folder)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "not json": (lambda f: (f / "config.json").write_text("{", encoding="utf-8"), "not valid JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]", encoding="utf-8"), "expected the configuration"),
    "format": (edit(lambda c: c.update(format="other")), "expected the configuration of a rootspace-model"),
    "version": (edit(lambda c: c.update(version=2)), "model format version 2, this rootspace reads 1"),
    "flipped bit": (flip_a_bit, "model.safetensors: checksum mismatch"),
    "no safetensors": (cut, "not a safetensors file"),
    "edited label": (edit(lambda c: c["label_names"].reverse(), sealed=False), "config.json: checksum mismatch"),
    "no checksum": (edit(lambda c: c.pop("checksum"), sealed=False), "config.json: checksum mismatch"),
    "no system": (edit(lambda c: c.pop("system")), "system is missing"),
    "names": (edit(lambda c: c["label_names"].pop()), "expected 5 label names"),
    "name": (edit(lambda c: c.update(label_names=[1, 2, 3, 4, 5])), "expected a list of strings"),
    "other system": (edit(lambda c: c.update(system="V22:9")), "the model over V22:9"),
    "assignment": (edit(lambda c: c.update(assignment={})), "the assignment lacks"),
    "huge": (edit(lambda c: c["embedder"]["backbone"].update(width=60000)), r"expected torch.float32 \(60000, "),
    "dim": (edit(lambda c: c["embedder"].update(dim=7)), r"projection.weight: expected"),
    "backbone": (edit(lambda c: c["embedder"]["backbone"].update(name="x")), "no encoder is called 'x'"),
    "embedder": (edit(lambda c: c.update(embedder=3)), "expected an object with a backbone"),
    "preprocessing": (edit(lambda c: c.update(preprocessing={})), "preprocessing: expected"),
    "threshold": (edit(lambda c: c.update(threshold={"a": 1})), "threshold: expected"),
    "missing tensor": (edit_weights(lambda t: t.pop("embedder.projection.bias")), "'projection.bias' are missing"),
    "extra tensor": (edit_weights(lambda t: t.update({"embedder.x": torch.ones(1)})), "'x', which the encoder"),
    "shape": (
        edit_weights(lambda t: t.update({"embedder.projection.bias": torch.ones(9)})),
        r"projection.bias: expected torch.float32 \(5,\), got torch.float32 \(9,\)",
    ),
    "codes": (edit_weights(lambda t: t.pop("assignment.codes")), "assignment's table is missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folder(tmp_path: Path, damage: str) -> None:
    folder = recogniser().save(tmp_path / "model")
    apply, message = DAMAGE[damage]
    apply(folder)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_errors_name_the_folder_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"model folder, config\.json is missing$"):
        load("./")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; expected a model folder"):
        load(tmp_path / "none")
