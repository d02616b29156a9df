"""A class set that grows: ten steps of a hundred characters more, after training on the first thousand.

    python benchmarks/growing.py --output benchmarks/results/growing.json

Two designs of typefaces train, others test. Every way to grow starts from the same two trained networks, one with
predefined vectors and one with a learned linear layer, and sees at each step the images of the new classes and, where
it replays, as many of old ones as its share says. Learning rates are chosen with the first seed, after the last step,
by the accuracy on all classes in the task's tuning faces; what is reported is measured on its untouched faces.
"From scratch" trains anew on all images of all classes so far. The result file is written after every run, and a run
that it already holds is not repeated.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from rootspace import report
from rootspace.data import ImageSet, with_label_names
from rootspace.evaluate import accuracy, embed_all
from rootspace.experiment import Recipe, loss_of, prepare
from rootspace.experiment.growing import replayed
from rootspace.files import read_json, write_json
from rootspace.losses import LinearHead
from rootspace.models import Embedder, Recogniser, build
from rootspace.systems import parse, smallest
from rootspace.train import TrainConfig, fit
from tasks.base import Task
from tasks.characters import characters

#: The best rates of the first training, ours and the layer's (benchmarks/results/characters-1000.json).
FIRST_RATES = {"ours": 2.4e-2, "layer": 1.2e-2}


@dataclass(frozen=True)
class Way:
    """How classes are added: to which network, in which rows or vectors, and whether and how it trains on.

    new: "images" (vectors near mean embeddings; rows at mean embeddings) or "any" (vectors by name; random rows).
    replay: the share of old images, or None for no training. enlarge: a system to move to at the first step, or a
    family, to whose smallest member that has room the model moves whenever its own system is full. epochs: of a step,
    where not the usual number: with nine old images to a new one, one epoch is 6,000 images, and three of equal shares
    are 3,600.
    """

    start: str = "ours"
    new: str = "images"
    replay: float | None = 0.5
    system: str = "auto"
    enlarge: str | None = None
    epochs: int | None = None


WAYS = {
    "rootspace, enrolled": Way(replay=None),
    "rootspace, trained on, replay 0.5": Way(),
    "rootspace, trained on, replay 0": Way(replay=0.0),
    "rootspace, trained on, replay 0.9": Way(replay=0.9, epochs=1),
    "rootspace, V22 at n_min, enlarged when full": Way(system="V22", enlarge="V22"),
    "layer, rows at mean embeddings": Way("layer", replay=None),
    "layer, rows at mean embeddings, trained on, replay 0.5": Way("layer"),
    "layer, rows at mean embeddings, trained on, replay 0.9": Way("layer", replay=0.9, epochs=1),
    "layer, random rows, trained on, replay 0.5": Way("layer", new="any"),
    "layer, rows at mean embeddings, trained on, replay 0": Way("layer", replay=0.0),
}
SCRATCH = {"rootspace, from scratch": "ours", "layer, from scratch": "layer"}


@dataclass(frozen=True)
class Sizes:
    """The first classes, how many are added at a step, and how many steps; epochs of the first training and a step."""

    first: int = 1000
    added: int = 100
    steps: int = 10
    epochs: int = 5
    step_epochs: int = 3
    batch_size: int = 128


def classes_of(images: ImageSet, low: int, high: int) -> ImageSet:
    """The images of classes low .. high - 1, with the names of all classes up to there."""
    return with_label_names(
        images.select((images.labels >= low) & (images.labels < high)), images.label_names[:high], unknown="drop"
    )


def first_training(task: Task, start: str, system: str, n_classes: int, config: TrainConfig) -> tuple[Embedder, Any]:
    """Train on the first classes: the embedder, and an assignment or a linear layer."""
    images = classes_of(task.train, 0, n_classes)
    torch.manual_seed(config.seed)  # the backbone's weights are drawn before `prepare` seeds its own
    prepared = prepare(images, Recipe(system=system), config.seed, baseline=start == "layer", backbone=task.backbone())
    config = replace(config, learning_rate=FIRST_RATES[start])
    fit(prepared.embedder, prepared.loss, images, config, augment=task.augment, hooks=prepared.hooks, progress=False)
    return prepared.embedder, getattr(prepared.loss, "assignment", prepared.loss)


def run(
    task: Task, way: Way, sizes: Sizes, first: tuple[Embedder, Any], config: TrainConfig, faces: Mapping[str, ImageSet]
) -> list[dict[str, Any]]:
    """Grow step by step from the first training: top-1 after each step, and the processor time it took."""
    embedder, classifier = copy.deepcopy(first)
    results = [{"step": 0, "seconds": 0.0, "top1": tested(embedder, classifier, faces, sizes.first, sizes.first)}]
    for step in range(1, sizes.steps + 1):
        begun = time.process_time()
        low = sizes.first + (step - 1) * sizes.added
        high = low + sizes.added
        new, old = classes_of(task.train, low, high), classes_of(task.train, 0, low)
        grower = grown_layer if way.start == "layer" else grown_model
        embedder, classifier = grower(embedder, classifier, new, way, config.seed * 100 + step)
        if way.replay is not None:
            train_on(embedder, classifier, new, old, way.replay, replace(config, seed=config.seed * 100 + step), task)
        seconds = time.process_time() - begun
        tested_on = {**faces, **(task.tuning if step == sizes.steps else {})}
        results.append(
            {"step": step, "seconds": round(seconds, 3), "top1": tested(embedder, classifier, tested_on, low, high)}
        )
    return results


def grown_model(embedder: Embedder, assignment: Any, new: ImageSet, way: Way, seed: int) -> tuple[Embedder, Any]:
    """Predefined vectors for the new classes, as `Recogniser.add_classes` gives them."""
    low = assignment.n_classes
    model = Recogniser(embedder, assignment, new.label_names[:low], new.preprocessing)
    if way.enlarge is not None:
        larger = parse(way.enlarge) if ":" in way.enlarge else smallest(way.enlarge, new.n_classes)
        if larger.dim > model.embedder.dim:
            model.enlarge(larger)
    model.add_classes(new.label_names[low:], new if way.new == "images" else None)
    return model.embedder, model.assignment


def grown_layer(embedder: Embedder, head: LinearHead, new: ImageSet, way: Way, seed: int) -> tuple[Embedder, Any]:
    """New rows of a learned layer: at random as `nn.Linear` draws them, or at mean embeddings (imprinted weights)."""
    torch.manual_seed(seed)
    wider = LinearHead(head.dim, new.n_classes)
    with torch.no_grad():
        if way.new == "images":
            embeddings, labels = embed_all(embedder, new)
            rows = torch.zeros_like(wider.linear.weight)
            rows.index_add_(0, torch.from_numpy(labels), normalize(torch.from_numpy(embeddings), dim=1))
            # as long as the rows that are there, and with their mean bias
            wider.linear.weight.copy_(normalize(rows, dim=1) * head.linear.weight.norm(dim=1).mean())
            wider.linear.bias.fill_(float(head.linear.bias.mean()))
        wider.linear.weight[: head.n_classes] = head.linear.weight
        wider.linear.bias[: head.n_classes] = head.linear.bias
    return embedder, wider


def train_on(
    embedder: Embedder, classifier: Any, new: ImageSet, old: ImageSet, share: float, config: TrainConfig, task: Task
) -> None:
    images, epoch_images = replayed(
        new, with_label_names(old, new.label_names) if share else None, share, config.epochs, config.seed
    )
    loss = classifier if isinstance(classifier, LinearHead) else loss_of(Recipe(), classifier)
    config = replace(config, epoch_images=epoch_images)
    fit(embedder, loss, images, config, augment=task.augment, progress=False)


def tested(embedder: Embedder, classifier: Any, faces: Mapping[str, ImageSet], low: int, high: int) -> dict[str, Any]:
    """Top-1 with `high` classes to choose from, of the first ones, those that were there, the new, and all."""
    ranges = {"old": (0, low), **({"new": (low, high)} if low < high else {})}
    found: dict[str, Any] = {}
    for name, images in faces.items():
        parts = {
            which: accuracy(embedder, classifier, classes_of(images, *limits), k=(1,))
            for which, limits in ranges.items()
        }
        total = sum(part.n for part in parts.values())
        found[name] = {which: part.top1 for which, part in parts.items()}
        found[name]["all"] = sum(part.top1 * part.n for part in parts.values()) / total
    return found


def scratch(task: Task, start: str, sizes: Sizes, config: TrainConfig, faces: Mapping[str, ImageSet]) -> Any:
    """Train anew on all classes that there are in the end: as if there was one step, the last."""
    begun = time.process_time()
    high = sizes.first + sizes.steps * sizes.added
    embedder, classifier = first_training(task, start, "auto", high, config)
    seconds = time.process_time() - begun
    found = tested(embedder, classifier, faces, high - sizes.added, high)
    return [{"step": sizes.steps, "seconds": round(seconds, 3), "top1": found}]


class Stored:
    """The result file: every run as soon as it is there."""

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        before = read_json(path) if path is not None and path.is_file() else {}
        if before and {key: before.get(key) for key in about} != about:
            raise SystemExit(f"{path}: holds results of other settings; give another --output")
        self.runs: dict[str, Any] = before.get("runs", {})

    def once(self, key: str, make: Any) -> Any:
        """The run under a key, made and written if it is not there yet."""
        if key not in self.runs:
            self.runs[key] = make()
            if self.path is not None:
                write_json(self.path, {**self.about, "machine": report.environment(), "runs": self.runs})
            print(f"  {key}: {str(self.runs[key])[-400:]}", flush=True)
        return self.runs[key]


def score(task: Task, steps: list[dict[str, Any]]) -> float:
    """What rates are chosen by: the mean top-1 on all classes in the tuning faces after the last step."""
    return float(np.mean([steps[-1]["top1"][name]["all"] for name in task.tuning]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", default=[*WAYS, *SCRATCH], choices=[*WAYS, *SCRATCH], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 4e-3])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = Sizes()
    backbone = {"name": "small_conv", "width": 16}
    task = replace(characters(sizes.first + sizes.steps * sizes.added), backbone=lambda: build(backbone))
    about = {
        "task": task.name,
        "backbone": backbone,
        "sizes": vars(sizes),
        "data": dict(task.about),
    }
    stored = Stored(options.output, about)
    bench = Bench(task, sizes, stored)
    for seed in range(options.seeds):
        for name in options.ways:
            if name in SCRATCH:
                bench.from_scratch(name, seed)
            else:
                rates = options.rates if WAYS[name].replay is not None else options.rates[:1]
                bench.search_and_repeat(name, seed, rates)
    print(table(stored.runs, list(task.untouched), list(task.tuning)))


@dataclass
class Bench:
    """All runs of one task; first trainings are made once and shared."""

    task: Task
    sizes: Sizes
    stored: Stored
    trained: dict[Any, Any] = field(default_factory=dict)

    def search_and_repeat(self, name: str, seed: int, rates: list[float]) -> None:
        """The first seed with every rate; the others with the rate that did best on the tuning faces."""
        tried = {rate: self.stored.once(f"{name}|{rate:g}|0", partial(self.run, name, rate, 0)) for rate in rates}
        best = max(tried, key=lambda rate: score(self.task, tried[rate]))
        self.stored.once(f"{name}|{best:g}|{seed}", partial(self.run, name, best, seed))

    def run(self, name: str, rate: float, seed: int) -> list[dict[str, Any]]:
        way, sizes = WAYS[name], self.sizes
        key = way.start, way.system, seed
        if key not in self.trained:
            self.trained[key] = first_training(self.task, way.start, way.system, sizes.first, self.config(seed))
        config = replace(self.config(seed), epochs=way.epochs or sizes.step_epochs, learning_rate=rate)
        return run(self.task, way, sizes, self.trained[key], config, self.task.untouched)

    def from_scratch(self, name: str, seed: int) -> None:
        make = partial(scratch, self.task, SCRATCH[name], self.sizes, self.config(seed), self.task.untouched)
        self.stored.once(f"{name}|{seed}", make)

    def config(self, seed: int) -> TrainConfig:
        return TrainConfig(epochs=self.sizes.epochs, batch_size=self.sizes.batch_size, seed=seed)


def chosen_runs(runs: dict[str, Any], name: str, tuning: list[str]) -> list[list[dict[str, Any]]]:
    """The runs of a way at the rate that did best on the tuning faces with seed 0, one a seed."""
    found = {tuple(key.split("|")[1:]): value for key, value in runs.items() if key.split("|")[0] == name}
    if name in SCRATCH:
        return list(found.values())
    first = {rate: value for (rate, seed), value in found.items() if seed == "0"}
    if not first:
        return []
    best = max(first, key=lambda rate: np.mean([first[rate][-1]["top1"][face]["all"] for face in tuning]))
    return [value for (rate, _), value in found.items() if rate == best]


def table(runs: dict[str, Any], faces: list[str], tuning: list[str]) -> str:
    """Per cent right of all, old and new classes after the last step, mean and deviation over seeds; seconds a step."""
    lines = [
        f"| | {' | '.join(f'{face}: all | old | new' for face in faces)} | seconds a step |",
        f"| --- |{' ---: | ---: | ---: |' * len(faces)} ---: |",
    ]
    for name in [*WAYS, *SCRATCH]:
        found = chosen_runs(runs, name, tuning)
        if not found:
            continue
        last = [steps[-1] for steps in found]
        cells = []
        for face in faces:
            for which in ("all", "old", "new"):
                shares = 100 * np.array([step["top1"][face][which] for step in last])
                cells.append(f"{shares.mean():.1f} ± {shares.std():.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} | {min(s[-1]['seconds'] for s in found):.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
