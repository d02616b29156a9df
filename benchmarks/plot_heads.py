"""Draw the result file of heads.py: time and memory of a head against the number of classes.

python benchmarks/plot_heads.py benchmarks/results/heads.json --output docs/images/head-cost.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from rootspace.files import atomic_file, read_json

#: Method -> (colour, label, line); mid-tones, which read on a white and on a black page alike.
SHOWN = {
    "system softmax": ("#3d8bfd", "rootspace, SystemSoftmax", "-"),
    "system softmax, V22:256": ("#3d8bfd", "rootspace, SystemSoftmax, always V22:256", "--"),
    "neighbour softmax": ("#8250df", "rootspace, NeighbourSoftmax", "-"),
    "paper": ("#7a848f", "paper: cosine", "-"),
    "bits": ("#7a848f", "bits, binary cross-entropy", "--"),
    "linear": ("#e8772e", "learned linear layer", "-"),
    "cosface": ("#d6336c", "CosFace", "-"),
    "partial fc, sparse": ("#e8772e", "Partial FC, a tenth, sparse", "--"),
    "adaptive softmax": ("#b8860b", "adaptive softmax", "-"),
    "random vectors": ("#2f9e6e", "fixed random vectors, full softmax", "-"),
}
PANELS = {"milliseconds of a step (256 samples)": "time", "peak memory added, MB": "memory"}


def points(cells: dict[str, Any], what: str) -> tuple[list[int], list[float]]:
    """Numbers of classes and values of the cells that were not stopped, ascending."""
    done = sorted((int(n), cell) for n, cell in cells.items() if "stopped" not in cell)
    values = {
        "time": lambda cell: 1000 * (cell["loss_seconds"] + cell["step_seconds"]),
        "memory": lambda cell: cell["peak_bytes"] / 1e6,
    }[what]
    return [n for n, _ in done], [values(cell) for _, cell in done]


def draw(stored: dict[str, Any]) -> Any:
    """Two panels, log-log; a cross is the last number of classes that a method had memory and time for."""
    figure, panels = plt.subplots(1, len(PANELS), figsize=(10.2, 4.6))
    for axes, (title, what) in zip(panels, PANELS.items(), strict=True):
        for name, (colour, label, line) in SHOWN.items():
            cells = stored["heads"].get(name, {})
            x, y = points(cells, what)
            if not x:
                continue
            axes.plot(x, y, color=colour, label=label, linestyle=line, marker="o", markersize=3, linewidth=1.5)
            if any("stopped" in cell for cell in cells.values()):
                axes.plot(x[-1:], y[-1:], color=colour, marker="x", markersize=9, markeredgewidth=2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("classes")
        axes.set_title(title)
        axes.grid(alpha=0.25)
        axes.tick_params(colors="#7a848f", which="both")
        for part in (axes.title, axes.xaxis.label, axes.yaxis.label):
            part.set_color("#7a848f")
        for side in axes.spines.values():
            side.set_color("#7a848f")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False, labelcolor="#7a848f")
    figure.tight_layout(rect=(0, 0.17, 1, 1))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png file")
    options = parser.parse_args()
    # the same input gives the same file
    plt.rcParams.update({"svg.hashsalt": "rootspace", "svg.fonttype": "none"})
    with atomic_file(options.output) as temporary:
        still = {"Date": None} if options.output.suffix == ".svg" else {}
        draw(read_json(options.file)).savefig(
            temporary, format=options.output.suffix[1:], metadata=still, transparent=True, dpi=150
        )


if __name__ == "__main__":
    main()
