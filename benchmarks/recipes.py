"""The recipes of the documentation, with several seeds: what their page says they reach.

    python benchmarks/recipes.py --output benchmarks/results/recipes.json
    python benchmarks/recipes.py --recipes distil --output benchmarks/results/recipes.json

Each recipe holds its own comparison, and is run as a user would run it. A recipe that the result file already has is
kept, unless it is named.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rootspace import report
from rootspace.files import read_json, write_json

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "recipes"

#: Arguments of the runs, such that each takes some seconds of one core.
RUNS: dict[str, tuple[str, list[str]]] = {
    "finetune": ("finetune", ["--classes", "100", "--pretraining", "200", "--width", "16"]),
    "retrieval": ("retrieval", ["--classes", "300", "--width", "16"]),
    "lifelong": ("lifelong", ["--classes", "300", "--step", "50", "--steps", "3", "--width", "16"]),
    "distil": ("distil", ["--classes", "250"]),
    "distil, all images": ("distil", ["--classes", "250", "--images", "11", "--epochs", "3", "--pull", "30"]),
}


def run(recipe: str, arguments: list[str]) -> Any:
    """What a recipe's `main` returns."""
    spec = importlib.util.spec_from_file_location(recipe, FOLDER / f"{recipe}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(arguments)


def summary(runs: list[Any]) -> Any:
    """Means and standard deviations of numbers that several runs gave in one shape."""
    if isinstance(runs[0], dict):
        return {key: summary([one[key] for one in runs]) for key in runs[0]}
    if isinstance(runs[0], list):
        return [summary(list(parts)) for parts in zip(*runs, strict=True)]
    return {"mean": round(float(np.mean(runs)), 4), "deviation": round(float(np.std(runs)), 4)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=list(RUNS), help="run these (anew); default: those missing")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    results = read_json(options.output) if options.output.exists() else {}
    for name in options.recipes or [name for name in RUNS if name not in results]:
        recipe, arguments = RUNS[name]
        begun = time.process_time()
        runs = [run(recipe, [*arguments, "--seed", str(seed)]) for seed in range(options.seeds)]
        results[name] = {
            "arguments": arguments,
            "seeds": options.seeds,
            "found": summary(runs),
            "runs": runs,
            "cpu_seconds_a_run": round((time.process_time() - begun) / options.seeds, 1),
            "machine": report.environment(),
        }
        write_json(options.output, results)


if __name__ == "__main__":
    main()
