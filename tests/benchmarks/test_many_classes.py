"""The protocol of benchmarks/train_many_classes.py on a tiny task: equal processor time, a search, a stored result."""

import argparse
import json

import pytest
import torch

import gpu
import train_many_classes
from rootspace.train import TrainConfig


@pytest.fixture
def options():
    return argparse.Namespace(rates=[3e-3, 1.2e-2], minutes=0.03, seeds=1, tries=1)


def test_methods_get_the_same_time_and_results_are_stored(task, options, tmp_path):
    path = tmp_path / "tiny.json"
    config = TrainConfig(train_many_classes.ROUNDS, 16)
    stored = train_many_classes.Stored(path, task, ["a", "b"], config, 1)
    for name in ("rootspace", "partial fc"):
        train_many_classes.train_method(name, task, stored, config, options)
    written = json.loads(path.read_text())
    for name in ("rootspace", "partial fc"):
        (run,) = written["results"][name]["runs"]
        assert len(run["top1"]["a"]) == len(run["top1"]["b"]) == len(run["seconds"]) == train_many_classes.ROUNDS
        assert run["images"] == pytest.approx(16 * 60 * 0.03 / run["step_seconds"], rel=0.8)
        assert run["peak_memory_mb"] > 0
        tried = [run for key, run in written["runs"].items() if key.startswith(f"{name}|")]
        assert sorted(run["learning_rate"] for run in tried) == options.rates
        assert run["top1"]["a"][-1] == max(one["top1"]["a"][-1] for one in tried), "not the best on the tuning set"
    again = train_many_classes.Stored(path, task, ["a", "b"], config, 1)
    assert again.runs == written["runs"]


def start_of(task, name):
    return train_many_classes.Start.of(task, train_many_classes.METHODS[name], 0, lambda: 0.0)


def test_a_slower_step_means_fewer_images(task):
    start, config = start_of(task, "paper"), TrainConfig(epochs=1, batch_size=128)
    fast, slow = (train_many_classes.run(task, start, config, {}, 2.0, cost)["images"] for cost in (0.05, 0.5))
    assert fast > 5 * slow


def test_a_run_off_its_time_is_made_again_with_what_a_step_took():
    """Steps of 1 s, and 10 s in every run that the pace knew nothing of."""
    made = []

    def run(step_seconds):
        steps = int(50 / step_seconds)
        made.append(steps)
        return {"setup_seconds": 0.0, "seconds": [steps * 1.0 + 10], "step_seconds": (steps + 10) / steps}

    found = train_many_classes.run_on_time(run, 50.0, 1.0, tries=5)
    assert abs(sum(found["seconds"]) / 50 - 1) <= train_many_classes.TOLERANCE
    assert made == [50, 41]


def test_runs_start_from_the_same_networks(task):
    start, config = start_of(task, "rootspace"), TrainConfig(epochs=1, batch_size=32, device="cpu")
    first, second = (train_many_classes.train(task, start, config, {"a": task.tuning["a"]}, lambda: 0.0) for _ in "ab")
    assert first[0].epochs[-1].loss == second[0].epochs[-1].loss


@pytest.mark.parametrize("rival", ["linear", "partial fc", "system softmax", "neighbour softmax"])
def test_costs_on_a_device_are_measured(rival):
    cost = gpu.loss_cost(lambda: gpu.rivals.build(rival, 300, 16), 8, torch.device("cpu"))
    assert cost["ms"] > 0
    assert (cost["bytes"] > 300) == (rival != "system softmax")
    assert gpu.decode_cost(300, 8, torch.device("cpu"))["ms"] > 0
