"""`rootspace data`: decode data once, look at it, verify it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from rootspace.cli.options import (
    COLUMNS,
    JSON,
    PATH,
    SKIP_BAD,
    Command,
    CommandGroup,
    announce_skipped,
    fields_of,
    option,
)
from rootspace.cli.reading import changed, columns_for
from rootspace.cli.settings import CLASSES_FROM, FITS
from rootspace.errors import InputError

_IMAGES, _TEXTS = "Images", "Texts"


@click.group(
    cls=CommandGroup,
    short_help="Make, describe and verify image stores.",
    examples=("rootspace data build photos --output stores/photos", "rootspace data check stores/photos"),
)
def data() -> None:
    """Make, describe and verify image stores: pictures decoded once, with their labels and sources."""


@data.command(
    cls=Command,
    short_help="Decode pictures into an image store.",
    examples=(
        "rootspace data build photos --output stores/photos --size 64 --fit crop",
        'rootspace data build "shards/train-{000..099}.tar" --output stores/train --label-column cls',
        "rootspace data build saved-dataset:train --output stores/train",
        "rootspace data build list.csv --output stores/list --image-column file --label-column species",
        "rootspace data build titles.tsv --output stores/titles --text-column title --length 96",
        "rootspace data build pictures --output stores/pictures --classes-from samples",
    ),
)
@click.argument("source", type=PATH)
@option("--output", type=PATH, required=True, help="The folder of the store to make.")
@option("--overwrite", is_flag=True, help="Replace the store that is there.")
@option(
    "--classes-from",
    type=click.Choice(CLASSES_FROM),
    default="labels",
    help="samples: read no labels; every sample is to be its own class.",
)
@option("--size", heading=_IMAGES, type=click.IntRange(4, 4096), help="The side in pixels.  [default: 64, or as it is]")
@option("--channels", heading=_IMAGES, type=click.Choice(["1", "3"]), help="1: grey, 3: colour.")
@option("--fit", heading=_IMAGES, type=click.Choice(FITS), help="How a picture fills its square cell.")
@SKIP_BAD
@COLUMNS
@option("--length", heading=_TEXTS, type=click.IntRange(1, 65536), help="Bytes or tokens of a text.  [default: 64]")
@option("--tokenizer", heading=_TEXTS, type=PATH, help="A tokenizer.json, or its folder, to cut texts into tokens.")
def build(
    source: Path,
    output: Path,
    overwrite: bool,
    classes_from: str,
    size: int | None,
    channels: str | None,
    fit: str | None,
    skip_bad: bool,
    length: int | None,
    tokenizer: Path | None,
    **columns: str | None,
) -> None:
    """Decode SOURCE into an image store, once, so that training starts at once. It may hold texts too.

    SOURCE is an image folder, WebDataset shards (a folder of them, or a pattern), a saved Hugging Face data set
    (folder or folder:split), a table (.csv, .tsv, .parquet, .jsonl) of paths or texts and labels, an .npz file, or an
    image store. A build that was stopped goes on where it was when the same command is given again. A store that is
    built with --classes-from samples is for 'rootspace train' with the same option alone.
    """
    from rootspace import data as library

    if output.exists() and not (overwrite and library.is_store(output)):
        hint = "replace it with --overwrite, or give" if library.is_store(output) else "give"
        raise InputError(f"{output}: is there already; {hint} another --output")

    wanted: dict[str, Any] = {"size": size, "channels": None if channels is None else int(channels), "fit": fit}
    wanted = {**wanted, "length": length, "tokenizer": tokenizer}
    asked = {name: value for name, value in wanted.items() if value is not None}
    labelled = classes_from == "labels"
    (fields,) = columns_for(fields_of(columns), source)
    if library.needs_decoding(source):
        samples = library.find_samples(source, fields, labelled=labelled)
        usual = library.TEXTS if samples.texts else library.PHOTOS
        library.build_store(samples, output, changed(usual, asked, source), skip_bad)
    else:
        images = library.open_data(source, skip_bad=skip_bad, labelled=labelled)
        try:
            library.refit(images, changed(images.preprocessing, asked, source)).store.save(output)
        except OSError as error:
            raise InputError(f"{output}: cannot be written ({error.strerror or error})") from None
    store = library.ImageStore.open(output)
    announce_skipped(store.all())
    things = "texts" if library.is_text(store.preprocessing) else "images"
    classes = f"of {len(store.label_names):,} classes" if store.labelled else "without labels"
    click.echo(f"{output}: {len(store):,} {things} {tuple(store.images.shape[1:])} {classes}")


@data.command(cls=Command, short_help="Say what a store holds.", examples=("rootspace data show stores/photos",))
@click.argument("store", type=PATH)
@JSON
def show(store: Path, as_json: bool) -> None:
    """Say what STORE holds: counts, classes, sources, preprocessing, and how it was made."""
    from rootspace.data import ImageStore, describe

    facts = describe(ImageStore.open(store))
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):>16}  {_line(value)}")


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_line(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if value is None:
        return "-"
    return f"{value:,}" if type(value) is int else str(value)


@data.command(cls=Command, short_help="Verify every byte of a store.", examples=("rootspace data check stores/photos",))
@click.argument("store", type=PATH)
def check(store: Path) -> None:
    """Verify every byte of STORE. Prints the ranges of damaged images and ends with exit code 1 where there are any."""
    from rootspace.data import damaged_rows

    blocks, damaged = damaged_rows(store)
    for rows in damaged:
        click.echo(f"damaged: images {rows[0]:,} to {rows[-1]:,}")
    if damaged:
        lost = sum(map(len, damaged))
        click.echo(f"{store}: {len(damaged)} of {blocks:,} blocks are damaged, {lost:,} images are lost", err=True)
        sys.exit(1)
    click.echo(f"{store}: whole")
