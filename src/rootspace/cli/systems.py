"""`rootspace systems`: what there is. `rootspace show`: everything about one system."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rootspace.cli.about import digits
from rootspace.cli.options import JSON, Command
from rootspace.cli.planning import PLOT
from rootspace.errors import InputError

_MOST_ROWS = 24
"""Lines of a spectrum that are printed; JSON has them all."""

_MOST_COSINES = 5000
"""A spectrum of more cosines, which unstructured vectors have, says nothing line by line."""


@click.command(
    cls=Command,
    short_help="List the kinds of vector systems.",
    examples=("rootspace systems", "rootspace systems --json"),
)
@JSON
def systems(as_json: bool) -> None:
    """List the kinds of vector systems, one line each.

    "family" is what `rootspace plan --family` takes; "example" is the spec of one member, for `rootspace show` and
    `--system`.
    """
    from rootspace.systems.planning.catalogue import KINDS

    if as_json:
        click.echo(json.dumps([kind.to_dict() for kind in KINDS], indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 140)
    table = Table()
    for column in ("family", "example", "what", "n", "vectors", "max cosine"):
        table.add_column(column, no_wrap=column in ("family", "example"), overflow="fold")
    for kind in KINDS:
        row = (kind.name or "", kind.example, kind.what, kind.n, kind.size, kind.max_cosine)
        table.add_row(*(Text(part) for part in row))  # specs hold brackets, which rich would read as markup
    console.print(table)
    click.echo(
        'Compare them for a number of classes: rootspace plan --classes N. All about one: rootspace show "V22:41".'
    )


@click.command(
    cls=Command,
    short_help="Show everything about one vector system.",
    examples=(
        'rootspace show "V22:41"',
        'rootspace show "A:3" --plot roots.png',
        'rootspace show "V22:8^2 x W1:4" --json',
    ),
)
@click.argument("spec")
@PLOT
@JSON
def show(spec: str, plot: Path | None, as_json: bool) -> None:
    """Show all properties of one vector system, given by its spec such as "V22:41".

    The picture has the cosine spectrum, the cosines of a sample, and for up to four dimensions the vectors in space.
    """
    from rootspace.systems import parse

    system = parse(spec)
    if plot is not None:
        from rootspace.report.systems import save_system

        try:
            save_system(plot, system)
        except (NotImplementedError, OverflowError, MemoryError) as error:
            raise InputError(f"{system.spec} cannot be drawn: {error}") from None
        click.echo(f"drawn in {plot}", err=True)
    facts = _properties(system)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"\n{name.replace('_', ' ')}")
            rows = list(value.items())
            for key, entry in rows[:_MOST_ROWS]:
                click.echo(f"{key.replace('_', ' '):>22}  {_readable(entry)}")
            if len(rows) > _MOST_ROWS:
                click.echo(f"{'':>22}  and {len(rows) - _MOST_ROWS} more; --json has all")
        else:
            click.echo(f"{name.replace('_', ' '):>22}  {_readable(value)}")


def _properties(system: Any) -> dict[str, Any]:
    """Everything that can be said about a system, as JSON values; None where it cannot be had cheaply."""
    from rootspace.systems.base import INT64_MAX
    from rootspace.systems.planning import measures
    from rootspace.systems.planning.bounds import Bounds, angle_between, welch

    max_cosine = _or_none(lambda: system.max_cosine)
    spectrum = _or_none(lambda: measures.spectrum(system))
    bounds = Bounds(system.dim, system.size)
    lines = None if spectrum is None else measures.lines(system)
    facts: dict[str, Any] = {
        "spec": system.spec,
        "dimensions": system.dim,
        "vectors": digits(system.size),
        "bits": system.bits,
        "squared_norm": str(system.squared_norm),
        "coordinates": _or_none(lambda: _few([str(value) for value in system.alphabet])),
        "max_cosine": max_cosine,
        "smallest_angle": None if max_cosine is None else angle_between(max_cosine),
        "mcs": _or_none(lambda: system.mcs),
        "neighbours": _or_none(lambda: measures.neighbours(system)),
        "lines": None if lines is None else str(lines),
        "int64_indices": system.size <= INT64_MAX,
        "decode_cost": _or_none(lambda: measures.decode_cost(system)),
        "log_partition_cost": _or_none(lambda: measures.log_partition_cost(system)),
        "gap_to_the_lower_bound": None if max_cosine is None else max_cosine - bounds.lower,
        "bounds_on_max_cosine": bounds.to_dict(),
    }
    if lines is not None and lines > 1:
        facts["bound_on_mcs"] = {"welch": welch(system.dim, lines)}
    if spectrum is not None and len(spectrum) <= _MOST_COSINES:
        facts["vectors_at_cosine"] = {
            _fraction(cosine): digits(int(count)) if count.denominator == 1 else f"{float(count):.4f}"
            for cosine, count in spectrum.items()
        }
    return facts


def _or_none(compute: Callable[[], Any]) -> Any:
    """A property, or None where the system says that it cannot give it."""
    try:
        return compute()
    except (NotImplementedError, OverflowError, MemoryError):
        return None


def _few(values: list[str]) -> str:
    return ", ".join(values if len(values) <= 9 else [*values[:6], "...", values[-1]])


def _fraction(value: Any) -> str:
    return str(value) if value.denominator < 10_000 else f"{float(value):.6f}"


def _readable(value: Any) -> str:
    if value is None:
        return "- (no cheap exact answer)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value + 0.0:.6f}" if abs(value) < 1000 else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{int(value):,}" if isinstance(value, str) and value.isdigit() and len(value) < 40 else str(value)
