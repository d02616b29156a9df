"""The summary table, worked out once and shown in HTML, in a terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from rootspace.markdown import escape, line
from rootspace.report.model import Method, RunReport
from rootspace.report.words import count, duration, percent, rate

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measure: a cell for each method, and which of them are the best (none where it says nothing)."""

    label: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Group:
    """Rows of one kind under a title; `short` fits into the width of a terminal."""

    title: str
    short: str
    rows: tuple[Row, ...]


def groups(report: RunReport) -> tuple[Group, ...]:
    """The table's rows: measures down, methods across, so that many sources fit on a small screen."""
    methods = report.methods
    found = []
    if report.sources:
        where = (
            f"{report.thing}s from a source never seen in training"
            if report.new_source
            else f"held-out {report.thing}s"
        )
        found.append(
            Group(
                f"Right at the first guess (top-1), on {where}",
                "top-1",
                _shares(report, lambda method: method.top1),
            )
        )
        if any(method.topk for method in methods):
            found.append(
                Group(
                    f"Right among the first {report.k} guesses (top-{report.k})",
                    f"top-{report.k}",
                    _shares(report, lambda method: method.topk),
                )
            )
    cost = (
        Row("Parameters", tuple(count(m.parameters) for m in methods)),
        Row("in the head, because of the classes", tuple(count(m.head_parameters) for m in methods)),
        _ranked("Training time", [m.seconds for m in methods], duration, lowest=True),
        _ranked(
            "Texts a second" if report.thing == "text" else "Images a second",
            [m.images_per_second for m in methods],
            rate,
        ),
    )
    return (*found, Group("What it cost", "cost", cost))


def terminal_table(report: RunReport) -> Table:
    """The summary as a `rich` table: best values are bold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(report.title), box=box.SIMPLE_HEAD, title_justify="left")
    if report.remark:
        table.caption, table.caption_justify = Text(report.remark), "left"
    table.add_column("")
    table.add_column("held out" if report.sources else "", overflow="fold")
    for method in report.methods:
        # names come from users: as Text they are not read as markup
        table.add_column(Text(method.name), justify="right")
    for group in groups(report):
        for i, row in enumerate(group.rows):
            cells = [Text(cell, "bold green" if j in row.best else "") for j, cell in enumerate(row.cells)]
            table.add_row(
                Text(group.short if i == 0 else "", "bold"), Text(row.label), *cells,
                end_section=i == len(group.rows) - 1,
            )  # fmt: skip
    return table


def print_table(report: RunReport, console: Console | None = None) -> None:
    """Print the summary table to `console`, by default standard output."""
    if console is None:
        from rich.console import Console

        console = Console()
    console.print(terminal_table(report))


def markdown_table(report: RunReport) -> str:
    """The summary as a Markdown table, best values in bold; ends in a line break."""
    lines = [
        line(["", *(escape(method.name) for method in report.methods)]),
        line(["---", *["---:"] * len(report.methods)]),
    ]
    for group in groups(report):
        for row in group.rows:
            label = row.label if group.short == "cost" else f"{group.short}, {row.label}"
            cells = [escape(cell) for cell in row.cells]
            bold = [f"**{cell}**" if i in row.best else cell for i, cell in enumerate(cells)]
            lines.append(line([escape(label), *bold]))
    return "\n".join(lines) + "\n"


def mean_top1(method: Method) -> float:
    """The mean over held-out sources of the top-1 share; NaN where there is none."""
    return fmean(method.top1.values()) if method.top1 else math.nan


def _shares(report: RunReport, of: Callable[[Method], dict[str, float]]) -> tuple[Row, ...]:
    rows = [
        _ranked(source, [of(method).get(source, math.nan) for method in report.methods], percent)
        for source in report.sources
    ]
    if len(rows) > 1:
        means = [fmean(of(m).get(s, math.nan) for s in report.sources) for m in report.methods]
        rows.append(_ranked("Mean", means, percent))
    return tuple(rows)


def _ranked(label: str, values: Sequence[float], show: Callable[[float], str], lowest: bool = False) -> Row:
    cells = tuple(show(value) for value in values)
    real = [value for value in values if math.isfinite(value)]
    if len(real) < 2:
        return Row(label, cells)
    best = show(min(real) if lowest else max(real))
    # what reads the same is equally good; where all read the same there is no best
    winners = frozenset(i for i, cell in enumerate(cells) if cell == best)
    return Row(label, cells, winners if len(winners) < len(cells) else frozenset())
