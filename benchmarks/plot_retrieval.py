"""Draw the result file of retrieval.py: what is found by the bytes of a vector, and by the queries a second.

python benchmarks/plot_retrieval.py benchmarks/results/retrieval.json --output docs/images/retrieval.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from rootspace.files import atomic_file, read_json

GREY = "#7a848f"
#: Kinds of embeddings -> (colour, label); mid-tones, which read on a white and on a black page alike.
SHOWN = {
    "graded:64": ("#3d8bfd", "graded:64"),
    "graded:16": ("#8a6fe8", "graded:16"),
    "V22:41": ("#2f9e6e", "V22:41"),
    "V22:13": ("#b59b00", "V22:13, n_min"),
    "linear 384": ("#e8772e", "linear layer, 384, and shorter"),
    "nested 384": ("#d6457a", "nested loss, first coordinates"),
}
#: Databases of one embedding -> (colour, marker).
FAMILIES = {"FAISS": ("#e8772e", "o"), "USearch": ("#2f9e6e", "s"), "SystemIndex": ("#3d8bfd", "^")}


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: fewer bytes and more found, by bytes."""
    best: list[tuple[float, float]] = []
    for size, found in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or found > best[-1][1]:
            best.append((size, found))
    return best


def by_bytes(axes: Any, forms: dict[str, dict[str, float]]) -> None:
    for kind, (colour, label) in SHOWN.items():
        every = [
            (form["bytes"], 100 * form["recall@1, new"])
            for name, form in forms.items()
            if name.startswith(f"{kind},") and form["bytes"] >= 2
        ]
        axes.scatter(*zip(*every, strict=True), color=colour, s=9, alpha=0.45, linewidths=0)
        axes.plot(*zip(*front(every), strict=True), color=colour, label=label, linewidth=1.4, marker="o", markersize=3)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("bytes of a vector")
    axes.set_ylabel("recall@1 of new characters, %")


def by_speed(axes: Any, databases: dict[str, dict[str, float]], embedding: str) -> None:
    for family, (colour, marker) in FAMILIES.items():
        points = [
            (row["queries_per_second"], 100 * row["agreement@10"])
            for name, row in databases.items()
            if name.startswith(f"{embedding} | {family}")
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), color=colour, marker=marker, s=22, label=family, linewidths=0)
    axes.set_xscale("log")
    axes.set_xlabel("queries a second of processor time")
    axes.set_ylabel("of the 10 nearest found, %")
    axes.set_title(embedding)


def draw(stored: dict[str, Any]) -> Any:
    """What is found by bytes, large; then by speed, for two sizes of a database."""
    figure, grid = plt.subplots(1, 3, figsize=(11, 3.8), width_ratios=(1.5, 1, 1))
    by_bytes(grid[0], stored["parts"]["forms"])
    for axes, embedding in zip(grid[1:], ("graded:64", "graded:64 x 10"), strict=True):
        by_speed(axes, stored["parts"]["databases"], embedding)
    for axes in grid:
        axes.grid(alpha=0.25)
        axes.tick_params(colors=GREY)
        for part in (axes.title, axes.xaxis.label, axes.yaxis.label):
            part.set_color(GREY)
        for side in axes.spines.values():
            side.set_color(GREY)
    for axes in grid[:2]:
        axes.legend(frameon=False, labelcolor=GREY, fontsize=7, loc="lower right")
    figure.tight_layout()
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
