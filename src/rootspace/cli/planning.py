"""`rootspace plan`: which vector systems hold a number of classes."""

from __future__ import annotations

import json

import click

from rootspace.errors import InputError, require
from rootspace.systems import FAMILIES, readable_size
from rootspace.systems import plan as plan_systems


@click.command()
@click.option("--classes", type=click.IntRange(min=1), required=True, help="How many classes there are.")
@click.option(
    "--family",
    "families",
    multiple=True,
    help=f"A family to compare, repeatable (A, D, Vpq, Ww, dense).  [default: {', '.join(FAMILIES)}]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(classes: int, families: tuple[str, ...], as_json: bool) -> None:
    """Compare vector systems for a number of classes: for each family the smallest dimension, n_min."""
    try:
        options = plan_systems(classes, families or FAMILIES)
    except ValueError as error:
        raise InputError(str(error)) from None
    if as_json:
        click.echo(json.dumps([option.to_dict() for option in options], indent=2))
        return
    tables, console = require("rich.table", extra="train"), require("rich.console", extra="train").Console()
    table = tables.Table(title=f"Smallest systems for {classes:,} classes")
    for column in ("family", "spec", "n_min", "vectors", "fill", "max cosine", "bits a class"):
        table.add_column(column, justify="left" if column in ("family", "spec") else "right")
    for option in options:
        system = option.system
        fill = f"{option.fill:.1%}" if option.fill > 1e-4 else f"{option.fill:.0e}"
        row = (str(system.dim), readable_size(system.size), fill, f"{system.max_cosine:.3f}", f"{option.bits:.0f}")
        table.add_row(option.family, system.spec, *row)
    console.print(table)
    console.print(
        "Few dimensions and a high fill: compact embeddings, vectors from a key, nothing stored per class.\n"
        "Many more vectors than classes (dense): vectors can follow the data, which learns much faster.",
        highlight=False,
    )
