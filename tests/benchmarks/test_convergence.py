"""The protocol of benchmarks/convergence.py on a tiny task: what is searched, chosen, stored, resumed and drawn."""

import json

import pytest
import torch

import convergence
import plot_convergence
import tables
from rootspace.experiment import Recipe
from rootspace.train import TrainConfig


@pytest.mark.parametrize("name", ["rootspace", "linear", "linear, started at our vectors", "paper"])
def test_every_kind_of_method_runs_and_says_what_it_found(task, name):
    method = convergence.METHODS[name]
    config = TrainConfig(epochs=2, batch_size=20)
    found = convergence.run(task, method, method.normalise[0], config, {**task.tuning, **task.untouched})
    assert {held: len(curve) for held, curve in found["top1"].items()} == {"a": 2, "b": 2}
    assert (found["head_parameters"] > 0) == name.startswith("linear")
    assert len(found["seconds"]) == 2
    assert found["setup_seconds"] >= 0
    json.dumps(found)


def test_a_started_layer_starts_at_the_vectors(task):
    prepared = convergence.prepare(task.train, Recipe(backbone={"name": "small_conv", "width": 4}), 0)
    assignment = prepared.loss.assignment
    head = convergence.started(assignment)
    labels = torch.arange(20)
    assert torch.equal(head.nearest(assignment.vectors(labels))[1][:, 0], labels)


def test_the_setting_is_chosen_on_tuning_sets_alone(task):
    asked = []

    def once(normalise, config):
        asked.append((normalise, config.learning_rate, config.seed))
        right = config.learning_rate if normalise == "batch" else 0.0
        return {
            "normalise": normalise,
            "learning_rate": config.learning_rate,
            "top1": {"a": [0.9, right], "b": [0.9, 1 - right]},
        }

    method = convergence.METHODS["linear"]
    found = convergence.search_and_repeat(task, method, TrainConfig(), (0.1, 0.3, 0.2), 3, once)
    assert [one["learning_rate"] for one in found["runs"]] == [0.3] * 3
    assert asked[-2:] == [("batch", 0.3, 1), ("batch", 0.3, 2)]
    assert len(asked) == 2 * 3 + 2


def test_results_are_stored_at_once_and_drawn(task, tmp_path, capsys):
    path = tmp_path / "tiny.json"
    config = TrainConfig(epochs=2, batch_size=20)
    stored = convergence.Stored(path, task, ["a", "b"], config, 1)
    one = convergence.run(task, convergence.METHODS["rootspace"], "batch", config, {**task.tuning, **task.untouched})
    stored.add("rootspace|batch|0.006|0", one)
    again = convergence.Stored(path, task, ["a", "b"], config, 1)
    assert again.runs == json.loads(json.dumps(stored.runs))
    again.finish("rootspace", {"runs": [one]})
    with pytest.raises(SystemExit, match="other settings"):
        convergence.Stored(path, task, ["a"], config, 1)
    text = tables.table_of(json.loads(path.read_text()), "b")
    assert text.splitlines()[0].startswith("| method | epoch 1 | epoch 2 | s to 90 %")
    assert text.splitlines()[2].startswith("| rootspace |")
    figure = plot_convergence.draw([path])
    assert len(figure.axes) == 2
    plot_convergence.plt.close(figure)
