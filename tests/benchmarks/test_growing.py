"""benchmarks/growing.py and new_classes.py on a tiny task: every way runs, and stored runs are not repeated."""

import json

import numpy as np
import pytest

import growing
import new_classes
from rootspace.data import ImageSet
from rootspace.experiment import Recipe
from rootspace.models import build
from tasks.base import Task

SIZES = growing.Sizes(first=12, added=4, steps=2, epochs=1, step_epochs=1, batch_size=16)


@pytest.fixture
def task():
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 256, (20, 8, 8, 1))

    def images(per_class):
        labels = np.tile(np.arange(20), per_class)
        noisy = patterns[labels] + generator.normal(0, 30, (len(labels), 8, 8, 1))
        return ImageSet.from_arrays(noisy.clip(0, 255).astype(np.uint8), labels)

    backbone = lambda: build({"name": "small_conv", "width": 4})  # noqa: E731
    return Task("tiny", images(6), {"a": images(2)}, {"b": images(2)}, backbone, None, None, {})


def test_every_way_grows_step_by_step_and_is_not_run_twice(task, tmp_path, monkeypatch):
    path = tmp_path / "growing.json"
    bench = growing.Bench(task, SIZES, growing.Stored(path, {}))
    for seed in (0, 1):
        for name, way in growing.WAYS.items():
            bench.search_and_repeat(name, seed, [1e-3, 4e-3] if way.replay is not None else [1e-3])
        for name in growing.SCRATCH:
            bench.from_scratch(name, seed)
    runs = json.loads(path.read_text())["runs"]
    for name in growing.WAYS:
        steps = runs[f"{name}|0.001|0"]
        assert [step["step"] for step in steps] == [0, 1, 2]
        assert set(steps[0]["top1"]["b"]) == {"old", "all"}
        assert set(steps[2]["top1"]) == {"a", "b"}
        assert steps[2]["top1"]["b"]["all"] == pytest.approx(
            (steps[2]["top1"]["b"]["old"] * 16 + steps[2]["top1"]["b"]["new"] * 4) / 20
        )
    text = growing.table(runs, ["b"], ["a"])
    assert len(text.splitlines()) == 2 + len(growing.WAYS) + len(growing.SCRATCH)
    monkeypatch.setattr(growing, "run", lambda *_: pytest.fail("ran again"))
    again = growing.Bench(task, SIZES, growing.Stored(path, {}))
    again.search_and_repeat("rootspace, enrolled", 1, [1e-3])
    with pytest.raises(SystemExit, match="other settings"):
        growing.Stored(path, {"task": "another"})


def test_new_rows_leave_the_old_ones(task):
    way = growing.WAYS["layer, rows at mean embeddings"]
    config = growing.TrainConfig(epochs=1, batch_size=16)
    embedder, head = growing.first_training(task, "layer", "auto", 12, config)
    for new in ("images", "any"):
        _, wider = growing.grown_layer(
            embedder, head, growing.classes_of(task.train, 12, 20), growing.replace(way, new=new), 0
        )
        assert wider.n_classes == 20
        assert bool((wider.linear.weight[:12] == head.linear.weight).all())
        assert float(wider.linear.weight.detach()[12:].norm(dim=1).min()) > 0


@pytest.mark.parametrize("name", new_classes.MODELS)
def test_every_score_is_judged(task, name, monkeypatch):
    monkeypatch.setattr(new_classes, "KNOWN", 12)
    monkeypatch.setattr(new_classes, "UNKNOWN", 8)
    recipe, _, *more = new_classes.MODELS[name]
    monkeypatch.setitem(new_classes.MODELS, name, (recipe, 1, *more))
    found = new_classes.run(task, name, 0)
    assert ("maximum softmax" if recipe is None else "all of them") in found["scores"]
    for judged in found["scores"].values():
        assert all(0 <= judged[of] <= 1 for of in ("auroc", "known_refused", "unknown_refused"))
    assert name in new_classes.table({f"{name}|0": found})
    assert recipe is None or isinstance(recipe, Recipe)
