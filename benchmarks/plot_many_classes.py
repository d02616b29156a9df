"""Draw result files of train_many_classes.py: accuracy on the untouched sets against seconds of training.

python benchmarks/plot_many_classes.py benchmarks/results/words-50000.json ... --output docs/images/many-classes.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from figures import BLUE, GREEN, GREY, OCHRE, ORANGE, PINK, VIOLET, legend_below, plt, quiet, save
from plot_convergence import curves
from rootspace.files import read_json

#: Method -> (colour, line, label).
SHOWN = {
    "rootspace": (BLUE, "-", "rootspace"),
    "rootspace, nothing stored": (BLUE, "--", "rootspace, nothing stored: V22 at n_min"),
    "rootspace, nothing stored, V22:128": (BLUE, ":", "rootspace, nothing stored: V22:128"),
    "paper": (GREY, "-", "paper: V22 at n_min, cosine"),
    "paper, V22:128": (GREY, ":", "paper: V22:128, cosine"),
    "linear": (ORANGE, "-", "learned linear layer"),
    "linear, started at our vectors": (ORANGE, "--", "learned layer, started at our vectors"),
    "normalised softmax": (PINK, "-", "normalised softmax"),
    "cosface": (PINK, "--", "CosFace"),
    "arcface": (PINK, ":", "ArcFace"),
    "partial fc": (VIOLET, "-", "Partial FC, a tenth"),
    "adaptive softmax": (OCHRE, "-", "adaptive softmax"),
    "random vectors": (GREEN, "-", "fixed random vectors, full softmax"),
    "bits": (GREEN, "--", "bits"),
}


def draw(files: list[Path]) -> Any:
    """One panel a file."""
    figure, grid = plt.subplots(1, len(files), figsize=(4.6 * len(files), 4.9), squeeze=False, sharey=True)
    shown: dict[str, Any] = {}
    for axes, path in zip(grid[0], files, strict=True):
        stored = read_json(path)
        for name, (colour, line, label) in SHOWN.items():
            if name not in stored["results"]:
                continue
            accuracy, seconds = curves(stored["results"][name], stored["untouched"])
            shown[label], *_ = axes.plot(
                seconds, accuracy.mean(0), color=colour, linestyle=line, label=label, marker="o", markersize=3
            )
        axes.set_title(f"{stored['task'].partition(':')[0]}, {stored['classes']:,} classes")
        axes.set_xlabel("seconds of one core, set-up included")
        axes.set_xlim(left=0)
        quiet(axes)
    grid[0, 0].set_ylabel("unseen views, top-1, %")
    legend_below(figure, shown, columns=3, room=0.06 * -(-len(shown) // 3))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png file")
    options = parser.parse_args()
    save(draw(options.files), options.output)


if __name__ == "__main__":
    main()
