"""Print result files of convergence.py and train_many_classes.py as Markdown tables: top-1 in per cent, over seeds.

python benchmarks/tables.py benchmarks/results/characters-3000.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.files import read_json


def cell(values: np.ndarray) -> str:
    """Mean and standard deviation of values over seeds."""
    return f"{values.mean():.1f}" + (f" ± {values.std():.1f}" if len(values) > 1 else "")


def seconds_to(result: dict[str, Any], name: str, level: float) -> str:
    """Seconds of set-up and training by the first epoch at whose end a held-out set's mean top-1 is at least level."""
    curve = np.mean([run["top1"][name] for run in result["runs"]], axis=0)
    spent = np.median([run["setup_seconds"] + np.cumsum(run["seconds"]) for run in result["runs"]], axis=0)
    return f"{spent[np.argmax(curve >= level)]:.0f}" if (curve >= level).any() else "-"


def table_of(stored: dict[str, Any], name: str) -> str:
    """One held-out set: a line a method, a column an epoch, and the seconds to 90 and 95 per cent."""
    epochs = range(1, stored["epochs"] + 1)
    head = ["method", *(f"epoch {epoch}" for epoch in epochs), "s to 90 %", "s to 95 %", "rate", "seeds"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for method, result in stored["results"].items():
        curves = 100 * np.array([run["top1"][name] for run in result["runs"]])
        reached = [seconds_to(result, name, level) for level in (0.9, 0.95)]
        ends = [*reached, f"{result['learning_rate']:g}", str(len(curves))]
        lines.append("| " + " | ".join([method, *(cell(column) for column in curves.T), *ends]) + " |")
    return "\n".join(lines)


def timed_table(stored: dict[str, Any]) -> str:
    """Of equal time: a line a method, what it saw, and the last top-1 of every held-out set."""
    sets = [*stored["untouched"], *stored["tuning"]]
    head = ["method", "s", "ms a step", "passes over the data", *sets, "head parameters", "rate"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for method, result in stored["results"].items():
        runs = result["runs"]
        ends = [cell(100 * np.array([run["top1"][name][-1] for run in runs])) for name in sets]
        spent = [run["setup_seconds"] + sum(run["seconds"]) for run in runs]
        seen = [f"{np.mean(spent):.0f}", f"{1000 * runs[0]['step_seconds']:.0f}", f"{runs[0]['passes']:.2f}"]
        more = [f"{runs[0]['head_parameters']:,}", f"{result['learning_rate']:g}"]
        lines.append("| " + " | ".join([method, *seen, *ends, *more]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        stored = read_json(path)
        print(f"\n## {stored['task']}: {stored['classes']:,} classes, {stored['training_images']:,} training images")
        if all("passes" in run for result in stored["results"].values() for run in result["runs"]):
            print(f"\n{timed_table(stored)}")
            continue
        for name in (*stored["untouched"], *stored["tuning"]):
            kind = "untouched" if name in stored["untouched"] else "tuning"
            print(f"\n{name} ({kind})\n\n{table_of(stored, name)}")
        print("\n| method | training, s | set-up, s | parameters in the head |\n| --- | ---: | ---: | ---: |")
        for method, result in stored["results"].items():
            runs = result["runs"]
            trained = np.median([sum(run["seconds"]) for run in runs])
            setup = np.median([run["setup_seconds"] for run in runs])
            print(f"| {method} | {trained:.0f} | {setup:.1f} | {runs[0]['head_parameters']:,} |")


if __name__ == "__main__":
    main()
