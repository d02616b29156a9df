"""Held-out accuracy by epoch: predefined vectors, the paper's recipe, and a learned linear layer, over seeds.

    python benchmarks/characters.py --seeds 3 --output benchmarks/results/characters.json

Every method trains the same network on the same images for the same number of epochs, with each of the same
learning rates; the rate with the best mean over the held-out typefaces is reported (the same search budget for
all, chosen on the same faces for all: compare methods, do not read the level as an unbiased estimate).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rootspace import experiment, report
from rootspace.demo import RECIPE, DemoData, demo_data
from rootspace.experiment import Recipe
from rootspace.files import write_json
from rootspace.train import TrainConfig


def methods() -> dict[str, tuple[Recipe, bool]]:
    """Name -> (recipe, whether it is the learned linear layer)."""
    paper = Recipe.paper(augment="glyph")
    return {
        "rootspace": (RECIPE, False),
        "linear layer + cross-entropy": (RECIPE, True),
        "paper: shuffled V22 at n_min, cosine": (paper, False),
    }


def run(data: DemoData, recipe: Recipe, baseline: bool, config: TrainConfig) -> dict[str, object]:
    """Train once; top-1 of each held-out typeface after each epoch, and the seconds it took."""
    trained = experiment.train(data.train, data.heldout, recipe, config, baseline=baseline, progress=False)
    epochs = trained.history.epochs
    return {
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "top1": {name: [epoch.heldout[name]["top1"] for epoch in epochs] for name in data.heldout},
        "seconds": [epoch.seconds for epoch in epochs],
        "head_parameters": trained.head_parameters,
    }


def mean_top1(runs: list[dict]) -> np.ndarray:
    """Mean over the held-out typefaces: (runs, epochs)."""
    return np.array([np.mean(list(one["top1"].values()), axis=0) for one in runs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[6e-3, 1.2e-2, 2.4e-2])
    parser.add_argument("--system-fonts", action="store_true", help="add the typefaces installed on this machine")
    parser.add_argument("--only", nargs="+", help="methods whose names contain one of these")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    data = demo_data(options.classes, system_fonts=options.system_fonts)
    machine = report.environment()
    print(f"{machine['processor']}, {machine['cores']} cores; torch {machine['torch']}")
    print(f"{data.train.n_classes} classes, {len(data.train)} training images; held out: {', '.join(data.heldout)}")
    results = {}
    for name, (recipe, baseline) in methods().items():
        if options.only and not any(part in name for part in options.only):
            continue
        by_rate = {}
        for rate in options.rates:
            config = TrainConfig(epochs=options.epochs, learning_rate=rate)
            runs = [run(data, recipe, baseline, replace(config, seed=seed)) for seed in range(options.seeds)]
            by_rate[rate] = runs
        best = max(by_rate, key=lambda rate: mean_top1(by_rate[rate])[:, -1].mean())
        results[name] = {"best_learning_rate": best, "runs": {str(rate): runs for rate, runs in by_rate.items()}}
        show(name, best, by_rate[best])
    if options.output:
        about = {name: str(value) for name, value in vars(options).items()}
        write_json(options.output, {"machine": machine, "options": about, "results": results})


def show(name: str, rate: float, runs: list[dict]) -> None:
    curve = 100 * mean_top1(runs)
    print(f"\n{name}, learning rate {rate:g}")
    print(
        "  mean top-1 by epoch:",
        "  ".join(f"{m:.1f}±{s:.1f}" for m, s in zip(curve.mean(0), curve.std(0), strict=True)),
    )
    for face in runs[0]["top1"]:
        last = [100 * one["top1"][face][-1] for one in runs]
        print(f"  {face}: {np.mean(last):.1f}±{np.std(last):.1f} after the last epoch")
    seconds = np.mean([sum(one["seconds"]) for one in runs])
    print(f"  {seconds:.1f} s, {runs[0]['head_parameters']:,} parameters in the head")


if __name__ == "__main__":
    main()
