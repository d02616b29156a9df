"""Draw result files of convergence.py: accuracy on the untouched sets, by epoch and by seconds of training.

python benchmarks/plot_convergence.py benchmarks/results/characters-3000.json ... --output docs/images/convergence.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from rootspace.files import atomic_file, read_json

#: Method -> (colour, label); mid-tones, which read on a white and on a black page alike.
SHOWN = {
    "rootspace": ("#3d8bfd", "rootspace"),
    "linear": ("#e8772e", "learned linear layer"),
    "linear, started at our vectors": ("#2f9e6e", "learned layer, started at our vectors"),
    "paper": ("#7a848f", "paper: shuffled V22 at n_min, cosine"),
}


def curves(result: dict[str, Any], sets: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean top-1 over some held-out sets, (seeds, epochs) in per cent, and the seconds trained by then, (epochs,)."""
    accuracy = 100 * np.array([np.mean([run["top1"][name] for name in sets], axis=0) for run in result["runs"]])
    seconds = np.median([run["setup_seconds"] + np.cumsum(run["seconds"]) for run in result["runs"]], axis=0)
    return accuracy, seconds


def draw(files: list[Path]) -> Any:
    """One column a file: accuracy by epoch above, by time below."""
    figure, grid = plt.subplots(2, len(files), figsize=(3.4 * len(files), 5.6), squeeze=False, sharey="col")
    for column, path in enumerate(files):
        stored = read_json(path)
        above, below = grid[:, column]
        for name, (colour, label) in SHOWN.items():
            if name not in stored["results"]:
                continue
            accuracy, seconds = curves(stored["results"][name], stored["untouched"] or stored["tuning"])
            epochs = np.arange(1, accuracy.shape[1] + 1)
            for axes, x in ((above, epochs), (below, seconds)):
                axes.plot(x, accuracy.mean(0), color=colour, label=label, marker="o", markersize=3, linewidth=1.5)
                axes.fill_between(x, accuracy.min(0), accuracy.max(0), color=colour, alpha=0.2, linewidth=0)
        above.set_title(f"{stored['task'].partition(':')[0].partition('-')[0]}, {stored['classes']:,} classes")
        above.set_xlabel("epoch")
        above.set_xticks(epochs)
        below.set_xlabel("seconds of training")
        below.set_xlim(left=0)
    for axes in grid.flat:
        axes.grid(alpha=0.25)
        axes.tick_params(colors="#7a848f")
        for part in (axes.title, axes.xaxis.label, axes.yaxis.label):
            part.set_color("#7a848f")
        for side in axes.spines.values():
            side.set_color("#7a848f")
    for axes in grid[:, 0]:
        axes.set_ylabel("held-out top-1, %")
    handles, labels = max((axes.get_legend_handles_labels() for axes in grid[0]), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, labelcolor="#7a848f")
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png file")
    options = parser.parse_args()
    # the same input gives the same file
    plt.rcParams.update({"svg.hashsalt": "rootspace", "svg.fonttype": "none"})
    with atomic_file(options.output) as temporary:
        still = {"Date": None} if options.output.suffix == ".svg" else {}
        draw(options.files).savefig(
            temporary, format=options.output.suffix[1:], metadata=still, transparent=True, dpi=150
        )


if __name__ == "__main__":
    main()
