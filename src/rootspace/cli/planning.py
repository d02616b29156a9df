"""`rootspace plan`: which vector systems hold a number of classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rootspace.cli.options import JSON, PATH, Command, option
from rootspace.errors import InputError

if TYPE_CHECKING:
    from rootspace.systems import Option

LIMITS = "What will do"
_WIDE = 124
"""The columns of the whole table need so many characters; a narrower terminal gets fewer columns."""

PLOT = option("--plot", type=PATH, metavar="FILE", help="Draw a picture too, a .png or .svg.")


@click.command(
    cls=Command,
    short_help="Compare vector systems for a number of classes.",
    examples=(
        "rootspace plan --classes 50000",
        "rootspace plan --classes 600000 --max-cosine 0.7 --dim 200",
        "rootspace plan --classes 1000000 --family V22 --family W4 --json",
        "rootspace plan --classes 600000 --plot plan.png",
    ),
)
@option("--classes", type=click.IntRange(min=1), required=True, help="How many classes there are.")
@option(
    "--max-cosine",
    heading=LIMITS,
    type=click.FloatRange(-1, 1),
    help="Only systems whose closest pair has at most this cosine.",
)
@option("--dim", heading=LIMITS, type=click.IntRange(min=1), help="Only systems of at most so many dimensions.")
@option(
    "--family",
    "families",
    heading=LIMITS,
    multiple=True,
    metavar="NAME",
    help="A family to compare, repeatable; `rootspace systems` lists them.  [default: the common ones]",
)
@PLOT
@JSON
def plan(
    classes: int,
    max_cosine: float | None,
    dim: int | None,
    families: tuple[str, ...],
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare vector systems for a number of classes: for each family the smallest dimension, n_min.

    Systems marked * are on the front: none of the others has fewer dimensions and vectors as far apart. "at least" is
    the smallest largest cosine that so many vectors in so many dimensions could have, whatever their arrangement.
    """
    from rootspace.systems import plan as plan_systems

    if max_cosine is not None and max_cosine != max_cosine:
        raise InputError("--max-cosine: nan is no cosine")
    try:
        options = plan_systems(classes, families or None, max_cosine=max_cosine, dim=dim)
    except ValueError as error:
        raise InputError(str(error)) from None
    if plot is not None:
        from rootspace.report.systems import save_plan

        save_plan(plot, options)
        click.echo(f"drawn in {plot}", err=True)
    if as_json:
        click.echo(json.dumps([option.to_dict() for option in options], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 140)  # in a file or a pipe nothing need be cut off
    table = Table(title=f"Smallest systems for {classes:,} classes")
    wide = console.width >= _WIDE
    rows = [_row(option) for option in options]
    for column in rows[0]:
        if wide or column in _NARROW:
            table.add_column(column, justify="left" if column in ("family", "spec", "") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(text for column, text in row.items() if wide or column in _NARROW))
    console.print(table)
    if not wide:
        click.echo("A wider terminal or --json shows neighbours, bits and costs too.")
    click.echo(
        "* no other has as few dimensions and vectors as far apart. Costs are operations for one embedding.\n"
        "Few dimensions and a high fill: compact embeddings, vectors from a key, nothing stored per class.\n"
        "Many more vectors than classes (dense): vectors can follow the data, which learns much faster."
    )


_NARROW = ("", "family", "spec", "n_min", "vectors", "fill", "max cosine", "at least")


def _row(option: Option) -> dict[str, str]:
    """One line of the table, column by column."""
    from rootspace.systems import readable_size

    system = option.system
    neighbours = option.neighbours
    return {
        "": "*" if option.on_front else "",
        "family": option.family,
        "spec": system.spec,
        "n_min": str(system.dim),
        "vectors": readable_size(system.size),
        "fill": f"{option.fill:.1%}" if option.fill > 1e-4 else f"{option.fill:.0e}",
        "max cosine": f"{system.max_cosine:.3f}",
        "at least": f"{option.bounds.lower:.3f}",
        "neighbours": "-" if neighbours is None else f"{neighbours:,}",
        "bits": f"{option.bits:.0f}",
        "decode": _cost(option.decode_cost),
        "log-partition": _cost(option.log_partition_cost),
    }


def _cost(count: int | None) -> str:
    from rootspace.systems import readable_size

    return "-" if count is None else readable_size(count)
