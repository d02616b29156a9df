"""Held-out accuracy by epoch and by time: predefined vectors against learned classification layers, on real data.

    python benchmarks/convergence.py --task characters:3000 --output characters-3000.json
    python benchmarks/convergence.py --list

Every method trains the same network on the same images for the same number of epochs. Each tries the same learning
rates with the first seed; the rate with the best accuracy on the task's tuning sets after the last epoch is taken for
the other seeds. The learned layer may also choose how its embedding is normalised, so it gets twice the search. The
task's untouched sets are looked at with --untouched only, for the last report. The result file is written after every
run, and a run that it already holds is not repeated: an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import rivals
from rootspace import report
from rootspace.data import ImageSet
from rootspace.experiment import Recipe, prepare, system_of
from rootspace.files import read_json, write_json
from rootspace.losses import LinearHead
from rootspace.models import Embedder
from rootspace.train import Hook, TrainConfig, fit
from tasks import TASKS, open_task
from tasks.base import Task

RATES = (6e-3, 1.2e-2, 2.4e-2)


@dataclass(frozen=True)
class Method:
    """A recipe of ours, or a head of the same dimension instead: a learned layer that starts at random, one that starts
    at the recipe's vectors, or a rival by name.
    """

    recipe: Recipe
    head: str = "none"  # none, random, started, or a name in rivals.RIVALS
    normalise: tuple[str, ...] = ("batch",)


OURS = Recipe()

#: For the paper's claims: A, V21 and V22 at n_min (a name without a number), all at A's for 1,000 classes, and above.
PAPER_SYSTEMS = ("A", "V21", "V21:33", "V22:33", "V22:128")
METHODS = {
    "rootspace": Method(OURS),
    "linear": Method(OURS, head="random", normalise=("none", "batch")),
    "linear, started at our vectors": Method(OURS, head="started"),
    "rootspace, softmax over all classes": Method(replace(OURS, loss="classes")),
    "rootspace, softmax over neighbours": Method(replace(OURS, loss="neighbours")),
    "rootspace, softmax over the batch": Method(replace(OURS, loss="batch")),
    "rootspace, 64 dimensions": Method(replace(OURS, system="graded:64")),
    "rootspace, dense:128": Method(replace(OURS, system="dense:128")),
    "rootspace, vectors stay": Method(replace(OURS, follow=0.0)),
    "rootspace, vectors stay, cosine": Method(replace(OURS, follow=0.0, loss="cosine")),
    "rootspace, vectors jump every half epoch": Method(replace(OURS, follow_every=0.5)),
    "rootspace, shuffled start": Method(replace(OURS, assignment="shuffled", follow=0.9)),
    "rootspace, shuffled, vectors stay": Method(replace(OURS, assignment="shuffled")),
    "paper": Method(Recipe.paper(), normalise=("none",)),
    **{f"paper, {system}": Method(Recipe.paper(system=system), normalise=("none",)) for system in PAPER_SYSTEMS},
    **{f"rootspace, {system}": Method(replace(OURS, system=system, follow=0.9)) for system in (*PAPER_SYSTEMS, "V22")},
    **{
        f"rootspace, {system}, vectors stay": Method(replace(OURS, system=system, follow=0.0))
        for system in (*PAPER_SYSTEMS, "V22")
    },
}
USUAL = ("rootspace", "linear", "linear, started at our vectors", "paper")


@dataclass(frozen=True)
class Networks:
    """What `fit` trains of a method."""

    embedder: Embedder
    loss: nn.Module
    hooks: list[Hook]


def networks(task: Task, method: Method, normalise: str, seed: int) -> Networks:
    """A method's embedder, loss and hooks on a task, as they are before the first step."""
    torch.manual_seed(seed)
    backbone, n_classes = task.backbone(), task.train.n_classes
    if method.head not in ("none", "started"):
        dim = system_of(method.recipe, n_classes).dim
        head = (
            LinearHead(dim, n_classes) if method.head == "random" else rivals.build(method.head, n_classes, dim, seed)
        )
        return Networks(Embedder(backbone, dim, normalise=normalise), head, [])
    recipe = replace(method.recipe, normalise=normalise)
    prepared = prepare(task.train, recipe, seed, backbone=backbone, features=task.features)
    if method.head == "started":
        return Networks(prepared.embedder, started(prepared.loss.assignment), [])
    return Networks(prepared.embedder, prepared.loss, prepared.hooks)


def run(
    task: Task, method: Method, normalise: str, config: TrainConfig, heldout: Mapping[str, ImageSet]
) -> dict[str, Any]:
    """Train once: top-1 of the held-out sets after each epoch, and the seconds that set-up and each epoch took."""
    begun = time.perf_counter()
    made = networks(task, method, normalise, config.seed)
    setup = time.perf_counter() - begun
    history = fit(
        made.embedder,
        made.loss,
        task.train,
        config,
        heldout=heldout,
        augment=task.augment,
        hooks=made.hooks,
        progress=False,
    )
    return {
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "normalise": normalise,
        "top1": {name: [epoch.heldout[name]["top1"] for epoch in history.epochs] for name in heldout},
        "loss": [epoch.loss for epoch in history.epochs],
        "setup_seconds": round(setup, 3),
        "seconds": [epoch.seconds for epoch in history.epochs],
        "head_parameters": sum(parameter.numel() for parameter in made.loss.parameters()),
    }


def started(assignment: Any) -> LinearHead:
    """A learned layer whose weights start at the vectors of an assignment."""
    head = LinearHead(assignment.system.dim, assignment.n_classes)
    with torch.no_grad():
        head.linear.weight.copy_(assignment.vectors(torch.arange(assignment.n_classes)) / assignment.system.norm)
        head.linear.bias.zero_()
    return head


def score(task: Task, one: dict[str, Any]) -> float:
    """What rates are chosen by: the mean top-1 of the tuning sets after the last epoch."""
    return float(np.mean([one["top1"][name][-1] for name in task.tuning]))


def search_and_repeat(
    task: Task, method: Method, config: TrainConfig, rates: tuple[float, ...], seeds: int, once: Callable[..., dict]
) -> dict[str, Any]:
    """The first seed with every setting; then the best setting with the other seeds."""
    tried = [once(normalise, replace(config, learning_rate=rate)) for normalise in method.normalise for rate in rates]
    best = max(tried, key=lambda one: score(task, one))
    again = [
        once(best["normalise"], replace(config, learning_rate=best["learning_rate"], seed=seed))
        for seed in range(1, seeds)
    ]
    return {"search": tried, "runs": [best, *again]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="characters:1000", help=f"one of {', '.join(TASKS)}, with :classes")
    parser.add_argument("--methods", nargs="+", default=list(USUAL), help="exact names; see --list")
    parser.add_argument("--list", action="store_true", help="list the methods")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--normalise", nargs="+", choices=("none", "batch"), help="of the learned layer: only these")
    parser.add_argument("--untouched", action="store_true", help="report the untouched sets too, once all is chosen")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.list:
        print("\n".join(METHODS))
        return
    if unknown := set(options.methods) - set(METHODS):
        parser.error(f"no method is called {', '.join(sorted(unknown))}; see --list")
    torch.set_num_threads(options.threads)
    task = open_task(options.task)
    config = TrainConfig(epochs=options.epochs, batch_size=options.batch_size)
    heldout = {**task.tuning, **(task.untouched if options.untouched else {})}
    stored = Stored(options.output, task, list(heldout), config, options.threads)
    print(f"{task.name}: {task.train.n_classes:,} classes, {len(task.train):,} training images", flush=True)
    for name in options.methods:
        method = METHODS[name]
        if options.normalise and method.head == "random":
            method = replace(method, normalise=tuple(options.normalise))

        def once(normalise: str, config: TrainConfig, name: str = name, method: Method = method) -> dict[str, Any]:
            key = f"{name}|{normalise}|{config.learning_rate:g}|{config.seed}"
            if key not in stored.runs:
                stored.add(key, run(task, method, normalise, config, heldout))
            return stored.runs[key]

        found = search_and_repeat(task, method, config, tuple(options.rates), options.seeds, once)
        stored.finish(name, found)
        show(task, name, found["runs"])


class Stored:
    """The result file: every run as soon as it is there, then each method's chosen setting."""

    def __init__(self, path: Path | None, task: Task, heldout: list[str], config: TrainConfig, threads: int) -> None:
        self.path = path
        self.about = {
            "task": task.name,
            "classes": task.train.n_classes,
            "training_images": len(task.train),
            "tuning": list(task.tuning),
            "untouched": [name for name in heldout if name in task.untouched],
            "data": dict(task.about),
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "threads": threads,
        }
        before = read_json(path) if path is not None and path.is_file() else {}
        if before and {key: before.get(key) for key in self.about} != self.about:
            raise SystemExit(f"{path}: holds results of other settings; give another --output")
        self.runs: dict[str, Any] = before.get("runs", {})
        self.results: dict[str, Any] = before.get("results", {})

    def add(self, key: str, result: dict[str, Any]) -> None:
        self.runs[key] = result
        last = ", ".join(f"{name} {100 * curve[-1]:.1f}" for name, curve in result["top1"].items())
        print(f"  {key}: {last} ({sum(result['seconds']):.0f} s)", flush=True)
        self.write()

    def finish(self, name: str, found: dict[str, Any]) -> None:
        keep = ("learning_rate", "normalise")
        self.results[name] = {key: found["runs"][0][key] for key in keep} | {"runs": found["runs"]}
        self.write()

    def write(self) -> None:
        if self.path is not None:
            machine = report.environment()
            write_json(self.path, {**self.about, "machine": machine, "results": self.results, "runs": self.runs})


def show(task: Task, name: str, runs: list[dict[str, Any]]) -> None:
    print(f"{name}: rate {runs[0]['learning_rate']:g}, normalise {runs[0]['normalise']}, {len(runs)} seeds")
    for face in runs[0]["top1"]:
        curves = 100 * np.array([one["top1"][face] for one in runs])
        kind = "tuning" if face in task.tuning else "untouched"
        text = "  ".join(f"{m:.1f}±{s:.1f}" for m, s in zip(curves.mean(0), curves.std(0), strict=True))
        print(f"  {face} ({kind}): {text}")
    seconds = np.mean([one["setup_seconds"] + sum(one["seconds"]) for one in runs])
    print(f"  {seconds:.1f} s, {runs[0]['head_parameters']:,} parameters in the head", flush=True)


if __name__ == "__main__":
    main()
