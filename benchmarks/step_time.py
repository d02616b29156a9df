"""How long a training step takes with vectors and with a learned layer, on a quiet machine, side by side.

    python benchmarks/step_time.py --tasks characters:3000 characters:18000 --output step-time.json

Accuracies of convergence.py do not depend on what else the machine does; times do. This measures the steps of a few
methods in turns, each round a few steps of every method, and reports the fastest round: augmentation, forward,
backward, AdamW, and what moves the class vectors. Looking for neighbours, four times an epoch, is timed apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convergence import METHODS, Method, networks
from rootspace import report
from rootspace.data import to_tensor
from rootspace.files import write_json
from rootspace.losses import NeighbourSoftmax
from rootspace.train import Plan, TrainConfig
from rootspace.train.optimiser import adamw
from tasks import open_task
from tasks.base import Task

NAMES = ("rootspace", "linear")
BATCH = 128


def stepper(task: Task, method: Method) -> tuple[Callable[[int], None], Any]:
    """A function that takes a training step, and the loss."""
    made = networks(task, method, method.normalise[-1], seed=0)
    embedder, loss, hooks = made.embedder, made.loss, made.hooks
    both = torch.nn.ModuleList([embedder, loss]).train()
    optimizer = adamw(both, TrainConfig())
    for hook in hooks:
        hook.begin = 0.0
        hook.on_start(Plan(10_000, 10_000, BATCH, 1, 1, torch.device("cpu")))
    generator, order = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def step(number: int) -> None:
        positions = np.sort(order.integers(0, len(task.train), BATCH))
        images, labels = to_tensor(task.train.images_at(positions)), torch.from_numpy(task.train.labels[positions])
        if task.augment is not None:
            images = task.augment(images, generator)
        embeddings = embedder(images)
        loss(embeddings, labels).backward()
        for hook in hooks:
            hook.on_batch(number, embeddings.detach(), labels)
        optimizer.step()
        optimizer.zero_grad()

    return step, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["characters:3000"])
    parser.add_argument("--methods", nargs="+", default=list(NAMES))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10, help="steps of each method in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    for text in options.tasks:
        task = open_task(text)
        steppers = {name: stepper(task, METHODS[name]) for name in options.methods}
        rounds: dict[str, list[float]] = {name: [] for name in steppers}
        for number in range(options.rounds):
            for name, (step, _) in steppers.items():
                begun = time.perf_counter()
                for part in range(options.steps):
                    step(number * options.steps + part)
                rounds[name].append(1000 * (time.perf_counter() - begun) / options.steps)
        found: dict[str, Any] = {name: {"ms": min(times), "rounds": times} for name, times in rounds.items()}
        for name, (_, loss) in steppers.items():
            if isinstance(loss, NeighbourSoftmax):
                begun = time.perf_counter()
                loss.refresh()
                found[name]["neighbours_seconds"] = time.perf_counter() - begun
        results[task.name] = found
        for name, one in found.items():
            more = f", neighbours {one['neighbours_seconds']:.2f} s" if "neighbours_seconds" in one else ""
            print(f"{task.name}, {name}: {one['ms']:.1f} ms a step of {BATCH} images{more}", flush=True)
    if options.output:
        write_json(options.output, {"machine": report.environment(), "threads": options.threads, "results": results})


if __name__ == "__main__":
    main()
