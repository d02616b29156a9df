"""A run that was killed or stopped comes to the weights of one that was not."""

from __future__ import annotations

import hashlib
import json
import random
import runpy
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rootspace.data import Numbered
from rootspace.errors import InputError
from rootspace.files import read_json, write_json
from rootspace.train import Hook, Interrupted, TrainConfig, checkpoint, fit
from rootspace.train.history import History
from rootspace.train.setup import _as_json_list

SCRIPT = Path(__file__).with_name("tiny_run.py")
TINY = runpy.run_path(str(SCRIPT))
STEPS = 21  # 120 images / 16 a step = 7 steps, 3 epochs


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Path]:
    output = tmp_path_factory.mktemp("runs") / "whole"
    return TINY["run"](output), output


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


class StopAt(Hook):
    """Sends this process a signal during one step."""

    name = "tell"  # stands where the script's hook stands, so that the run counts as the same

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        if step == self.step:
            self.step = -1  # once, though a step may have several batches
            signal.raise_signal(self.number)


def test_same_seed_same_weights(undisturbed: tuple[dict[str, Tensor], Path]) -> None:
    assert_same(TINY["run"](None), undisturbed[0])


def test_log_interval_does_not_change_weights(undisturbed: tuple[dict[str, Tensor], Path]) -> None:
    assert_same(TINY["run"](None, log_every=5, checkpoint_every=0), undisturbed[0])


def test_other_seed_other_weights(undisturbed: tuple[dict[str, Tensor], Path]) -> None:
    other = TINY["run"](None, seed=1)
    assert any(not torch.equal(tensor, other[name]) for name, tensor in undisturbed[0].items())


def test_killed_run_resumes_to_the_same_weights(undisturbed: tuple[dict[str, Tensor], Path], tmp_path: Path) -> None:
    step = random.SystemRandom().randrange(1, STEPS)
    with subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == step:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL, f"killed at step {step}"
    assert_same(TINY["run"](tmp_path, resume=True), undisturbed[0])
    history, whole = History.read(tmp_path / "metrics.jsonl"), History.read(undisturbed[1] / "metrics.jsonl")
    assert [(r.step, r.loss) for r in history.steps] == [(r.step, r.loss) for r in whole.steps]
    assert [(r.step, r.loss, r.heldout) for r in history.epochs] == [(r.step, r.loss, r.heldout) for r in whole.epochs]


@pytest.mark.parametrize(("step", "number"), [(4, signal.SIGINT), (13, signal.SIGTERM), (6, signal.SIGINT)])
def test_stopped_run_resumes(
    undisturbed: tuple[dict[str, Tensor], Path],
    tmp_path: Path,
    step: int,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setitem(TINY["run"].__globals__, "Tell", lambda: StopAt(step, number))
    with pytest.raises(Interrupted, match=rf"stopped after step {step + 1} of {STEPS}.*{tmp_path}.*--resume"):
        TINY["run"](tmp_path)
    assert signal.getsignal(number) is before
    monkeypatch.undo()
    assert_same(TINY["run"](tmp_path, resume=True), undisturbed[0])


def test_finished_run_resumes_to_itself(undisturbed: tuple[dict[str, Tensor], Path]) -> None:
    assert_same(TINY["run"](undisturbed[1], resume=True), undisturbed[0])


def test_keeps_two_checkpoints_and_no_pickle(undisturbed: tuple[dict[str, Tensor], Path]) -> None:
    files = [path for path in undisturbed[1].rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".safetensors", ""}
    names = [path.name for path in sorted((undisturbed[1] / "checkpoints").iterdir())]
    assert names == ["step-0000000018", "step-0000000021"]


def tiny_fit(output: Path, resume: bool = False, **changes: Any) -> None:
    embedder, loss = TINY["model"]()
    config = TrainConfig(**{"epochs": 1, "batch_size": 40, "device": "cpu", **changes})
    fit(embedder, loss, TINY["images"](), config, output=output, resume=resume, progress=False)


def test_output_folder_with_another_run(tmp_path: Path) -> None:
    tiny_fit(tmp_path)
    with pytest.raises(InputError, match="holds another run"):
        tiny_fit(tmp_path)


def test_output_folder_in_use(tmp_path: Path) -> None:
    lock = (
        "import fcntl, os, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print(os.getpid(), file=file, flush=True); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", lock, str(tmp_path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(InputError, match=rf"in use by another run \(process {holder.pid}\)"):
            tiny_fit(tmp_path)
        holder.kill()
    tiny_fit(tmp_path)  # the lock of a dead process is stale, its file notwithstanding


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.1}, "cannot be resumed with learning_rate 0.1: the run began with 0.006"),
        ({"epochs": 2}, "epochs 2"),
    ],
)
def test_resume_with_another_configuration(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tiny_fit(tmp_path)
    with pytest.raises(InputError, match=message):
        tiny_fit(tmp_path, resume=True, **changes)


def test_resume_with_other_data_or_model(tmp_path: Path) -> None:
    tiny_fit(tmp_path)
    embedder, loss = TINY["model"]()
    config = TrainConfig(epochs=1, batch_size=40, device="cpu")
    with pytest.raises(InputError, match="its data differs"):
        fit(embedder, loss, TINY["images"](seed=5), config, output=tmp_path, resume=True, progress=False)
    wider = type(embedder)(type(embedder.backbone)(width=8), 6)
    with pytest.raises(InputError, match=r"shape|does not hold|do not have"):
        fit(wider, loss, TINY["images"](), config, output=tmp_path, resume=True, progress=False)


def test_resume_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to resume"):
        tiny_fit(tmp_path, resume=True)


@pytest.mark.parametrize("damage", ["tensors", "missing", "version", "json"])
def test_damaged_checkpoint(tmp_path: Path, damage: str) -> None:
    tiny_fit(tmp_path)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    if damage == "tensors":
        raw = bytearray((newest / "state.safetensors").read_bytes())
        raw[-1] ^= 1
        (newest / "state.safetensors").write_bytes(raw)
    elif damage == "missing":
        (newest / "state.safetensors").unlink()
    elif damage == "version":
        write_json(newest / "state.json", {**read_json(newest / "state.json"), "version": 99})
    else:
        (newest / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"checksum|no such file|version 99|not valid JSON") as caught:
        tiny_fit(tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_a_run_is_known_by_what_older_versions_wrote(tmp_path: Path) -> None:
    TINY["run"](tmp_path, epochs=1)
    images = TINY["images"]()
    some = np.unique(np.linspace(0, len(images) - 1, 64).astype(np.int64))
    digest = hashlib.sha256(images.labels.tobytes())
    digest.update(json.dumps(list(images.label_names)).encode())
    digest.update(images.images_at(some).tobytes())
    assert read_json(tmp_path / "run.json")["data"]["sha256"] == digest.hexdigest()


def test_names_of_very_many_classes_are_no_list() -> None:
    for names in (Numbered("Ölbaum", 10_000), ["a"], []):
        assert b"".join(_as_json_list(names)) == json.dumps(list(names)).encode()
    tracemalloc.start()
    assert sum(map(len, _as_json_list(Numbered("image", 200_000)))) > 2_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


# ---------------------------------------------------------------------- what a checkpoint takes


def test_a_checkpoint_copies_no_tensor_that_it_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(30, 20)
    tensors = {
        "a": weight,
        "tied": weight,
        "turned": torch.randn(20, 30).T,
        "step": torch.tensor(3.0),
        "none": weight[:0],
    }
    copied = []
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda self, **how: copied.append(self.shape) or clone(self, **how))
    path = checkpoint.save(tmp_path, 1, {}, tensors)
    assert copied.count(weight.shape) == 1
    _, found = checkpoint.load(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
