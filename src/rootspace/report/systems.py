"""Pictures of vector systems: a plan's Pareto front between the bounds, and what one system looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rootspace.errors import InputError, require
from rootspace.files import atomic_file
from rootspace.report.draw import LIGHT, style
from rootspace.systems import VectorSystem, readable_size
from rootspace.systems.planning.bounds import Bounds
from rootspace.systems.planning.measures import spectrum
from rootspace.systems.planning.planner import Option, pareto

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

SUFFIXES = (".png", ".svg")
SAMPLE = 48
"""Vectors of a sample whose Gram matrix is drawn."""
MOST_BARS = 400
"""A spectrum of more cosines is drawn as a histogram."""
MOST_POINTS = 1500
"""Vectors drawn in space at most."""
MOST_BARS = 400
"""Cosines of a spectrum drawn as a bar each; more are drawn as a histogram."""


def check_suffix(path: str | Path) -> None:
    """Raise `InputError` unless the name ends in .png or .svg."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a plot's file name ends in {' or '.join(SUFFIXES)}")


def save_plan(path: str | Path, options: Sequence[Option]) -> Path:
    """Draw the options of one plan, dimension against largest cosine, their Pareto front and the bounds.

    The bounds are those for the number of classes, in every dimension: below the lower one nothing exists, up to the
    random-coding one something does. PNG or SVG, by the suffix; written whole or not at all.
    """
    check_suffix(path)
    return _save(path, (8.6, 5.2), lambda figure: _plan(figure.subplots(), options))


def save_system(path: str | Path, system: VectorSystem, seed: int = 0) -> Path:
    """Draw one system: its cosine spectrum, the Gram matrix of a sample, and its vectors where space can hold them.

    Up to 1,500 vectors of up to four dimensions are drawn; of four dimensions three are seen and the fourth is the
    colour. The spectrum of a system too large for it is estimated from the sample, and says so.
    """
    check_suffix(path)
    sample = _sample(system, seed)
    panels = [_spectrum, _gram, *([_space] if system.dim <= 4 and system.size <= MOST_POINTS else [])]

    def draw(figure: Figure) -> None:
        parts: Any = figure.subfigures(1, len(panels), wspace=0.04)
        for panel, part in zip(panels, np.atleast_1d(parts), strict=True):
            part.set_facecolor("white")
            panel(part, system, sample)

    return _save(path, (4.6 * len(panels), 4.3), draw)


def _save(path: str | Path, size: tuple[float, float], draw: Any) -> Path:
    path = Path(path)
    matplotlib = require("matplotlib", extra="report")
    figure_type = require("matplotlib.figure", extra="report").Figure
    kind = path.suffix.lower().removeprefix(".")
    # the same picture is the same file
    look = {"font.size": 10, "font.family": "DejaVu Sans", "svg.hashsalt": "rootspace", "svg.fonttype": "path"}
    with matplotlib.rc_context(look):
        figure = figure_type(figsize=size, layout="constrained", facecolor="white")
        draw(figure)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return path


# ------------------------------------------------------------------ a plan


def _plan(axes: Axes, options: Sequence[Option]) -> None:
    style(axes, LIGHT)
    axes.grid(axis="x", color=LIGHT.grid, linewidth=0.8)
    n_classes = options[0].n_classes
    dims = [option.system.dim for option in options]
    first, last = max(2, min(dims) / 2), 2.2 * max(dims)
    _bounds(axes, n_classes, first, last)
    front = pareto(options)
    corners = [(option.system.dim, option.system.max_cosine) for option in front]
    axes.step(
        [n for n, _ in corners] + [last], [c for _, c in corners] + [corners[-1][1]], where="post",
        color=LIGHT.of(0), linewidth=1.6, zorder=3, label="best of these families",
    )  # fmt: skip
    chosen = {id(option) for option in front}
    for option in options:
        on = id(option) in chosen
        n, cosine = option.system.dim, option.system.max_cosine
        colour = LIGHT.of(0) if on else LIGHT.soft
        axes.plot([n], [cosine], "o", markersize=6, color=colour, markerfacecolor=colour if on else "white", zorder=4)
    bottom, top = min(0.0, *(option.system.max_cosine for option in options), 0.0) - 0.02, 1.04
    axes.set_xscale("log")
    axes.set_xlim(first, last)
    axes.set_ylim(bottom, top)
    # in points on a panel of about this size, so that labels can keep out of each other's way
    across, up = 530 / math.log(last / first), 265 / (top - bottom)
    places = [(across * math.log(o.system.dim / first), up * (o.system.max_cosine - bottom)) for o in options]
    names = [f"{option.family}  n={option.system.dim:,}" for option in options]
    order = sorted(range(len(options)), key=lambda i: id(options[i]) not in chosen)
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]
    for i, (dx, dy) in _offsets(places, names, order, 530.0).items():
        axes.annotate(
            names[i], (options[i].system.dim, options[i].system.max_cosine), xytext=(dx, dy),
            textcoords="offset points", fontsize="small", zorder=5,
            color=LIGHT.ink if id(options[i]) in chosen else LIGHT.soft, path_effects=halo,
        )  # fmt: skip
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if last / first < 300 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.minorticks_off()
    axes.set_xlabel("dimensions")
    axes.set_ylabel("largest cosine between two vectors")
    axes.set_title(
        f"Room for {readable_size(n_classes)} classes", loc="left", fontsize="medium", fontweight="bold",
        color=LIGHT.ink, pad=12,
    )  # fmt: skip
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False, fontsize="small")


def _offsets(
    places: Sequence[tuple[float, float]], names: Sequence[str], order: Sequence[int], width: float
) -> dict[int, tuple[float, float]]:
    """Where each label goes, relative to its point, in points: the first spot free of points and other labels."""
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    found = {}
    for i in order:
        x, y = places[i]
        wide, high = 5.0 * len(names[i]), 9.0
        rises, sides = (6.0, -14.0, 17.0, -25.0, 28.0, -36.0, 39.0), (3.0, 6.0 - wide, -wide / 2)
        spots = [(side, rise) for rise in rises for side in sides] + [(8.0, -4.0), (-8.0 - wide, -4.0)]
        boxes = [(x + side, y + rise, x + side + wide, y + rise + high) for side, rise in spots]
        clashes = [
            sum(_overlap(box, other) for other in taken) + 100 * max(0.0, box[2] - width, -box[0]) for box in boxes
        ]
        best = clashes.index(min(clashes))
        found[i] = spots[best]
        taken.append(boxes[best])
    return found


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _bounds(axes: Axes, n_classes: int, first: float, last: float) -> None:
    size = max(n_classes, 2)
    dims = sorted({max(2, round(first * (last / first) ** (i / 90))) for i in range(91)})
    found = [Bounds(n, size) for n in dims]
    lower = [b.lower for b in found]
    axes.fill_between(dims, [-1.0] * len(dims), lower, color=LIGHT.grid, alpha=0.55, linewidth=0, zorder=0)
    axes.plot(dims, lower, color=LIGHT.ink, linewidth=1.3, label="no vectors do better (lower bound)", zorder=2)
    axes.plot(
        dims, [b.upper for b in found], color=LIGHT.of(2), linewidth=1.3, dashes=(5, 2), zorder=2,
        label="some vectors do as well (random coding)",
    )  # fmt: skip
    axes.plot(
        dims, [b.asymptotic for b in found], color=LIGHT.of(1), linewidth=1.1, dashes=(1.5, 1.5), zorder=2,
        label="Kabatiansky–Levenshtein rate (asymptotic, no bound here)",
    )  # fmt: skip


# ------------------------------------------------------------------ one system


def _sample(system: VectorSystem, seed: int) -> torch.Tensor:
    """Up to `SAMPLE` unit vectors of the system, float64: all of a small one, some of a larger one at random."""
    if system.size <= SAMPLE:
        vectors = system.all(torch.float64)
    else:
        generator = torch.Generator().manual_seed(seed)
        if system.size <= 2**62:
            index = torch.randint(system.size, (SAMPLE,), generator=generator)
            vectors = system.unrank(index.unique(), torch.float64)
        else:
            # random directions fall to the vectors of an orbit alike
            vectors = system.nearest(torch.randn(SAMPLE, system.dim, generator=generator, dtype=torch.float64))
    return vectors / system.norm


def _spectrum(part: Any, system: VectorSystem, sample: torch.Tensor) -> None:
    axes = part.subplots()
    style(axes, LIGHT)
    counts = spectrum(system)
    if counts is not None and len(counts) > MOST_BARS:
        weights = [float(count) for count in counts.values()]
        axes.hist([float(c) for c in counts], bins=81, range=(-1, 1), weights=weights, color=LIGHT.of(0), alpha=0.7)
        axes.set_ylabel("vectors at about this cosine from one")
        _title(axes, "Cosine spectrum")
    elif counts is None:
        gram = (sample @ sample.T)[~torch.eye(len(sample), dtype=torch.bool)]
        axes.hist(gram.numpy(), bins=41, range=(-1, 1), color=LIGHT.of(0), alpha=0.7)
        axes.set_ylabel("pairs of the sample")
        _title(axes, "Cosines (of a sample)")
    elif len(counts) > MOST_BARS:
        # a system without symmetry: nearly every pair has a cosine of its own
        weights = [float(count) for count in counts.values()]
        axes.hist([float(cosine) for cosine in counts], bins=101, range=(-1, 1), weights=weights, color=LIGHT.of(0))
        axes.set_ylabel("vectors at about this cosine from one")
        _title(axes, "Cosine spectrum")
    else:
        cosines = [float(cosine) for cosine in counts]
        heights = [float(count) for count in counts.values()]
        scale = math.log10 if max(heights) > 1e300 else None
        if scale:  # more than a float's axis holds
            heights = [float(len(str(count.numerator)) - 1) for count in counts.values()]
        wide = min(0.09, 0.6 * min((a - b for a, b in pairwise(cosines)), default=1.0))
        bars = axes.bar(cosines, heights, width=wide, color=LIGHT.of(0))
        closest = min(range(1, len(cosines)), key=lambda i: abs(cosines[i] - system.max_cosine), default=0)
        bars[closest].set_color(LIGHT.of(1))
        if not scale and max(heights) > 50 * min(heights):
            axes.set_yscale("log")
            axes.set_ylim(min(0.6, 0.6 * min(heights)), 3 * max(heights))
        axes.set_ylabel("log10 of the vectors" if scale else "vectors at this cosine from one")
        if len(cosines) <= 9:
            for cosine, height in zip(cosines, heights, strict=True):
                axes.annotate(
                    readable_size(int(height)) if height == int(height) else f"{height:.1f}", (cosine, height),
                    xytext=(0, 3), textcoords="offset points", ha="center", fontsize="x-small", color=LIGHT.soft,
                )  # fmt: skip
        _title(axes, f"{system.spec}: cosine spectrum" if len(system.spec) < 20 else "Cosine spectrum")
    axes.set_xlim(-1.1, 1.1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"])
    axes.minorticks_off()
    axes.set_xlabel("cosine")


def _gram(part: Any, system: VectorSystem, sample: torch.Tensor) -> None:
    axes = part.subplots()
    image = axes.imshow((sample @ sample.T).numpy(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    bar = part.colorbar(image, ax=axes, shrink=0.75, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=LIGHT.soft, length=0)
    whole = "all" if len(sample) == system.size else "a sample of"
    _title(axes, f"Cosines of {whole} {len(sample)} vectors")


def _space(part: Any, system: VectorSystem, sample: torch.Tensor) -> None:
    vectors = system.all(torch.float64) / system.norm
    centred = vectors - vectors.mean(0)
    _, stretch, axes_of = torch.linalg.svd(centred, full_matrices=False)
    rank = int((stretch > 1e-9 * stretch[0]).sum())
    # vectors in a plane, or a space of fewer dimensions: draw that
    points = centred @ axes_of[:rank].T if rank < system.dim else vectors @ _turn(rank)
    points = points.numpy()
    pairs = _closest_pairs(vectors, system.max_cosine)
    note = f" (in the {rank}-dimensional space they span)" if rank < system.dim else ""
    if points.shape[1] <= 2:
        flat = points if points.shape[1] == 2 else np.column_stack([points[:, 0], np.zeros(len(points))])
        axes = part.subplots()
        for i, j in pairs:
            axes.plot(*flat[[i, j]].T, color=LIGHT.grid, linewidth=1.2, zorder=1)
        for x, y in flat:
            axes.plot([0, x], [0, y], color=LIGHT.of(0), linewidth=1.1, zorder=2)
        axes.plot(*flat.T, "o", color=LIGHT.of(0), markersize=5, zorder=3)
        axes.set_aspect("equal")
        axes.axis("off")
        _title(axes, f"The vectors{note}")
        return
    axes = part.add_subplot(projection="3d")
    for i, j in pairs:
        axes.plot(*points[[i, j], :3].T, color=LIGHT.soft, alpha=0.45, linewidth=0.8)
    if points.shape[1] == 3:
        axes.scatter(*points.T, color=LIGHT.of(0), s=26, depthshade=True)
    else:
        dots = axes.scatter(*points[:, :3].T, c=points[:, 3], cmap="viridis", s=26, depthshade=False)
        bar = part.colorbar(dots, ax=axes, shrink=0.6, pad=0.02)
        bar.set_label("position along the fourth direction", color=LIGHT.soft)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=LIGHT.soft, length=0)
    axes.set_axis_off()
    axes.set_box_aspect((1, 1, 1))
    axes.view_init(elev=18, azim=-52)
    _title(axes, f"The vectors{note}")


def _turn(rank: int) -> torch.Tensor:
    """The identity up to three dimensions; in four a rotation, so that no two vectors of use fall on one another."""
    if rank < 4:
        return torch.eye(rank, dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    return torch.linalg.qr(torch.randn(rank, rank, generator=generator, dtype=torch.float64))[0]


def _closest_pairs(vectors: torch.Tensor, max_cosine: float) -> list[tuple[int, int]]:
    if len(vectors) > 150:  # more edges than an eye can follow
        return []
    close = torch.triu(vectors @ vectors.T >= max_cosine - 1e-9, diagonal=1)
    return [(int(i), int(j)) for i, j in close.nonzero()]


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize="medium", fontweight="bold", color=LIGHT.ink, pad=12)
