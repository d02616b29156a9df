"""The report as one HTML file that needs nothing else: no network, no scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rootspace.errors import require
from rootspace.files import write_json, write_text
from rootspace.report import draw
from rootspace.report.model import RunReport
from rootspace.report.svg import PAGE, inline_svg
from rootspace.report.table import groups, mean_top1
from rootspace.report.words import count, duration, percent


def write_report(path: str | Path, report: RunReport) -> tuple[Path, Path]:
    """Write the report to `path` (an .html file, or a folder that gets report.html) and results.json beside it.

    Returns both paths. Everything from the user is escaped; the page loads nothing and runs nothing. Raises
    `MissingExtraError` without matplotlib and Jinja2.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        path = path / "report.html"
    page = render(report)
    results = path.with_name("results.json")
    write_text(path, page)
    write_json(results, report.to_dict())
    return path, results


def render(report: RunReport) -> str:
    """The report's HTML."""
    jinja = require("jinja2", extra="report")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, percent=percent, duration=duration, pretty=_pretty)
    plots = {name: jinja.utils.markupsafe.Markup(svg) for name, svg in _plots(report).items()}
    template = environment.get_template("report.html.jinja")
    return template.render(
        report=report,
        groups=groups(report),
        tiles=_tiles(report),
        plots=plots,
        dashes=[" ".join(map(str, one)) for one in draw.DASHES],
        right=[sample for sample in report.samples if sample.right],
        wrong=[sample for sample in report.samples if not sample.right],
    )


def _plots(report: RunReport) -> dict[str, str]:
    methods, found = report.methods, {}
    if any(m.accuracy and m.accuracy.values for m in methods):
        words = draw.describe_accuracy(methods)
        found["epoch"] = _plot(draw.accuracy_by_epoch, report, "epoch", words)
        found["time"] = _plot(draw.accuracy_by_time, report, "time", words + " Over wall time.")
    if any(m.loss and m.loss.values for m in methods):
        ends = "; ".join(
            f"{m.name} from {m.loss.values[0]:.3g} to {m.loss.values[-1]:.3g}"
            for m in methods
            if m.loss and m.loss.values
        )
        found["loss"] = _plot(draw.loss_by_epoch, report, "loss", f"Training loss: {ends}.")
    if report.histogram is not None:
        one = report.histogram
        words = (
            f"Histogram of cosines over {one.n} samples: own class, mean {one.own_mean:.2f}; nearest other "
            f"class, mean {one.other_mean:.2f}."
        )
        drawn = partial(draw.cosines, histogram=one, palette=PAGE, threshold=report.cut)
        found["cosines"] = inline_svg(drawn, "cosines", words, (4.8, 2.7))
    if report.reliability is not None:
        drawn = partial(draw.reliability, found=report.reliability, palette=PAGE)
        found["reliability"] = inline_svg(
            drawn, "reliability", draw.describe_reliability(report.reliability), (4.8, 2.7)
        )
    return found


def _plot(drawing: Callable[..., None], report: RunReport, name: str, words: str) -> str:
    return inline_svg(partial(drawing, methods=report.methods, palette=PAGE), name, words)


def _tiles(report: RunReport) -> list[tuple[str, str, str]]:
    """The few numbers to see first: (value, what it is, remark)."""
    main, others = report.methods[0], report.methods[1:]
    tiles = []
    if main.top1:
        sources = sorted(main.top1, key=lambda source: main.top1[source])
        remark, on = f"top-1 of {main.name}", sources[0]
        if len(sources) > 1:  # the best one alone would flatter
            worst, best = (f"{percent(main.top1[source])} on {source}" for source in (sources[0], sources[-1]))
            remark, on = f"{remark}: {worst} to {best}", f"the mean of {len(sources)} sets"
        tiles.append((percent(mean_top1(main)), f"right at the first guess, on {on}", remark))
    if report.system is not None:
        tiles.append((count(report.system.n_classes), "classes", f"in {report.system.dim} dimensions"))
    heads = [other for other in others if other.head_parameters][:2]
    against = ", ".join(f"{count(other.head_parameters)} in {other.name}" for other in heads)
    tiles.append((count(main.head_parameters), "parameters in the head", f"against {against}" if against else ""))
    tiles.append((duration(main.seconds), "of training", f"{count(main.parameters)} parameters in all"))
    return tiles


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
