"""The command export: files that answer as `rootspace predict` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rootspace import models
from rootspace.data import open_data

from .conftest import Run, tree


def test_onnx(works: Run, model: Path, other_shapes: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    output = tmp_path / "new" / "shapes.onnx"
    result = works("export", model, "--output", output, "-k", 2, "--opset", 19)
    assert result.stdout == f"{output}: {output.stat().st_size:,} bytes for 4 classes\n"
    assert tree(tmp_path) == ["new", "new/shapes.onnx"]
    recogniser = models.load(model)
    data = open_data(other_shapes, recogniser.preprocessing)
    pixels = data.images_at(np.arange(len(data)))
    run = onnxruntime.InferenceSession(output)
    about = json.loads(run.get_modelmeta().custom_metadata_map["rootspace"])
    _, labels, scores, known = run.run(None, {"pixels": pixels})
    for row, expected in enumerate(recogniser.predict(pixels, 2)):
        assert tuple(about["label_names"][label] for label in labels[row]) == expected.labels
        assert scores[row] == pytest.approx(expected.scores, abs=1e-5)
        assert bool(known[row]) == expected.known


def test_torch(works: Run, model: Path, tmp_path: Path) -> None:
    assert works("export", model, "--output", tmp_path / "m.pt2").stdout.endswith("bytes for 4 classes\n")
    works("export", model, "--output", tmp_path / "n.pt2", "--format", "torch")
    assert tree(tmp_path) == ["m.pt2", "n.pt2"]
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    described = {"rootspace": ""}
    torch.export.load(tmp_path / "m.pt2", extra_files=described)
    assert json.loads(described["rootspace"])["model"]["weights_sha256"] == config["weights_sha256"]


def test_a_threshold_that_does_not_count_all_classes_is_warned_of(works: Run, own_model: Path, tmp_path: Path) -> None:
    assert works("export", own_model, "--output", tmp_path / "a.pt2").stderr == ""
    recogniser = models.load(own_model)
    recogniser.add_classes(["more"])
    recogniser.save(own_model)
    warned = works("export", own_model, "--output", tmp_path / "b.pt2").stderr
    assert warned.startswith("warning: the model's threshold was set for fewer classes")
    recogniser.threshold = None
    recogniser.save(own_model)
    warned = works("export", own_model, "--output", tmp_path / "c.pt2").stderr
    assert warned.startswith("warning: the model has no threshold, so the file has no output 'known'")


def test_mistakes(fails: Callable[..., str], model: Path, tmp_path: Path) -> None:
    assert "ends in .onnx or .pt2" in fails("export", model, "--output", tmp_path / "m.bin")
    assert "ends in .pt2" in fails("export", model, "--output", tmp_path / "m.onnx", "--format", "torch")
    assert "--opset is for ONNX" in fails("export", model, "--output", tmp_path / "m.pt2", "--opset", 20)
    assert "18 to 23" in fails("export", model, "--output", tmp_path / "m.onnx", "--opset", 7)
    assert "no such folder" in fails("export", tmp_path / "none", "--output", tmp_path / "m.onnx")
    (tmp_path / "d.onnx").mkdir()
    assert "is a folder" in fails("export", model, "--output", tmp_path / "d.onnx")
    assert tree(tmp_path) == ["d.onnx"]


def test_without_onnxscript_the_extra_is_named(
    fails: Callable[..., str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    assert "pip install 'rootspace[export]'" in fails("export", model, "--output", tmp_path / "m.onnx")
    assert tree(tmp_path) == []
