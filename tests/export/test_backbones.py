"""Encoders of texts and of other libraries in ONNX: what onnxruntime gives is what the recogniser gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rootspace import export
from rootspace.assign import by_name
from rootspace.data import AnyPreprocessing, Preprocessing, TextPreprocessing
from rootspace.errors import InputError
from rootspace.export import writing
from rootspace.models import Embedder, Recogniser, build
from rootspace.systems import parse

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

WORDS = ("red", "blue", "shoe", "boot", "oak")
NAMES = [f"kind {number}" for number in range(6)]
Made = tuple[dict[str, Any], AnyPreprocessing]


def small_text() -> Made:
    return {"name": "small_text", "width": 8}, TextPreprocessing(16)


def described(config: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return found


def tiny_bert() -> Made:
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    words = {word: number for number, word in enumerate(("[PAD]", "[UNK]", *WORDS))}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=12, **sizes)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return {"name": "hf-text:bert", "config": described(config)}, TextPreprocessing(6, tokenizer.to_str())


def tiny_clip() -> Made:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.CLIPVisionConfig(image_size=16, patch_size=8, **sizes)
    return {"name": "hf:clip", "config": described(config)}, Preprocessing(16, 3, "crop")


def resnet() -> Made:
    pytest.importorskip("timm")
    return {"name": "timm:resnet10t"}, Preprocessing(32, 3, "crop")


def model(made: Made) -> Recogniser:
    torch.manual_seed(0)
    encoder, preprocessing = made
    system = parse("graded:16")
    return Recogniser(Embedder(build(encoder), 16), by_name(system, NAMES), NAMES, preprocessing)


def some(preprocessing: AnyPreprocessing, count: int) -> np.ndarray:
    random = np.random.default_rng(count)
    if isinstance(preprocessing, TextPreprocessing):
        return preprocessing.cells([" ".join(random.choice(WORDS, random.integers(1, 6))) for _ in range(count)])
    return random.integers(0, 256, (count, *preprocessing.shape), dtype=np.uint8)


@pytest.mark.parametrize("make", [small_text, tiny_bert, tiny_clip, resnet], ids=lambda make: make.__name__)
def test_parity(make: Callable[[], Made], tmp_path: Path) -> None:
    recogniser = model(make())
    (path,) = export.to_onnx(recogniser, tmp_path / "m.onnx", k=2)
    onnx.checker.check_model(path, full_check=True)
    run = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [value.name for value in run.get_outputs()] == ["embedding", "label", "score"]
    for count in (1, 7, 64):
        cells = some(recogniser.preprocessing, count)
        embedding, label, score = run.run(None, {"pixels": cells})
        own = recogniser.embed(cells)
        np.testing.assert_allclose(embedding, own.numpy(), rtol=1e-3, atol=1e-5 * float(own.abs().max()))
        scores, labels = recogniser.assignment.nearest(own, 2)
        np.testing.assert_allclose(score, scores.numpy(), atol=1e-5)
        apart = (scores.diff(dim=1).abs() > 1e-4).all(1).numpy()
        np.testing.assert_array_equal(label[apart], labels.numpy()[apart])
        assert apart.mean() > 0.9 or count < 64


def test_what_came_out_wrong_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser = model(small_text())
    before = tmp_path / "m.onnx"
    before.write_bytes(b"before")

    def collide(graph: Any, outputs: list[str]) -> None:
        for value, name in zip(graph.outputs, outputs, strict=True):
            value.name = name

    monkeypatch.setattr(writing, "_name", collide)  # as the exporter itself names outputs
    with pytest.raises(InputError, match=r"not valid \(.*embedding.*\), so it was not kept"):
        export.to_onnx(recogniser, before)
    assert before.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
