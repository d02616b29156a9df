"""How near class vectors lie to where classes want them, and to one another: the distribution, not the worst case.

    python benchmarks/separation_in_use.py --task characters:3000 --train --output separation.json

Wanted are the classes' discriminant means. Fidelity is the cosine between a class's wanted direction and its vector;
separation is the cosine between a class's vector and the nearest vector of another class in use. With --train, the
same after training by the default recipe, in which class vectors follow their embeddings.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace import report
from rootspace.assign import Assignment, TableAssignment, discriminants, exact_neighbours, nearest_free, shuffled
from rootspace.experiment import Recipe, class_statistics, pooled_pixels, prepare, system_of
from rootspace.files import write_json
from rootspace.train import TrainConfig, fit
from tasks import open_task
from tasks.base import Task

SYSTEMS = ("A", "V21", "V22", "V22:128", "dense:128", "graded4:128", "graded:64", "graded:128", "graded16:128")
SHARES = (0.0, 0.01, 0.5, 0.99, 1.0)


def quantiles(values: Tensor) -> list[float]:
    return [round(float(value), 4) for value in values.float().quantile(torch.tensor(SHARES))]


def describe(assignment: Assignment, wanted: Tensor | None = None) -> dict[str, Any]:
    """Cosines of each class's vector with the nearest of another class and, where given, with the direction wanted."""
    own = assignment.vectors(torch.arange(assignment.n_classes)) / assignment.system.norm
    found: dict[str, Any] = {"separation": quantiles((own * own[exact_neighbours(assignment, 1)[:, 0]]).sum(1))}
    if wanted is not None:
        found["fidelity"] = quantiles((own * normalize(wanted, dim=1)).sum(1))
    return found


def after_training(task: Task, epochs: int, rate: float) -> dict[str, Any]:
    torch.manual_seed(0)
    prepared = prepare(task.train, Recipe(), 0, backbone=task.backbone(), features=task.features)
    config = TrainConfig(epochs=epochs, learning_rate=rate)
    fit(prepared.embedder, prepared.loss, task.train, config, augment=task.augment, hooks=prepared.hooks)
    return describe(prepared.loss.assignment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="characters:3000")
    parser.add_argument("--train", action="store_true", help="also train by the default recipe")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=1.2e-2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = open_task(options.task)
    found = class_statistics(task.train, task.features or pooled_pixels)
    n_classes = task.train.n_classes
    results: dict[str, Any] = {}
    for name in SYSTEMS:
        system = system_of(replace(Recipe(), system=name), n_classes)
        wanted = discriminants(found.means, found.within, system.dim, torch.Generator().manual_seed(0))
        assignment = TableAssignment(system, nearest_free(system, wanted))
        results[system.spec] = describe(assignment, wanted)
        results[f"{system.spec}, shuffled"] = describe(shuffled(system, n_classes))
    if options.train:
        results["graded:128, after training"] = after_training(task, options.epochs, options.rate)
    print(f"{task.name}; quantiles {SHARES}")
    for name, one in results.items():
        print(f"  {name:32} " + "  ".join(f"{what} {values}" for what, values in one.items()))
    if options.output:
        write_json(options.output, {"machine": report.environment(), "task": task.name, "quantiles": SHARES, **results})


if __name__ == "__main__":
    main()
