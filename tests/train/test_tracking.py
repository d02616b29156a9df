"""Trackers get what metrics.jsonl has, each step once, also where a run was broken off and resumed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from rootspace.errors import InputError, MissingExtraError
from rootspace.files import read_json
from rootspace.train import Hook, TrainConfig, fit
from rootspace.train.history import History
from rootspace.train.tracking import scalars

tracking = pytest.importorskip("accelerate.tracking")
TINY = runpy.run_path(str(Path(__file__).with_name("tiny_run.py")))


class Break(Hook):
    """Ends the run at a step as a fault of the program does: nothing is saved."""

    name = "tell"  # as the hook it takes the place of: the run is the same

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch(self, step: int, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        if step == self.step:
            raise RuntimeError("broken")


def logged(history: History) -> dict[str, list[tuple[int, float]]]:
    """Every number of a history by tag, with its step."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in (*history.steps, *history.epochs):
        for name, value in scalars(record).items():
            found.setdefault(name, []).append((record.step, pytest.approx(value, rel=1e-6)))
    return found


def seen(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tracking" / "rootspace"))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def test_tensorboard_shows_what_was_measured(tmp_path: Path) -> None:
    TINY["run"](tmp_path, track=("tensorboard",))
    history = History.read(tmp_path / "metrics.jsonl")
    assert {"train/loss", "train/learning_rate", "epoch/loss", "heldout/other/top1"} <= set(seen(tmp_path))
    assert seen(tmp_path) == logged(history)
    assert [step for step, _ in seen(tmp_path)["heldout/other/top5"]] == [7, 14, 21]


def break_off(output: Path, track: str) -> None:
    """A run that ends after step 11, logged to step 10, with a checkpoint of step 9."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TINY["run"].__globals__, "Tell", lambda: Break(11))
        with pytest.raises(RuntimeError, match="broken"):
            TINY["run"](output, track=(track,))


def test_broken_off_and_resumed(tmp_path: Path) -> None:
    break_off(tmp_path, "tensorboard")
    assert seen(tmp_path)["train/loss"][-1][0] == 10
    TINY["run"](tmp_path, resume=True, track=("tensorboard",))
    assert seen(tmp_path) == logged(History.read(tmp_path / "metrics.jsonl"))
    configurations = list((tmp_path / "tracking").rglob("hparams.yml"))
    assert len(configurations) == 1
    text = configurations[0].read_text(encoding="utf-8")
    assert "learning_rate: 0.006" in text
    assert "NeighbourSoftmax" in text


def test_is_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    TINY["run"](tmp_path, epochs=1)
    assert not (tmp_path / "tracking").exists()
    assert "track" not in read_json(tmp_path / "run.json")["config"]
    TINY["run"](tmp_path, epochs=1, resume=True, track=["tensorboard"])  # nothing is left to train


def tiny_fit(output: Path | None, *track: str) -> None:
    embedder, loss = TINY["model"]()
    config = TrainConfig(epochs=1, batch_size=40, device="cpu", track=track)
    fit(embedder, loss, TINY["images"](), config, output=output, progress=False)


def test_what_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [tracking.LoggerType.TENSORBOARD])
    with pytest.raises(MissingExtraError, match="track: 'wandb' needs a package: pip install wandb"):
        tiny_fit(tmp_path / "a", "tensorboard", "wandb")
    with pytest.raises(MissingExtraError, match="pip install comet-ml"):
        tiny_fit(tmp_path / "a", "comet_ml")
    with pytest.raises(InputError, match=r"track: expected some of aim, .*tensorboard.*, got 'all'"):
        tiny_fit(tmp_path / "a", "all")
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="'tensorboard' writes into the output folder"):
        tiny_fit(None, "tensorboard")
    for wrong in ("tensorboard", [1], None):
        with pytest.raises(InputError, match="track: expected a list of names"):
            TrainConfig(track=wrong)  # type: ignore[arg-type]
    assert TrainConfig(track=["a", "b", "a"]).track == ("a", "b")  # type: ignore[arg-type]


class Unreachable(tracking.GeneralTracker):
    """A service that cannot be used: when it is made, or when it is first told something."""

    name, requires_logging_directory, made = "unreachable", False, False

    def __init__(self, project: str, **options: Any) -> None:
        super().__init__()
        if not self.made:
            raise ConnectionError("no API key\nconfigured")

    tracker = None

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        raise RuntimeError

    def finish(self) -> None: ...


@pytest.mark.parametrize(("made", "reason"), [(False, "no API key configured"), (True, "RuntimeError")])
def test_a_service_that_cannot_be_reached(
    made: bool, reason: str, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "unreachable", Unreachable)
    monkeypatch.setattr(Unreachable, "made", made)
    with pytest.raises(
        InputError, match=rf"^track: 'unreachable' cannot be started \({reason}\); log in, or .* --track$"
    ):
        tiny_fit(None, "memory", "unreachable")


class Memory(tracking.GeneralTracker):
    """Keeps what it is told."""

    name, requires_logging_directory = "memory", False
    made: list[Memory]

    def __init__(self, project: str, **options: Any) -> None:
        super().__init__()
        self.options, self.told, self.rows, self.finished = options, [], [], 0
        type(self).made.append(self)

    @property
    def tracker(self) -> Any:
        return self.rows

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.told.append(values)

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self.rows.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    """A tracker of one's own, by the name under which it is registered."""
    Memory.made = []
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "memory", Memory)
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", type("Wandb", (Memory,), {"name": "wandb"}))
    monkeypatch.setattr(tracking, "_available_trackers", [tracking.LoggerType.WANDB])
    return Memory


def test_a_tracker_of_ones_own_also_without_a_folder(memory: type[Memory]) -> None:
    tiny_fit(None, "memory")
    (one,) = memory.made
    assert [step for step, _ in one.rows] == [3, 3]
    assert one.rows[1][1]["epoch/loss"] > 0
    assert one.told[0]["epochs"] == 1
    assert one.finished == 1


def test_a_run_of_weights_and_biases_goes_on(memory: type[Memory], tmp_path: Path) -> None:
    break_off(tmp_path, "wandb")
    TINY["run"](tmp_path, resume=True, track=("wandb",))
    first, second = memory.made
    assert first.options == second.options
    assert first.options["resume"] == "allow"
    assert Path(first.options["dir"]) == tmp_path / "tracking"
    assert (len(first.told), len(second.told)) == (1, 0)
    assert first.finished == second.finished == 1
    assert (first.rows[-1][0], second.rows[0][0]) == (10, 10)
