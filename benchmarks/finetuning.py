"""A pretrained backbone trained on: what the map behind it should be, and how fast the backbone should learn.

    python benchmarks/finetuning.py --output benchmarks/results/finetuning.json

The task is `emoji`, with EfficientNet-Lite0 and its ImageNet weights (tasks/lite0.py). The map from features to
embeddings is linear, or has two layers (linear, batch norm, GELU, linear; as wide as the features). The backbone learns
at the rate of the rest, or at a tenth of it. Every combination trains once, from one seed, unless told otherwise. The
result file is written after every run, and a run that it already holds is not repeated.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rootspace import report
from rootspace.experiment import Recipe, prepare
from rootspace.files import read_json, write_json
from rootspace.train import TrainConfig, fit
from tasks import open_task
from tasks.base import Task

PROJECTIONS = ("linear", "mlp")
BACKBONE_RATES = (1.0, 0.1)


def mlp(features: int, dim: int) -> nn.Sequential:
    """Two layers in place of one: features (B, F) to embeddings (B, dim)."""
    return nn.Sequential(nn.Linear(features, features), nn.BatchNorm1d(features), nn.GELU(), nn.Linear(features, dim))


def run(task: Task, settings: dict[str, Any]) -> dict[str, Any]:
    """Train once: the settings, top-1 of the tuning sets after each epoch, and the processor's seconds."""
    config = TrainConfig(**{name: value for name, value in settings.items() if name not in ("task", "projection")})
    torch.manual_seed(config.seed)
    ready = prepare(task.train, Recipe(), config.seed, backbone=task.backbone(), features=task.features)
    if settings["projection"] == "mlp":
        ready.embedder.projection = mlp(ready.embedder.feature_dim, ready.embedder.dim)
    begun = time.process_time()
    history = fit(
        ready.embedder,
        ready.loss,
        task.train,
        config,
        heldout=task.tuning,
        augment=task.augment,
        hooks=ready.hooks,
        progress=False,
    )
    return {
        **settings,
        "top1": {name: [epoch.heldout[name]["top1"] for epoch in history.epochs] for name in task.tuning},
        "loss": [epoch.loss for epoch in history.epochs],
        "processor_seconds": round(time.process_time() - begun, 1),
        "projection_parameters": sum(parameter.numel() for parameter in ready.embedder.projection.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="emoji")
    parser.add_argument("--projections", nargs="+", choices=PROJECTIONS, default=list(PROJECTIONS))
    parser.add_argument("--backbone-rates", type=float, nargs="+", default=list(BACKBONE_RATES))
    parser.add_argument("--rates", type=float, nargs="+", default=[6e-3])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = open_task(options.task)
    found = read_json(options.output) if options.output is not None and options.output.is_file() else {"runs": {}}
    for rate in options.rates:
        for projection in options.projections:
            for backbone_rate in options.backbone_rates:
                for seed in range(options.seeds):
                    settings = {
                        "task": options.task,
                        "projection": projection,
                        "learning_rate": rate,
                        "backbone_rate": backbone_rate,
                        "epochs": options.epochs,
                        "batch_size": options.batch_size,
                        "seed": seed,
                    }
                    key = "|".join(str(value) for value in settings.values())
                    if key in found["runs"]:
                        continue
                    one = run(task, settings)
                    last = ", ".join(f"{name} {100 * curve[-1]:.1f}" for name, curve in one["top1"].items())
                    print(f"{projection}, rate {rate:g}, backbone x {backbone_rate:g}: {last}", flush=True)
                    found["runs"][key] = one
                    if options.output is not None:
                        write_json(options.output, {"machine": report.environment(), **found})


if __name__ == "__main__":
    main()
