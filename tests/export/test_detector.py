"""A graph decides about unknown classes by the detector, as the recogniser does."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from rootspace import assign, export
from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.export import decoding
from rootspace.export.decoding import DECODE_ABOVE
from rootspace.models import Recogniser
from rootspace.models.unknown import signals
from rootspace.systems import parse

from .conftest import Images, Make

LOCAL = ("cosine", "margin", "probability")

CASES = [
    # all five signals: sums over the whole system along coordinates, state by state, in closed form, of factors
    ("V22:10", 300, None),
    ("graded:8", 500, None),
    ("W3:12", 700, None),
    ("V11:20 x V11:4", 300, None),
    ("flat(V11:19)", 200, None),
    # no sum over the system
    ("graded:128", 200, None),
    ("random:900,12,4", 800, LOCAL),
    ("even[1^8]", 100, LOCAL),
    # a shuffle that would be undone without a table, but for the softmax over all classes
    ("V11:100", DECODE_ABOVE + 100, ("cosine", "probability", "unused")),
]


@pytest.fixture
def detecting(recogniser: Make, images: Images) -> Make:
    """A recogniser whose detector was fitted on images of known and of other classes."""

    def make(spec: str, n_classes: int, names: tuple[str, ...] | None = None, normalise: str = "batch") -> Recogniser:
        model = recogniser(assign.shuffled(parse(spec), n_classes, key=3), normalise=normalise)
        known, others = (
            ImageSet.from_arrays((images(120, seed) // darker)[..., 0], np.arange(120) % n_classes)
            for seed, darker in ((1, 1), (2, 4))
        )
        model.calibrate(known, 0.3, unknown=others, signals=names)
        return model

    return make


@pytest.mark.parametrize(("spec", "n_classes", "names"), CASES, ids=[case[0] for case in CASES])
def test_parity(
    spec: str, n_classes: int, names: tuple[str, ...] | None, detecting: Make, images: Images, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = detecting(spec, n_classes, names)
    assert model.detector is not None
    assert names is None or model.detector.names == names
    (path,) = export.to_onnx(model, tmp_path / "m.onnx", k=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == ["embedding", "label", "score", "known", "probability"]
    export.to_torch(model, tmp_path / "m.pt2", k=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notices of torch about itself
        program = torch.export.load(tmp_path / "m.pt2").module()
    accepted = []
    for batch in (0, 1, 7, 64):
        pixels = images(batch, 50 + batch)
        expected = model.predict(pixels, k=1)
        probability = np.array([found.probability for found in expected])
        clear = np.abs(probability - model.detector.cut) > 2e-4  # weights of about 100 magnify rounding
        known = np.array([found.known for found in expected], dtype=bool)
        for found in (
            session.run(None, {"pixels": pixels}),
            [x.detach().numpy() for x in program(torch.from_numpy(pixels))],
        ):
            assert found[4].dtype == np.float32
            np.testing.assert_allclose(found[4], probability, atol=2e-4)
            np.testing.assert_array_equal(found[3][clear], known[clear])
        assert clear.sum() > 0.8 * batch or batch < 64
        accepted += known.tolist()
    assert 0 < sum(accepted) < len(accepted)  # the detector decides something


def test_signals_over_several_blocks_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK", 64)
    classes = assign.shuffled(parse("V22:10"), 300, key=3)
    compared = decoding.decoder(classes, 2, compared=True)
    assert isinstance(compared, decoding.Compared)
    assert compared.blocks == 5
    labels = torch.tensor([0, 63, 64, 127, 128, 299])
    assert torch.equal(compared.vectors(labels), classes.vectors(labels))
    unit = torch.nn.functional.normalize(torch.randn(9, 10, generator=torch.Generator().manual_seed(0)), dim=1)
    assert torch.allclose(compared.log_sum(unit, 24.0), classes.log_sum(unit, 24.0), atol=1e-5)
    everything = signals(classes, classes.vectors(torch.arange(300)), ["unused"])["unused"]
    assert not bool(everything.any())


def test_what_is_not_a_number_is_not_known(detecting: Make, images: Images) -> None:
    model = detecting("V22:10", 200, normalise="none")
    with torch.no_grad():
        model.embedder.projection.weight[0] = float("inf")
    embedding, label, _, known, _ = export.Pipeline(model, 3)(torch.from_numpy(images(9)))
    broken = ~embedding.isfinite().all(1)
    assert bool(broken.any())
    assert bool((label[broken] == -1).all())
    assert not bool(known[broken].any())


@pytest.mark.parametrize("spec", ["even[1^8]", "E8"])
def test_a_system_without_a_graph_says_so(spec: str, detecting: Make, tmp_path: Path) -> None:
    model = detecting(spec, 100)
    with pytest.raises(InputError, match="calibrate it again with signals"):
        export.to_torch(model, tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())
