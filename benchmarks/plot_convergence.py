"""Draw result files of convergence.py: accuracy on the untouched sets, by epoch and by seconds of training.

python benchmarks/plot_convergence.py benchmarks/results/characters-3000.json ... --output docs/images/convergence.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from figures import BLUE, GREEN, GREY, ORANGE, legend_below, plt, quiet, save
from rootspace.files import read_json

#: Method -> (colour, label).
SHOWN = {
    "rootspace": (BLUE, "rootspace"),
    "linear": (ORANGE, "learned linear layer"),
    "linear, started at our vectors": (GREEN, "learned layer, started at our vectors"),
    "paper": (GREY, "paper: shuffled V22 at n_min, cosine"),
}


def curves(result: dict[str, Any], sets: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean top-1 over some held-out sets, (seeds, epochs) in per cent, and the seconds trained by then, (epochs,)."""
    accuracy = 100 * np.array([np.mean([run["top1"][name] for name in sets], axis=0) for run in result["runs"]])
    seconds = np.median([run["setup_seconds"] + np.cumsum(run["seconds"]) for run in result["runs"]], axis=0)
    return accuracy, seconds


def draw(files: list[Path]) -> Any:
    """One column a file: accuracy by epoch above, by time below."""
    figure, grid = plt.subplots(2, len(files), figsize=(3.4 * len(files), 5.6), squeeze=False, sharey="col")
    shown: dict[str, Any] = {}
    for column, path in enumerate(files):
        stored = read_json(path)
        above, below = grid[:, column]
        for name, (colour, label) in SHOWN.items():
            if name not in stored["results"]:
                continue
            accuracy, seconds = curves(stored["results"][name], stored["untouched"] or stored["tuning"])
            epochs = np.arange(1, accuracy.shape[1] + 1)
            for axes, x in ((above, epochs), (below, seconds)):
                mean = accuracy.mean(0)
                shown[label], *_ = axes.plot(x, mean, color=colour, marker="o", markersize=3, linewidth=1.5)
                axes.fill_between(x, accuracy.min(0), accuracy.max(0), color=colour, alpha=0.2, linewidth=0)
        above.set_title(f"{stored['task'].partition(':')[0].partition('-')[0]}, {stored['classes']:,} classes")
        above.set_xlabel("epoch")
        above.set_xticks(epochs)
        below.set_xlabel("seconds of training")
        below.set_xlim(left=0)
    for axes in grid.flat:
        quiet(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("held-out top-1, %")
    legend_below(figure, shown, columns=len(shown), room=0.05)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png file")
    options = parser.parse_args()
    save(draw(options.files), options.output)


if __name__ == "__main__":
    main()
