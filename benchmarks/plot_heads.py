"""Draw the result file of heads.py: time and memory of a head against the number of classes.

python benchmarks/plot_heads.py benchmarks/results/heads.json --output docs/images/head-cost.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from figures import BLUE, GREEN, GREY, OCHRE, ORANGE, PINK, VIOLET, legend_below, plt, quiet, save
from rootspace.files import read_json

#: Method -> (colour, label, line).
SHOWN = {
    "system softmax": (BLUE, "rootspace, SystemSoftmax", "-"),
    "system softmax, V22:256": (BLUE, "rootspace, SystemSoftmax, always V22:256", "--"),
    "neighbour softmax": (VIOLET, "rootspace, NeighbourSoftmax", "-"),
    "paper": (GREY, "paper: cosine", "-"),
    "bits": (GREY, "bits, binary cross-entropy", "--"),
    "linear": (ORANGE, "learned linear layer", "-"),
    "cosface": (PINK, "CosFace", "-"),
    "partial fc, sparse": (ORANGE, "Partial FC, a tenth, sparse", "--"),
    "adaptive softmax": (OCHRE, "adaptive softmax", "-"),
    "random vectors": (GREEN, "fixed random vectors, full softmax", "-"),
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
        quiet(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    legend_below(figure, dict(zip(labels, handles, strict=True)), columns=4, room=0.17)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png file")
    options = parser.parse_args()
    save(draw(read_json(options.file)), options.output)


if __name__ == "__main__":
    main()
