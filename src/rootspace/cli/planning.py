"""`rootspace plan`: which vector systems hold a number of classes."""

from __future__ import annotations

import json

import click

from rootspace.cli.options import JSON, Command, option
from rootspace.errors import InputError, require


@click.command(
    cls=Command,
    short_help="Compare vector systems for a number of classes.",
    examples=(
        "rootspace plan --classes 50000",
        "rootspace plan --classes 1000000 --family V22 --family W4 --json",
    ),
)
@option("--classes", type=click.IntRange(min=1), required=True, help="How many classes there are.")
@option(
    "--family",
    "families",
    multiple=True,
    metavar="NAME",
    help="A family to compare, repeatable: A, D, Vpq (V22), Ww (W3), dense.  [default: eight common ones]",
)
@JSON
def plan(classes: int, families: tuple[str, ...], as_json: bool) -> None:
    """Compare vector systems for a number of classes: for each family the smallest dimension, n_min."""
    from rootspace.systems import FAMILIES, readable_size
    from rootspace.systems import plan as plan_systems

    try:
        options = plan_systems(classes, families or FAMILIES)
    except ValueError as error:
        raise InputError(str(error)) from None
    if as_json:
        click.echo(json.dumps([option.to_dict() for option in options], indent=2))
        return
    table = require("rich.table", extra="train").Table(title=f"Smallest systems for {classes:,} classes")
    for column in ("family", "spec", "n_min", "vectors", "fill", "max cosine", "bits"):
        table.add_column(column, justify="left" if column in ("family", "spec") else "right", no_wrap=True)
    for found in options:
        system = found.system
        fill = f"{found.fill:.1%}" if found.fill > 1e-4 else f"{found.fill:.0e}"
        row = (str(system.dim), readable_size(system.size), fill, f"{system.max_cosine:.3f}", f"{found.bits:.0f}")
        table.add_row(found.family, system.spec, *row)
    console = require("rich.console", extra="train").Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # in a file or a pipe nothing need be cut off
    console.print(table)
    click.echo(
        "Few dimensions and a high fill: compact embeddings, vectors from a key, nothing stored per class.\n"
        "Many more vectors than classes (dense): vectors can follow the data, which learns much faster."
    )
