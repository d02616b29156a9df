"""`rootspace index`: embeddings of a model in a vector database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.options import JSON, MODEL, PATH, SKIP_BAD, TEXTS, Command, CommandGroup, check_given, option
from rootspace.errors import InputError

if TYPE_CHECKING:
    from rootspace.index import Hit, Index

_BACKENDS = ("faiss", "usearch", "lancedb", "qdrant", "system")
_DTYPES = ("float32", "float16", "int8", "binary", "graded")

INDEX = click.argument("index", type=PATH)
IMAGES = click.argument("images", type=PATH, nargs=-1, required=True)
MOVED = option("--model", type=PATH, help="The index's model, where it is no longer where it was.")


@click.group(
    cls=CommandGroup,
    short_help="Keep embeddings in a vector database, and search them.",
    examples=(
        "rootspace index build runs/photos/model photos --output photos.index",
        "rootspace index search photos.index new.jpg -k 10",
    ),
)
def index() -> None:
    """Keep the embeddings of a model in a vector database, with paths and labels, and search them by image."""


@index.command(
    cls=Command,
    short_help="Embed images into a new index.",
    examples=(
        "rootspace index build runs/photos/model photos --output photos.index",
        "rootspace index build MODEL IMAGES --output INDEX --backend system --dtype int8",
    ),
)
@MODEL
@IMAGES
@option("--output", type=PATH, required=True, help="The folder to write; it must be new.")
@option("--backend", type=click.Choice(_BACKENDS), default="faiss", help="What stores and searches the vectors.")
@option("--dtype", type=click.Choice(_DTYPES), default="float32", help="What a number is stored as.")
@option("--cells", metavar="SPEC", help="With --backend system: the system whose vectors are the cells.")
@SKIP_BAD
def build(
    model: Path, images: tuple[Path, ...], output: Path, backend: str, dtype: str, cells: str | None, skip_bad: bool
) -> None:
    """Embed IMAGES by MODEL into a new index.

    IMAGES are files, folders of them (a file's label is the folder under the one given), image stores or .npz files.
    For a model of texts they are tables, saved data sets, stores, or .txt files with one text a line.
    """
    from rootspace import index as indexes

    skipped: list[str] = []
    with indexes.build(
        model, images, output, backend=backend, dtype=dtype, cells=cells, skip_bad=skip_bad, skipped=skipped
    ) as made:
        _say(made, skipped, len(made))


@index.command(cls=Command, short_help="Embed more images.", examples=("rootspace index add photos.index new-photos",))
@INDEX
@IMAGES
@MOVED
@SKIP_BAD
def add(index: Path, images: tuple[Path, ...], model: Path | None, skip_bad: bool) -> None:
    """Embed IMAGES by the model of INDEX, and add them to it."""
    from rootspace import index as indexes

    with indexes.open(index, writing=True, model=model) as opened:
        before, skipped = len(opened), opened.add_images(images, skip_bad)
        _say(opened, skipped, len(opened) - before)


def _say(opened: Index, skipped: list[str], added: int) -> None:
    if skipped:
        named = ", ".join(skipped[:3]) + (", ..." if len(skipped) > 3 else "")
        of = len(skipped) + added
        click.echo(f"skipped {len(skipped):,} of {of:,} images that cannot be read: {named}", err=True)
    click.echo(f"{opened.path}: {added:,} images added, {len(opened):,} items in all")


@index.command(
    cls=Command,
    short_help="Find the images most like some.",
    examples=("rootspace index search photos.index new.jpg -k 5", "rootspace index search INDEX images/ --json"),
)
@INDEX
@click.argument("given", metavar="[IMAGES]...", nargs=-1)
@TEXTS
@option("-k", default=10, type=click.IntRange(min=1), help="How many items for an image or text.")
@option("--probes", type=click.IntRange(min=1), help="Of a system index: how many cells to look into.  [default: 64]")
@MOVED
@SKIP_BAD
@JSON
def search(
    index: Path,
    given: tuple[str, ...],
    texts: Path | None,
    k: int,
    probes: int | None,
    model: Path | None,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Find the items of INDEX nearest to each of IMAGES: cosine, id, label and path, best first.

    IMAGES are those of `rootspace index build`; where the model was trained on texts, the texts themselves, or - to
    read one a line from standard input. Beside each stands the class that the model itself decodes it to, with the
    cosine of that.
    """
    check_given(given, texts)
    from rootspace import index as indexes
    from rootspace.cli.using import texts_of
    from rootspace.data import TextPreprocessing
    from rootspace.index.pictures import Pictures, text_batches

    rows: list[dict[str, Any]] = []
    with indexes.open(index, model=model) as opened:
        prepare = opened.model.preprocessing
        pictures = Pictures([Path(place) for place in given], prepare, skip_bad)
        kind = "text" if isinstance(prepare, TextPreprocessing) else "image"
        if isinstance(prepare, TextPreprocessing):
            batches = text_batches(prepare, texts_of(given, texts))
        elif texts is not None:
            raise InputError(f"{index}: is of pictures; give files or folders of them, and no --texts")
        else:
            batches = pictures.batches()
        for cells, payload in batches:
            embeddings = opened.model.embed(cells)
            labels, cosines = opened.decode(embeddings)
            hits = opened.search(embeddings, k, probes)
            for path, label, cosine, found in zip(payload.paths, labels, cosines.tolist(), hits, strict=True):
                if as_json:
                    items = [vars(hit) for hit in found]
                    rows.append({kind: path, "class": label, "cosine": cosine, "items": items})
                else:
                    click.echo(f"{path}: {label} {cosine:.3f}")
                    for hit in found:
                        click.echo(f"  {_line(hit)}")
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    if pictures.skipped:
        click.echo(f"skipped {len(pictures.skipped):,} images that cannot be read", err=True)


def _line(hit: Hit) -> str:
    return f"{hit.cosine:.3f}  {hit.id:>8}  {hit.label or '-'}  {hit.path}"


@index.command(cls=Command, short_help="Drop items by id.", examples=("rootspace index delete photos.index 17 18",))
@INDEX
@click.argument("ids", type=click.IntRange(min=0), nargs=-1, required=True)
def delete(index: Path, ids: tuple[int, ...]) -> None:
    """Drop the items with these IDS from INDEX; `rootspace index search` shows ids."""
    from rootspace import index as indexes

    with indexes.open(index, writing=True) as opened:
        opened.delete(sorted(set(ids)))
        click.echo(f"{opened.path}: {len(opened):,} items left")


@index.command(cls=Command, short_help="Give back the room of deleted items.")
@INDEX
def compact(index: Path) -> None:
    """Give back the room of deleted items, and bring together what was added to INDEX piece by piece."""
    from rootspace import index as indexes

    with indexes.open(index, writing=True) as opened:
        opened.compact()
        click.echo(f"{opened.path}: {len(opened):,} items")


@index.command(cls=Command, short_help="Say what an index holds.", examples=("rootspace index show photos.index",))
@INDEX
@JSON
def show(index: Path, as_json: bool) -> None:
    """Say what INDEX holds: how many items, of which model, stored how."""
    from rootspace import index as indexes

    with indexes.open(index) as opened:
        facts = opened.facts()
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for name, value in facts.items():
        click.echo(f"{name:>16}  {f'{value:,}' if isinstance(value, int) else value}")
