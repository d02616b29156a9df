"""An ONNX file answers as the recogniser does, in onnxruntime, at any batch size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from rootspace import assign, export
from rootspace.errors import InputError
from rootspace.export import writing
from rootspace.export.decoding import DECODE_ABOVE
from rootspace.models import Embedder, Recogniser, Threshold
from rootspace.systems import parse

from .conftest import SIZE, Images, Make

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


class Case(NamedTuple):
    spec: str
    n_classes: int
    kind: str = "shuffled"
    encoder: str = "small_conv"
    normalise: str = "batch"
    threshold: Threshold | None = None
    channels: int = 1
    opset: int = export.OPSET

    def assignment(self) -> assign.Assignment:
        system = parse(self.spec)
        if self.kind == "shuffled":
            return assign.shuffled(system, self.n_classes, key=11)
        if self.kind == "names":
            return assign.by_name(system, [str(number) for number in range(self.n_classes)])
        means = torch.randn(self.n_classes, system.dim, generator=torch.Generator().manual_seed(0))
        return assign.by_similarity(system, means)


CASES = [
    # nothing stored for a class
    Case("V11:100", 9_000),
    Case("V21:108", 600_000, encoder="small_vit", threshold=Threshold(0.4, 0.01, 0.05)),
    Case("V22:41", 600_000, normalise="none", channels=3),
    Case("W3:24", 16_000, encoder="small_vit", normalise="none", opset=18),
    Case("graded:8", 30_000, threshold=Threshold(0.9, 0.005, 0.05)),
    Case("dense:12", 17_000, normalise="none", opset=23),
    # a table in the file
    Case("V22:10", 1_000, encoder="small_vit", threshold=Threshold(0.85, 0.02, 0.05)),
    Case("graded:16", 500, "similarity", threshold=Threshold(0.6, 0.02, 0.05), channels=3),
    Case("dense:32", 300, "names", encoder="small_vit", normalise="none"),
    Case("random:900,12,4", 800, "names", normalise="none"),
    Case("V11:3", 1, threshold=Threshold(0.1, 0.0, 0.05)),
]


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.spec}-{case.kind}-{case.n_classes}")
def test_parity(case: Case, recogniser: Make, images: Images, tmp_path: Path) -> None:
    classes = case.assignment()
    model = recogniser(classes, case.encoder, case.normalise, case.threshold, case.channels)
    path = export.to_onnx(model, tmp_path / "model.onnx", opset=case.opset)[0]
    onnx.checker.check_model(path, full_check=True)
    assert {entry.domain: entry.version for entry in onnx.load(path).opset_import}[""] == case.opset
    if case.n_classes > DECODE_ABOVE:  # nothing is stored for a class but its name
        stored = sum(tensor.nbytes for tensor in model.embedder.state_dict().values())
        inside = min(len(json.dumps(model.label_names, ensure_ascii=False).encode()), writing.NAMES_INSIDE)
        assert path.stat().st_size < stored + inside * (case.n_classes < 100_000) + 300_000
    run = session(path)
    k = min(5, case.n_classes)
    names = [value.name for value in run.get_outputs()]
    assert names == ["embedding", "label", "score"] + ["known"] * (case.threshold is not None)
    assert run.get_inputs()[0].shape == ["batch", SIZE, SIZE, case.channels]
    accepted = []
    for batch in (0, 1, 7, 64):
        pixels = images(batch, 100 + batch, case.channels)
        found = dict(zip(names, run.run(None, {"pixels": pixels}), strict=True))
        dtypes = {"embedding": "float32", "label": "int64", "score": "float32", "known": "bool"}
        assert {name: value.dtype.name for name, value in found.items()} == {name: dtypes[name] for name in names}
        assert found["embedding"].shape == (batch, classes.system.dim)
        assert found["label"].shape == found["score"].shape == (batch, k)
        expected = model.predict(pixels)
        np.testing.assert_allclose(found["embedding"], model.embed(pixels).numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["score"], np.reshape([row.scores for row in expected], (batch, k)), atol=2e-6)
        # the very same answer from the very same embedding
        scores, labels = classes.nearest(torch.from_numpy(found["embedding"]), k)
        apart = (scores.diff(dim=1).abs() > 2e-6).all(1)
        np.testing.assert_array_equal(found["label"][apart.numpy()], labels[apart].numpy())
        if case.threshold is not None:
            assert found["known"].shape == (batch,)
            accepted += found["known"].tolist()
            cut = torch.from_numpy(found["score"])
            assert found["known"].tolist() == case.threshold.accepts(cut).tolist() == [row.known for row in expected]
        assert bool(apart.float().mean() > 0.9) or batch < 64 or case.n_classes == 1
    if case.threshold is not None and case.n_classes > 1:
        assert 0 < sum(accepted) < len(accepted)  # the threshold decides something


def test_the_description(recogniser: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threshold = Threshold(0.5, 0.1, 0.05)
    model = recogniser(assign.shuffled(parse("V22:10"), 20), threshold=threshold)
    folder = model.save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert export.to_onnx(model, tmp_path / "a.onnx", k=2) == [tmp_path / "a.onnx"]
    about = json.loads(session(tmp_path / "a.onnx").get_modelmeta().custom_metadata_map["rootspace"])
    assert about["label_names"] == list(model.label_names)
    assert about["model"]["weights_sha256"] == config["weights_sha256"]
    assert about["model"]["preprocessing"] == {"size": SIZE, "channels": 1, "fit": "ink"}
    assert about["model"]["threshold"]["cosine"] == 0.5
    assert (about["format"], about["version"], about["outputs"][1]) == ("rootspace-export", 1, "label")
    monkeypatch.setattr(writing, "NAMES_INSIDE", 50)
    path, names = export.to_onnx(model, tmp_path / "b.onnx", k=2)
    assert json.loads(names.read_text(encoding="utf-8")) == list(model.label_names)
    about = json.loads(session(path).get_modelmeta().custom_metadata_map["rootspace"])
    assert about["label_names_file"] == names.name
    assert "label_names" not in about
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "b.onnx.labels.json", "model"]


class Gammas(torch.nn.Module):
    """What can be traced, with an operation that ONNX lacks."""

    num_features = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.special.gammainc(images[:, 0, 0, :4].abs() + 1, images[:, 0, 1, :4].abs())


class Branches(torch.nn.Module):
    """What no graph can hold: what is computed depends on the values."""

    num_features = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :4] * (2 if float(images.sum()) > 0 else 3)


def test_what_cannot_be_exported_says_so_and_leaves_nothing(
    recogniser: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = assign.shuffled(parse("V22:10"), 20)
    model = recogniser(classes)
    own = Recogniser(Embedder(Branches(), 10), classes, model.label_names, model.preprocessing)
    with pytest.raises(InputError, match="Branches cannot be traced"):
        export.to_onnx(own, tmp_path / "m.onnx")
    unusual = Recogniser(Embedder(Gammas(), 10), classes, model.label_names, model.preprocessing)
    with pytest.raises(InputError, match=r"cannot be written as ONNX .*: export it as a \.pt2 file"):
        export.to_onnx(unusual, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="18 to 23"):
        export.to_onnx(model, tmp_path / "m.onnx", opset=17)
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export.to_onnx(model, tmp_path / "m.bin")
    with pytest.raises(InputError, match="k: expected"):
        export.to_onnx(model, tmp_path / "m.onnx", k=0)
    monkeypatch.setattr(writing, "ONNX_BYTES", 1000)
    with pytest.raises(InputError, match=r"2 GiB: export it as a \.pt2"):
        export.to_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_file_as_it_was(
    recogniser: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = recogniser(assign.shuffled(parse("V22:10"), 20))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    monkeypatch.setattr(torch.onnx.ONNXProgram, "save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.to_onnx(model, path)
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == ["m.onnx"]
