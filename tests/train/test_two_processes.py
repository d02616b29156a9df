"""Two processes train what one does with twice the batch, and stand by each other when one is in trouble."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn

import rootspace
from rootspace.cli import main
from rootspace.losses import BatchSoftmax, NeighbourSoftmax
from rootspace.train import TrainConfig
from rootspace.train.engine import _synchronise_norms
from rootspace.train.sharding import blocks

SCRIPT = Path(__file__).with_name("together_run.py")
RUNS = runpy.run_path(str(SCRIPT))
CASES, SHARED_OUT = RUNS["CASES"], RUNS["SHARED_OUT"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def two(*arguments: object) -> list[tuple[int, str, str]]:
    """Two processes as a cluster's scheduler starts them, each on a "machine": exit code, output and errors of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**QUIET, **where, "RANK": rank},
        )
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes left of all cases."""
    folder = tmp_path_factory.mktemp("two")
    for code, _, errors in two(SCRIPT, folder):
        assert code == 0, errors
    return folder, [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]


def assert_near(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=1e-3, atol=1e-4, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one_with_twice_the_batch(found: tuple[Path, list[dict[str, Any]]], case: str) -> None:
    folder, (first, second) = found
    weights, history = RUNS["run"](case, 16)
    assert_near(load_file(folder / f"{case}.safetensors"), weights)
    assert first["same"][case]
    assert first["history"][case] == second["history"][case]
    losses, tops = zip(*first["history"][case], strict=True)
    assert losses == pytest.approx([record.loss for record in history.epochs], rel=1e-4)
    assert list(tops) == [record.heldout for record in history.epochs]
    assert 0.2 < tops[-1]["other"]["top1"] < 1  # or equal numbers would say little


def test_the_batches_of_others_matter(found: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, _ = found
    alone, _ = RUNS["run"]("batch", 8, epoch_images=56)
    both = load_file(folder / "batch.safetensors")
    assert any(not torch.allclose(tensor, both[name], rtol=1e-3, atol=1e-3) for name, tensor in alone.items())


@pytest.mark.parametrize("case", SHARED_OUT)
def test_shared_out_weights_learn_the_same(found: tuple[Path, list[dict[str, Any]]], case: str) -> None:
    folder, (first, _) = found
    name = f"{case}, shared out"
    assert_near(load_file(folder / f"{name}.safetensors"), load_file(folder / f"{case}.safetensors"))
    assert first["same"][name]
    assert [top for _, top in first["history"][name]] == [top for _, top in first["history"][case]]


@pytest.mark.parametrize("first", [True, False])
def test_a_run_resumes_in_the_other_form(found: tuple[Path, list[dict[str, Any]]], first: bool) -> None:
    folder, _ = found
    gone_on = load_file(folder / f"resumed {first}.safetensors")
    assert_near(gone_on, load_file(folder / "neighbours, accumulated.safetensors"))
    last = load_file(sorted((folder / f"run {first}" / "checkpoints").iterdir())[-1] / "state.safetensors")
    whole = load_file(folder / f"gone {first}" / "state.safetensors")
    assert_near(whole, last)
    assert {"model/embedder.backbone.blocks.0.0.weight", "optimizer/exp_avg:embedder.backbone.tilt"} <= whole.keys()


def test_nothing_class_sized_is_sent_at_a_step(found: tuple[Path, list[dict[str, Any]]]) -> None:
    sent = found[1][0]["sent"]
    assert sent
    assert all(name.startswith("embedder.") for name in sent)


def test_trouble_of_one_is_told_to_all(found: tuple[Path, list[dict[str, Any]]]) -> None:
    for one in found[1]:
        assert one["trouble"]["other data"].startswith("process 1 has another data than process 0")
        assert "in use by another run" in one["trouble"]["held"]


def test_class_vectors_are_found_once_from_all_parts_of_the_images(found: tuple[Path, list[dict[str, Any]]]) -> None:
    alone, parts = RUNS["prepared"](), [one["prepared"] for one in found[1]]
    assert [part["made"] for part in parts] == [1, 0]
    assert [part["passed"] for part in parts] == [61, 61]  # one more, to see how many features there are
    assert alone["passed"] == 121
    assert parts[0]["codes"] == parts[1]["codes"]
    assert parts[0]["statistics"] == parts[1]["statistics"]
    np.testing.assert_allclose(parts[0]["statistics"], alone["statistics"], rtol=1e-4, atol=1e-4)


TRAIN = ("--device", "cpu", "--width", "4", "--batch-size", "16", "--epochs", "8", "--checkpoint-every", "4")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(5)
    patterns, labels = random.integers(0, 200, (10, 12, 12)), np.repeat(np.arange(10), 40)
    path = tmp_path_factory.mktemp("data") / "d.npz"
    np.savez(path, images=(patterns[labels] + random.integers(0, 50, (400, 12, 12))).astype(np.uint8), labels=labels)
    return path


def torchrun(arrays: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    train = ("-m", "rootspace.cli", "train", str(arrays), "--output", str(output), *TRAIN, *more)
    return subprocess.Popen(
        [sys.executable, *launcher, *train], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=QUIET
    )


def wait_for_a_checkpoint(process: subprocess.Popen[str], output: Path) -> None:
    before = set(output.rglob("step-*"))
    while not set(output.rglob("step-*")) - before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_killed_and_stopped_a_run_goes_on_to_the_same_model(arrays: Path, tmp_path: Path) -> None:
    output = tmp_path / "o"
    with torchrun(arrays, output) as run:
        wait_for_a_checkpoint(run, output)
        ranks = {process.environ().get("RANK"): process for process in psutil.Process(run.pid).children()}
        ranks["1"].kill()
        _, errors = run.communicate(timeout=60)
    told = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(told) == 1, errors
    assert "another of the 2 processes was lost" in told[0]
    assert "--resume" in told[0]

    with torchrun(arrays, output, "--resume") as run:
        wait_for_a_checkpoint(run, output)
        run.send_signal(signal.SIGTERM)
        _, errors = run.communicate(timeout=60)
    told = [line for line in errors.splitlines() if line.startswith("Stopped after step")]
    assert len(told) == 1, errors
    assert not (output / "model").exists()

    train = ("-m", "rootspace.cli", "train", arrays, *TRAIN)
    for place, more in ((output, ("--resume",)), (tmp_path / "whole", ())):
        (code, said, errors), (other, *silent) = two(*train, "--output", place, *more)
        assert (code, other) == (0, 0), errors
        assert "report.html" in said
        assert silent == ["", ""]
    models = [load_file(next((tmp_path / name / "model").glob("*.safetensors"))) for name in ("o", "whole")]
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(tensor, models[1][name]) for name, tensor in models[0].items())

    (code, _, errors), (other, *silent) = two(*train, "--output", output)
    assert (code, other) == (2, 2)
    assert "holds another run" in errors
    assert len(errors.splitlines()) == 1
    assert silent == ["", ""]


def test_a_model_grows_in_two_processes(arrays: Path, tmp_path: Path) -> None:
    small = ("--device", "cpu", "--batch-size", "16", "--epochs", "2")
    trained = CliRunner().invoke(
        main, ["train", str(arrays), "--output", str(tmp_path / "old"), "--width", "4", "--threads", "1", *small]
    )
    assert trained.exit_code == 0, trained.output
    images, labels = np.load(arrays)["images"][:80], np.array(["moon", "sun"])[np.arange(80) // 40]
    np.savez(tmp_path / "new.npz", images=255 - images, labels=labels)
    grow = ("-m", "rootspace.cli", "grow", tmp_path / "old" / "model", tmp_path / "new.npz", "--replay", arrays, *small)
    output = ("--output", tmp_path / "more")
    (code, said, errors), (other, *silent) = two(*grow, *output)
    assert (code, other) == (0, 0), errors
    assert "2 new classes" in said
    assert "epoch 2/2" in errors
    assert silent == ["", ""]
    grown = rootspace.load(tmp_path / "more" / "model")
    assert len(grown.label_names) == 12
    results = json.loads((tmp_path / "more" / "results.json").read_text(encoding="utf-8"))
    assert f"{results['accuracy']['trained']['new']:.2%}" in said
    alone = CliRunner().invoke(main, [*map(str, grow[2:]), "--output", str(tmp_path / "alone")])
    assert alone.exit_code == 0, alone.output
    other_results = json.loads((tmp_path / "alone" / "results.json").read_text(encoding="utf-8"))
    for stage in ("before", "enrolled"):  # each process measures a part
        assert results["accuracy"][stage] == other_results["accuracy"][stage]
    assert json.loads((tmp_path / "more/training/rootspace/run.json").read_text())["processes"] == 2

    for more, message in (
        (output, "holds another run"),
        (("--system", "V22:99", "--output", tmp_path / "o"), "V22:99"),
    ):
        (code, _, errors), (other, *silent) = two(*grow, *more)
        assert (code, other) == (2, 2)
        assert message in errors
        assert len(errors.splitlines()) == 1
        assert silent == ["", ""]


def waited(case: str, folder: Path) -> list[Any]:
    two(SCRIPT.with_name("waiting_run.py"), case, folder)
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def test_a_process_that_works_is_waited_for_without_limit(tmp_path: Path) -> None:
    assert waited("longer", tmp_path) == [[0, 0], [1, None]]


def test_a_process_that_is_silent_is_lost(tmp_path: Path) -> None:
    (message,) = waited("lost", tmp_path)
    assert re.match(r"process 1 of 2 has not been heard of for 0:00:0\d: it was lost, or hangs; .* --resume", message)


def test_a_process_that_is_late_is_not_called_lost(tmp_path: Path) -> None:
    message, _ = waited("late", tmp_path)
    assert message.startswith("another of the 2 processes has kept the others waiting for 0:00:03")
    assert message.endswith("go on with --resume")


def test_a_wrong_option_is_told_by_the_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootspace.cli.launched.time.sleep", lambda seconds: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, said in (("0", "--epochs"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        result = CliRunner().invoke(main, ["train", "x", "--output", "o", "--epochs", "-1"])
        assert result.exit_code == 2
        assert said in result.stderr
        assert bool(result.stderr) == bool(said)


def test_a_validation_loss_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("rootspace.losses.softmax.gathered", lambda labels: calls.append(1) or labels)
    embeddings, labels = torch.randn(4, RUNS["SYSTEM"].dim, requires_grad=True), torch.arange(4)
    for kind in (BatchSoftmax, NeighbourSoftmax):
        loss = RUNS["loss_of"](kind)
        loss(embeddings, labels)
        assert calls == [1]
        with torch.no_grad():
            loss(embeddings, labels)
        loss.eval()(embeddings, labels)
        assert calls == [1]
        calls.clear()


def test_batch_norms_are_synchronised_on_a_gpu_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnNorm(nn.BatchNorm2d):
        pass

    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm1d(3), OwnNorm(2)))
    before = dict(model.named_modules())
    assert _synchronise_norms(model, torch.device("cuda")) == []  # one process
    monkeypatch.setattr("rootspace.train.processes.count", lambda: 2)
    monkeypatch.setattr("rootspace.train.processes.is_main", lambda: True)
    assert _synchronise_norms(model, torch.device("cpu")) == []
    replaced = _synchronise_norms(model, torch.device("cuda"))
    assert isinstance(model[1], nn.SyncBatchNorm)
    assert isinstance(model[2][0], nn.SyncBatchNorm)
    assert model[2][1] is before["2.1"]
    assert model[1].weight is before["1"].weight
    assert model[1].running_mean is before["1"].running_mean
    for parent, name, norm in replaced:
        setattr(parent, name, norm)
    assert dict(model.named_modules()) == before


def test_blocks_of_a_backbone() -> None:
    backbone = RUNS["Blocks"]()
    assert list(blocks(backbone)) == list(backbone.blocks)


def test_shared_out_needs_no_scaler() -> None:
    with pytest.raises(ValueError, match=r"^shard: goes with mixed_precision 'no' or 'bf16'"):
        TrainConfig(shard=True, mixed_precision="fp16")
    with pytest.raises(ValueError, match=r"^shard: expected True or False"):
        TrainConfig(shard=1)  # type: ignore[arg-type]
