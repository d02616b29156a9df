"""Accuracy on unseen views at equal processor time, with very many classes: vectors against what a user would take.

    python benchmarks/train_many_classes.py --task words:50000 --minutes 3 --output words-50000.json
    python benchmarks/train_many_classes.py --task instances:100000 --methods rootspace paper "paper, V22:128"

Every method trains the same network on the same images in batches of one size, for the same processor time on one
thread, its set-up and all that hooks do included. How many steps that is depends on what a step costs: a few are taken
first to see, and a run that was more than a tenth off the time is thrown away and made again with as many steps
as it now shows there is time for. So a method that takes a tenth of the time a step sees ten times the images.
Processor time, because it hardly depends on what else the machine does; with --device auto and a GPU, wall time and all
threads. Each method tries the same learning rates for the whole time; the best on the tuning sets counts. The result
file is written after every run, and runs that it holds are not repeated.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convergence import OURS, Method, Networks, Stored, networks, search_and_repeat
from resident import peak_memory, reset_peak
from rootspace.data import ImageSet
from rootspace.experiment import Recipe
from rootspace.train import History, Hook, TrainConfig, fit
from tasks import TASKS, open_task
from tasks.base import Task

#: How often the held-out sets are looked at.
ROUNDS = 5
#: Steps taken to see what one costs.
PACE_STEPS = 25
#: A run that took another share of its time than 1 by more than this is made again.
TOLERANCE = 0.1
RATES = (3e-3, 1.2e-2)

#: Rivals that stand on the same embedding as our default.
HEADS = (
    "linear",
    "normalised softmax",
    "cosface",
    "arcface",
    "partial fc",
    "adaptive softmax",
    "random vectors",
    "equiangular",
    "bits",
)
_TIGHT = ("A", "V21", "V22", "A:512", "V21:128", "V22:128")
METHODS = {
    "rootspace": Method(OURS),
    "rootspace, 64 dimensions": Method(replace(OURS, system="graded:64")),
    "rootspace, nothing stored": Method(replace(OURS, system="V22", assignment="shuffled", loss="system", follow=0.0)),
    "rootspace, nothing stored, V22:128": Method(
        replace(OURS, system="V22:128", assignment="shuffled", loss="system", follow=0.0)
    ),
    "paper": Method(Recipe.paper(), normalise=("none",)),
    **{f"paper, {system}": Method(Recipe.paper(system=system), normalise=("none",)) for system in _TIGHT},
    **{name: Method(OURS, head=name) for name in HEADS},
    "linear, started at our vectors": Method(OURS, head="started"),
}
USUAL = (
    "rootspace",
    "rootspace, nothing stored",
    "paper",
    *(head for head in HEADS if head != "equiangular"),
    "linear, started at our vectors",
)


class Clock(Hook):
    """Seconds that each round's training took, evaluation apart, by a clock such as `time.process_time`."""

    name = "clock"

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.rounds = now, list[float]()
        self.begun = self.latest = now()

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        self.latest = self.now()

    def on_epoch(self, epoch: int, record: dict[str, Any]) -> None:
        self.rounds.append(round(self.latest - self.begun, 2))
        self.begun = self.now()


@dataclass(frozen=True)
class Start:
    """A method's networks before their first step, and what it took to make them. Runs train copies."""

    networks: Networks
    seconds: float

    @classmethod
    def of(cls, task: Task, method: Method, seed: int, now: Callable[[], float]) -> Start:
        begun = now()
        made = networks(task, method, method.normalise[-1], seed)
        return cls(made, now() - begun)


def train(
    task: Task,
    start: Start,
    config: TrainConfig,
    heldout: Mapping[str, ImageSet],
    now: Callable[[], float],
    with_hooks: bool = True,
) -> tuple[History, list[float]]:
    """Train a copy by `fit`: the history, and the seconds of each round."""
    made, clock = deepcopy(start.networks), Clock(now)
    hooks = [*(made.hooks if with_hooks else ()), clock]
    history = fit(
        made.embedder, made.loss, task.train, config, heldout=heldout, augment=task.augment, hooks=hooks, progress=False
    )
    return history, clock.rounds


def pace(task: Task, start: Start, config: TrainConfig, now: Callable[[], float]) -> float:
    """Seconds of a training step, without what hooks do now and then, such as settling vectors."""
    short = replace(config, epochs=1, epoch_images=PACE_STEPS * config.batch_size)
    _, (seconds,) = train(task, start, short, {}, now, with_hooks=False)
    return seconds / PACE_STEPS


def run(
    task: Task,
    start: Start,
    config: TrainConfig,
    heldout: Mapping[str, ImageSet],
    seconds: float,
    step_seconds: float,
    now: Callable[[], float] = time.process_time,
) -> dict[str, Any]:
    """Train for so many seconds, set-up included, where a step takes `step_seconds`; what came out."""
    reset_peak()
    steps = max(1, int((seconds - start.seconds) / step_seconds / config.epochs))
    config = replace(config, epoch_images=steps * config.batch_size)
    history, rounds = train(task, start, config, heldout, now)
    images = config.epoch_images * config.epochs
    return {
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "normalise": start.networks.embedder.normalise,
        "step_seconds": round(sum(rounds) / steps / config.epochs, 5),
        "images": images,
        "passes": round(images / len(task.train), 3),
        "top1": {name: [epoch.heldout[name]["top1"] for epoch in history.epochs] for name in heldout},
        "top5": {name: [epoch.heldout[name]["top5"] for epoch in history.epochs] for name in heldout},
        "loss": [epoch.loss for epoch in history.epochs],
        "setup_seconds": round(start.seconds, 2),
        "seconds": rounds,
        "head_parameters": sum(parameter.numel() for parameter in start.networks.loss.parameters()),
        "peak_memory_mb": peak_memory() // 2**20,
    }


def run_on_time(
    run: Callable[[float], dict[str, Any]], seconds: float, step_seconds: float, tries: int
) -> dict[str, Any]:
    """What `run` finds where a step takes `step_seconds`; made again with what it really took until it is on time, at
    most `tries` times in all.
    """
    for left in reversed(range(tries)):
        found = run(step_seconds)
        spent, step_seconds = found["setup_seconds"] + sum(found["seconds"]), found["step_seconds"]
        if abs(spent / seconds - 1) <= TOLERANCE:
            break
        print(f"    took {spent:.0f} of {seconds:.0f} s" + (", again" if left else ""), flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="words:50000", help=f"one of {', '.join(TASKS)}, with :classes")
    parser.add_argument("--methods", nargs="+", default=list(USUAL), help="exact names; see --list")
    parser.add_argument("--list", action="store_true", help="list the methods")
    parser.add_argument("--minutes", type=float, default=3.0, help="processor time of a run")
    parser.add_argument("--tries", type=int, default=3, help="runs made until one is on time, at most")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", choices=("auto", "cpu"), default="cpu", help="auto: a GPU, by wall time")
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no", help="for GPUs")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(METHODS))
        return
    if unknown := set(options.methods) - set(METHODS):
        parser.error(f"no method is called {', '.join(sorted(unknown))}; see --list")
    if options.device == "cpu":
        torch.set_num_threads(1)
    task = open_task(options.task)
    config = TrainConfig(
        epochs=ROUNDS,
        batch_size=options.batch_size,
        device=options.device,
        mixed_precision=options.mixed_precision,
    )
    stored = Stored(options.output, task, [*task.tuning, *task.untouched], config, torch.get_num_threads())
    print(f"{task.name}: {task.train.n_classes:,} classes, {len(task.train):,} training images", flush=True)
    for name in options.methods:
        train_method(name, task, stored, config, options)


def train_method(name: str, task: Task, stored: Stored, config: TrainConfig, options: argparse.Namespace) -> None:
    """Train a method for the time at every rate, and at the best one with the other seeds too."""
    method = METHODS[name]
    now = time.process_time if config.device == "cpu" else time.perf_counter
    heldout = {**task.tuning, **task.untouched}
    seconds, starts, step_seconds = 60 * options.minutes, dict[int, Start](), 0.0

    def once(normalise: str, this: TrainConfig) -> dict[str, Any]:
        nonlocal step_seconds
        key = f"{name}|{options.minutes:g}|{this.learning_rate:g}|{this.seed}"
        if key not in stored.runs:
            if this.seed not in starts:
                starts[this.seed] = Start.of(task, method, this.seed, now)
            start = starts[this.seed]
            step_seconds = step_seconds or pace(task, start, this, now)
            planned = partial(run, task, start, this, heldout, seconds, now=now)
            found = run_on_time(planned, seconds, step_seconds, options.tries)
            step_seconds = found["step_seconds"]
            stored.add(key, found)
        return stored.runs[key]

    one_way = replace(method, normalise=method.normalise[-1:])
    stored.finish(name, search_and_repeat(task, one_way, config, tuple(options.rates), options.seeds, once))


if __name__ == "__main__":
    main()
