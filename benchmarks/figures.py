"""How the benchmarks' plots look: transparent, in tones that read on a white and on a black page alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from rootspace.files import atomic_file

GREY = "#7a848f"
BLUE, VIOLET, ORANGE, PINK, GREEN, OCHRE = "#3d8bfd", "#8250df", "#e8772e", "#d6336c", "#2f9e6e", "#b8860b"


def quiet(axes: Any) -> None:
    """Grid, ticks, titles and frame in grey."""
    axes.grid(alpha=0.25)
    axes.tick_params(colors=GREY, which="both")
    for part in (axes.title, axes.xaxis.label, axes.yaxis.label):
        part.set_color(GREY)
    for side in axes.spines.values():
        side.set_color(GREY)


def legend_below(figure: Any, lines: dict[str, Any], columns: int, room: float) -> None:
    """One legend for the whole figure, of lines by their label, in the share `room` of its height."""
    figure.legend(list(lines.values()), list(lines), loc="lower center", ncols=columns, frameon=False, labelcolor=GREY)
    figure.tight_layout(rect=(0, room, 1, 1))


def save(figure: Any, path: Path) -> None:
    """Write an .svg or .png file; the same figure gives the same file."""
    plt.rcParams.update({"svg.hashsalt": "rootspace", "svg.fonttype": "none"})
    still = {"Date": None} if path.suffix == ".svg" else {}
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], metadata=still, transparent=True, dpi=150)
    plt.close(figure)
