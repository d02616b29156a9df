"""Curves and histograms drawn on matplotlib axes; the HTML report and the README's picture share them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rootspace.evaluate import Calibration, Histogram, Reliability
from rootspace.report.model import Curve, Method
from rootspace.report.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 1), (9, 3))
"""A line's dashes by method: colour alone does not tell lines apart for everyone."""


@dataclass(frozen=True)
class Palette:
    """Colours of a drawing."""

    ink: str
    soft: str
    grid: str
    surface: str
    series: tuple[str, ...]

    def of(self, i: int) -> str:
        """The colour of the i-th method."""
        return self.series[i % len(self.series)]


LIGHT = Palette(
    ink="#16202e", soft="#5b6678", grid="#e4e8ee", surface="#ffffff",
    series=("#2459d6", "#d9730d", "#0d8a6a", "#b0359a", "#6b7280", "#8a6d0a"),
)  # fmt: skip


def style(axes: Axes, palette: Palette) -> None:
    """A quiet frame: one line below, faint horizontal rules, soft labels."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(palette.grid)
    axes.tick_params(colors=palette.soft, length=0, pad=5)
    axes.xaxis.label.set_color(palette.soft)
    axes.yaxis.label.set_color(palette.soft)
    axes.grid(axis="y", color=palette.grid, linewidth=0.8)
    axes.set_axisbelow(True)


def accuracy_by_epoch(axes: Axes, methods: Sequence[Method], palette: Palette, legend: bool = False) -> None:
    """Held-out top-1 (percent) by epoch, a line for each method."""
    _lines(axes, ((i, m.name, m.accuracy, "epochs") for i, m in enumerate(methods)), palette, 100.0)
    _percent_axis(axes)
    axes.set_xlabel("epoch")
    _finish(axes, palette, legend)


def accuracy_by_time(axes: Axes, methods: Sequence[Method], palette: Palette, legend: bool = False) -> None:
    """Held-out top-1 (percent) by wall time, a line for each method."""
    longest = max((max(m.accuracy.seconds, default=0.0) for m in methods if m.accuracy), default=0.0)
    unit, name = (60.0, "minutes") if longest > 180 else (1.0, "seconds")
    curves = [(i, m.name, _scaled(m.accuracy, unit) if m.accuracy else None, "seconds") for i, m in enumerate(methods)]
    _lines(axes, curves, palette, 100.0)
    _percent_axis(axes)
    axes.set_xlabel(f"{name} of training")
    _finish(axes, palette, legend)


def loss_by_epoch(axes: Axes, methods: Sequence[Method], palette: Palette, legend: bool = False) -> None:
    """Training loss by epoch; on a logarithmic axis where it spans more than a factor of 20."""
    _lines(axes, ((i, m.name, m.loss, "epochs") for i, m in enumerate(methods)), palette, 1.0, marks=False)
    values = [v for m in methods if m.loss for v in m.loss.values if math.isfinite(v)]
    if values and min(values) > 0 and max(values) > 20 * min(values):
        from matplotlib.ticker import FuncFormatter, LogLocator

        axes.set_yscale("log")
        # plain numbers: powers of ten are set in mathematical type, which falls out of the page's look
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        steps = (1.0, 2.0, 5.0) if max(values) < 1000 * min(values) else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.minorticks_off()
    axes.set_xlabel("epoch")
    _finish(axes, palette, legend)


def cosines(
    axes: Axes, histogram: Histogram, palette: Palette, threshold: float | None = None,
    legend: bool = False, headroom: float = 0.0,
) -> None:  # fmt: skip
    """Share of samples (percent) by cosine: own class, and nearest other class; the rejection threshold.

    `headroom` is left above the highest bar, as a share of its height, for a legend.
    """
    edges = np.asarray(histogram.edges)
    total = max(1, histogram.n)
    counts = [np.asarray(histogram.own), np.asarray(histogram.other)]
    for i, (row, name) in enumerate(zip(counts, ("own class", "nearest other class"), strict=True)):
        colour = palette.of(i)
        heights = 100.0 * row / total
        axes.stairs(heights, edges, fill=True, color=colour, alpha=0.28, linewidth=0)
        axes.stairs(heights, edges, color=colour, linewidth=1.8, label=name)
    used = np.flatnonzero(counts[0] + counts[1])
    low, high = (edges[used[0]], edges[used[-1] + 1]) if len(used) else (-1.0, 1.0)
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    pad = 0.04 * (high - low)
    axes.set_xlim(max(-1.02, low - pad), min(1.02, high + pad))
    top = 1.06 * max(1e-9, 100.0 * max(row.max() for row in counts) / total)
    axes.set_ylim(0, top * (1 + headroom))
    if threshold is not None:
        axes.vlines(
            threshold, 0, top, color=palette.ink, linewidth=1.3, linestyles=(0, (4, 3)), label="rejection threshold"
        )
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_xlabel("cosine with the class vector")
    _finish(axes, palette, legend)


def reliability(axes: Axes, found: Reliability, palette: Palette, legend: bool = False) -> None:
    """Share that is right (percent) by probability, a point for each bin that has samples; the diagonal is perfect."""
    axes.plot([0, 100], [0, 100], color=palette.soft, linewidth=1.2, linestyle=(0, (4, 3)), label="perfect")
    lines = (("as it is", found.before), ("at the temperature", found.after))
    for i, (name, one) in enumerate(lines):
        if one is None:
            continue
        x, y = _points(one)
        (line,) = axes.plot(
            x, y, color=palette.of(i), linewidth=2, marker="o", markersize=4.5, markeredgewidth=0,
            label=name, zorder=10 - i, solid_capstyle="round",
        )  # fmt: skip
        if DASHES[i]:
            line.set_dashes(DASHES[i])
    axes.set_xlim(-2, 102)
    _percent_axis(axes)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_xlabel("probability of the best class")
    _finish(axes, palette, legend)


def describe_reliability(found: Reliability) -> str:
    """The reliability diagram in words, for those who do not see it."""
    parts = [
        f"{percent(confidence)} expected, {percent(accuracy)} right ({count})"
        for count, confidence, accuracy in zip(
            found.before.counts, found.before.confidence, found.before.accuracy, strict=True
        )
        if count
    ]
    return f"Share of right answers by probability: {'; '.join(parts)}."


def describe_accuracy(methods: Sequence[Method]) -> str:
    """The accuracy curves in words, for those who do not see them."""
    parts = [
        f"{m.name} from {percent(m.accuracy.values[0])} to {percent(m.accuracy.values[-1])} "
        f"after {m.accuracy.epochs[-1]:g} epochs"
        for m in methods
        if m.accuracy and m.accuracy.values
    ]
    return "Held-out top-1: " + "; ".join(parts) + "."


def _lines(
    axes: Axes,
    curves: Iterable[tuple[int, str, Curve | None, str]],
    palette: Palette,
    factor: float,
    marks: bool = True,
) -> None:
    for i, name, curve, along in curves:
        if curve is None or not curve.values:
            continue
        x, y = np.asarray(getattr(curve, along), float), factor * np.asarray(curve.values, float)
        marker = "o" if marks and len(x) <= 24 else None
        (line,) = axes.plot(
            x, y, color=palette.of(i), linewidth=2, marker=marker, markersize=4.5, markeredgewidth=0,
            label=name, zorder=10 - i, solid_capstyle="round",
        )  # fmt: skip
        if DASHES[i % len(DASHES)]:
            line.set_dashes(DASHES[i % len(DASHES)])
    axes.set_xlim(0, None)


def _points(found: Calibration) -> tuple[list[float], list[float]]:
    """Mean probability and share that is right, in percent, of the bins that have samples."""
    rows = zip(found.counts, found.confidence, found.accuracy, strict=True)
    used = [(100 * confidence, 100 * accuracy) for count, confidence, accuracy in rows if count]
    return [x for x, _ in used], [y for _, y in used]


def _percent_axis(axes: Axes) -> None:
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")


def _finish(axes: Axes, palette: Palette, legend: bool) -> None:
    style(axes, palette)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, labelcolor=palette.ink, fontsize="small", handlelength=2.4, borderaxespad=0.2)


def _scaled(curve: Curve, unit: float) -> Curve:
    return Curve(curve.epochs, tuple(value / unit for value in curve.seconds), curve.values)
