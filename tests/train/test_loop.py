"""The loop: accumulation, bad input, tiny batches, learned losses, divergence, what it shows."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.losses import CosineLoss, LinearHead
from rootspace.models import Embedder, SmallConv, SmallViT
from rootspace.train import DivergedError, EpochRecord, History, Hook, StepRecord, TrainConfig, fit
from rootspace.train.config import learning_rate_at
from rootspace.train.display import Bar
from rootspace.train.history import Log
from rootspace.train.optimiser import adamw

TINY = runpy.run_path(str(Path(__file__).with_name("tiny_run.py")))
CPU = {"device": "cpu", "epochs": 1}


class Flat(nn.Module):
    """A backbone without batch statistics: what it does to an image does not depend on the others."""

    feature_dim = 32

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 32)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.linear(images.flatten(1)))


def plain_model() -> tuple[Embedder, nn.Module]:
    torch.manual_seed(0)
    return Embedder(Flat(), 6), LinearHead(6, 10)


def test_accumulation_equals_the_large_batch() -> None:
    found = []
    for batch_size, accumulation in ((8, 1), (4, 2)):
        embedder, loss = plain_model()
        config = TrainConfig(batch_size=batch_size, gradient_accumulation=accumulation, clip_norm=1.0, **CPU)
        fit(embedder, loss, TINY["images"](), config, progress=False)
        found.append([*embedder.parameters(), *loss.parameters()])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_learns_and_measures() -> None:
    embedder, loss = TINY["model"](dropout=0.0)
    heldout = {"other": TINY["images"](seed=1, per_class=3)}
    config = TrainConfig(batch_size=8, epochs=8, device="cpu", learning_rate=1e-2)
    history = fit(embedder, loss, TINY["images"](), config, heldout=heldout, progress=False)
    assert [record.epoch for record in history.epochs] == list(range(8))
    last = history.epochs[-1]
    assert last.loss < history.epochs[0].loss
    assert last.heldout["other"]["top1"] > 0.8
    assert last.heldout["other"]["top5"] >= last.heldout["other"]["top1"]
    assert last.step == 8 * 15 == history.steps[-1].step
    assert sum(record.accuracy is not None for record in history.steps) >= 8


def test_parameters_of_the_loss_are_trained() -> None:
    for embedder, loss in (plain_model(), TINY["model"]()):
        before = [parameter.clone() for parameter in loss.parameters()]
        assert before
        fit(embedder, loss, TINY["images"](), TrainConfig(batch_size=8, **CPU), progress=False)
        assert all(not torch.equal(a, b) for a, b in zip(before, loss.parameters(), strict=True))


@pytest.mark.parametrize("normalise", ["none", "batch"])
@pytest.mark.parametrize("encoder", [lambda: SmallConv(width=4), lambda: SmallViT(width=8, depth=1, heads=2, size=16)])
def test_batch_of_one(encoder: Any, normalise: str) -> None:
    _, loss = TINY["model"]()
    embedder = Embedder(encoder(), 6, normalise=normalise)
    data = TINY["images"]().select(np.arange(0, 120, 20))
    history = fit(embedder, loss, data, TrainConfig(batch_size=1, **CPU), progress=False)
    assert history.epochs[0].step == 6
    assert all(torch.isfinite(tensor).all() for tensor in embedder.state_dict().values())


def test_set_smaller_than_a_batch_is_one_step() -> None:
    embedder, loss = plain_model()
    data = TINY["images"]().select(np.arange(5))
    assert fit(embedder, loss, data, TrainConfig(**CPU), progress=False).epochs[0].step == 1


def test_bf16() -> None:
    embedder, loss = TINY["model"]()
    config = TrainConfig(batch_size=8, mixed_precision="bf16", **CPU)
    history = fit(embedder, loss, TINY["images"](), config, progress=False)
    assert np.isfinite(history.epochs[0].loss)
    assert all(parameter.dtype == torch.float32 for parameter in embedder.parameters())


class Poison(Hook):
    """Makes the weights NaN after step 7: the loss of the next step is the first that is not finite."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        if step == 6:
            self.embedder.projection.weight.grad.fill_(float("nan"))  # type: ignore[union-attr]


def test_nan_names_the_step(tmp_path: Path) -> None:
    embedder, loss = plain_model()
    config = TrainConfig(batch_size=8, checkpoint_every=5, **CPU)
    with pytest.raises(DivergedError, match=r"the loss became nan at step 8 \(epoch 1") as caught:
        fit(
            embedder,
            loss,
            TINY["images"](),
            config,
            output=tmp_path,
            hooks=[Poison(embedder)],
            progress=False,
        )
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000000005"]


def bad_label() -> ImageSet:
    data = TINY["images"]()
    return ImageSet.from_arrays(data.images_at(range(4)), np.array([0, 1, 2, 10]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_set": bad_label()}, "expected class ids from 0 to 9, got 0 to 10"),
        ({"train_set": TINY["images"]().select(np.arange(0))}, "the training set is empty"),
        ({"heldout": {"x": TINY["images"]().select(np.arange(0))}}, "'x' is empty"),
        ({"heldout": {"x": bad_label()}}, "'x' names other classes"),
        ({"train_set": TINY["images"](channels=3)}, "takes 1 channels, the images have 3"),
        ({"loss": nn.Linear(2, 2)}, "expected `nearest`"),
        ({"resume": True}, "expected the output folder"),
        ({"config": TrainConfig(gradient_accumulation=200, **CPU)}, "at least 200 images"),
        ({"config": TrainConfig(mixed_precision="fp16", **CPU)}, "mixed_precision 'fp16' needs a GPU"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    embedder, loss = TINY["model"]()
    given = {"embedder": embedder, "loss": loss, "train_set": TINY["images"](), "config": TrainConfig(**CPU)}
    with pytest.raises(InputError, match=message) as caught:
        fit(**{**given, **change}, progress=False)
    assert "\n" not in str(caught.value)


def test_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    embedder, loss = plain_model()
    with pytest.raises(InputError, match="cannot be used as output folder"):
        fit(embedder, loss, TINY["images"](), TrainConfig(**CPU), output=tmp_path / "file", progress=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 2.5),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("warmup", 1.0),
        ("seed", -1),
        ("weight_decay", -0.1),
        ("mixed_precision", "fp8"),
        ("device", "tpu"),
        ("log_every", True),
        ("clip_norm", "1"),
    ],
)
def test_bad_configuration(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{field}: expected"):
        TrainConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 10, 101])
def test_learning_rate(schedule: str, steps: int) -> None:
    config = TrainConfig(schedule=schedule, learning_rate=2.0)
    rates = [learning_rate_at(config, step, steps) for step in range(steps)]
    assert all(0 < rate <= 2 for rate in rates)
    assert max(rates) == pytest.approx(2.0)
    peak = int(np.argmax(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_decay_spares_norms_and_biases() -> None:
    embedder, loss = TINY["model"]()
    decayed, spared = adamw(nn.ModuleList([embedder, loss]), TrainConfig()).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.05, 0.0)
    assert all(parameter.ndim >= 2 for parameter in decayed["params"])
    assert all(parameter.ndim < 2 for parameter in spared["params"])


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    embedder, loss = plain_model()
    fit(embedder, loss, TINY["images"](), TrainConfig(epochs=2, device="cpu"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("rootspace.train.loop.show", lambda progress: Bar())
    monkeypatch.setattr("rootspace.train.display.REFRESH_SECONDS", 0.0)
    embedder, loss = plain_model()
    fit(embedder, loss, TINY["images"](), TrainConfig(batch_size=8, log_every=2, **CPU))
    assert "epoch 1/1  loss" in capsys.readouterr().err


def test_cosine_loss_over_an_assignment() -> None:
    embedder, softmax = TINY["model"]()
    history = fit(
        embedder,
        CosineLoss(softmax.assignment),
        TINY["images"](),
        TrainConfig(batch_size=8, **CPU),
        progress=False,
    )
    assert np.isfinite(history.epochs[0].loss)


def test_history_round_trip(tmp_path: Path) -> None:
    log = Log(tmp_path / "metrics.jsonl")
    log.add(StepRecord(1, 0, 0.1, None, 1e-3, 10.0))
    log.add(EpochRecord(0, 1, 0.1, 0.5, 1.0, 10.0, {"a": {"top1": 0.25, "top5": 0.5}}))
    log.close()
    assert History.read(tmp_path / "metrics.jsonl") == log.history()
    (tmp_path / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics.jsonl, line 1: expected a record"):
        History.read(tmp_path / "metrics.jsonl")
