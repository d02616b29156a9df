"""One picture of a run, for a README: learning curves, cosines, and what the model answered."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rootspace.errors import require
from rootspace.files import atomic_file
from rootspace.report import draw
from rootspace.report.model import RunReport, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

GOOD, BAD = "#0a8a5f", "#c8322a"


def save_figure(path_png: str | Path, report: RunReport, width: float = 13.0, dpi: int = 150) -> Path:
    """Draw the run into one PNG, `width` inches wide: held-out top-1 by epoch, the cosine histogram, and
    samples beside the class that was answered. Panels without data are left out.

    No label names and no texts are drawn, so that no font for their script is needed.
    """
    matplotlib = require("matplotlib", extra="report")
    figure_type = require("matplotlib.figure", extra="report").Figure
    engine = require("matplotlib.layout_engine", extra="report").ConstrainedLayoutEngine
    panels: list[Any] = []
    if any(m.accuracy and m.accuracy.values for m in report.methods):
        panels.append((_curves, 1.0))
    if report.histogram is not None:
        panels.append((_cosines, 1.0))
    if any(sample.picture for sample in report.samples):
        panels.append((_samples, 1.08))
    path_png = Path(path_png)
    with matplotlib.rc_context({"font.size": 11, "font.family": "DejaVu Sans"}):
        figure = figure_type(
            figsize=(width, 0.325 * width), layout=engine(rect=(0.005, 0.02, 0.99, 0.95)), facecolor="white"
        )
        if panels:
            parts = figure.subfigures(1, len(panels), width_ratios=[w for _, w in panels], wspace=0.02)
            for (panel, _), part in zip(panels, np.atleast_1d(parts), strict=True):
                part.set_facecolor("white")
                panel(part, report)
        with atomic_file(path_png) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi)
    return path_png


def _curves(part: SubFigure, report: RunReport) -> None:
    axes = part.subplots()
    draw.accuracy_by_epoch(axes, report.methods, draw.LIGHT, legend=True)
    _title(axes, "Accuracy on unseen sources" if report.new_source else "Accuracy on held-out data")


def _cosines(part: SubFigure, report: RunReport) -> None:
    if report.histogram is None:
        return
    axes = part.subplots()
    draw.cosines(axes, report.histogram, draw.LIGHT, report.cut, legend=True, headroom=0.35)
    _title(axes, "Cosine with the class's vector")


def _samples(part: SubFigure, report: RunReport) -> None:
    paired = any(sample.guess_picture for sample in report.samples)
    rows, columns = (5, 3) if paired else (5, 6)
    chosen = _chosen(report.samples, rows * columns)
    axes = part.subplots()
    _title(axes, "Seen, and the class it was taken for" if paired else "Samples, right and wrong")
    wide = 2.2 if paired else 1.0
    gap_x, gap_y = 0.55 if paired else 0.22, 0.24
    for i, sample in enumerate(chosen):
        x, y = (i % columns) * (wide + gap_x), -(i // columns) * (1 + gap_y)
        colour = GOOD if sample.right else BAD
        _tile(axes, sample.picture, x, y, colour if not paired else draw.LIGHT.grid, 1.6 if not paired else 1.0)
        if paired:
            _tile(axes, sample.guess_picture, x + 1.2, y, colour, 1.6)
            axes.annotate(
                "", (x + 1.19, y - 0.5), (x + 1.01, y - 0.5),
                arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "lw": 1.2,
                            "mutation_scale": 7},
            )  # fmt: skip
    axes.set_xlim(-0.1, columns * (wide + gap_x) - gap_x + 0.1)
    used = -(-len(chosen) // columns)
    axes.set_ylim(-used * (1 + gap_y) + gap_y - 0.45, 0.1)
    bottom = -used * (1 + gap_y) + gap_y - 0.12
    for word, colour, x in (("right", GOOD, 0.0), ("wrong", BAD, 1.55)):
        axes.plot([x + 0.08], [bottom - 0.2], "s", color=colour, markersize=6, clip_on=False)
        axes.text(x + 0.28, bottom - 0.2, word, color=draw.LIGHT.soft, fontsize="small", va="center")
    axes.set_aspect("equal", anchor="NW")
    axes.axis("off")


def _chosen(samples: tuple[Sample, ...], room: int) -> list[Sample]:
    """About a fifth wrong, the rest right, as far as there are enough of each."""
    right, wrong = [s for s in samples if s.right], [s for s in samples if not s.right]
    bad = min(len(wrong), max(room // 5, room - len(right)))
    return right[: room - bad] + wrong[:bad]


def _tile(axes: Axes, data: str, x: float, y: float, colour: str, line: float) -> None:
    if data:
        image = require("PIL.Image", extra="train").open(io.BytesIO(base64.b64decode(data))).convert("RGB")
        axes.imshow(np.asarray(image), extent=(x, x + 1, y - 1, y), interpolation="antialiased", zorder=1)
    axes.plot(
        [x, x + 1, x + 1, x, x], [y, y, y - 1, y - 1, y], color=colour, linewidth=line,
        solid_joinstyle="round", zorder=2, clip_on=False,
    )  # fmt: skip


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize="medium", fontweight="bold", color=draw.LIGHT.ink, pad=12)
