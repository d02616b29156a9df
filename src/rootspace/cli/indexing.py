"""`rootspace index`: embeddings of a model in a vector database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.given import TEXTS, check_given, check_no_texts, texts_of
from rootspace.cli.options import JSON, MODEL, PATH, SKIP_BAD, Command, CommandGroup, option, say_skipped
from rootspace.cli.settings import DEVICE
from rootspace.errors import InputError

if TYPE_CHECKING:
    from rootspace.index import Hit, Index, Item

_BACKENDS = ("faiss", "usearch", "lancedb", "qdrant", "system")
_DTYPES = ("float32", "float16", "int8", "binary", "graded")

INDEX = click.argument("index", type=PATH)
IMAGES = click.argument("images", type=PATH, nargs=-1, required=True)
MOVED = option("--model", type=PATH, help="The index's model, where it is no longer where it was.")
LABELLED = option("--label", help="Of all that is added, in place of the folder's name.")
AT = option("--path", "paths", type=PATH, multiple=True, help="Items at this path, or in it; may be given again.")
OF = option("--label", "labels", multiple=True, help="Items with this label; may be given again.")


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
@LABELLED
@SKIP_BAD
@DEVICE
def build(
    model: Path,
    images: tuple[Path, ...],
    output: Path,
    backend: str,
    dtype: str,
    cells: str | None,
    label: str | None,
    skip_bad: bool,
    device: str,
) -> None:
    """Embed IMAGES by MODEL into a new index.

    IMAGES are files, folders of them (a file's label is the folder under the one given), image stores or .npz files.
    For a model of texts they are tables, saved data sets, stores, or .txt files with one text a line.
    """
    from rootspace import index as indexes

    skipped: list[str] = []
    repeated: list[str] = []
    with indexes.build(
        model,
        images,
        output,
        backend=backend,
        dtype=dtype,
        cells=cells,
        skip_bad=skip_bad,
        skipped=skipped,
        progress=True,
        label=label,
        repeated=repeated,
        device=device,
    ) as made:
        _say(made, len(made), skipped, repeated)


@index.command(
    cls=Command,
    short_help="Embed more images.",
    examples=(
        "rootspace index add photos.index new-photos",
        "rootspace index add photos.index one.jpg --label tulip",
        "rootspace index add photos.index photos --replace",
    ),
)
@INDEX
@IMAGES
@LABELLED
@option("--replace", is_flag=True, help="Embed what is there already anew, in place of the old items.")
@MOVED
@SKIP_BAD
@DEVICE
def add(
    index: Path,
    images: tuple[Path, ...],
    label: str | None,
    replace: bool,
    model: Path | None,
    skip_bad: bool,
    device: str,
) -> None:
    """Embed IMAGES by the model of INDEX, and add them to it.

    What is in INDEX already, by its path, is left out, so that a folder can be added again when files have come to it.
    A file given by its own name gets the name of its folder as its label, if that is a label or class already.
    """
    from rootspace import index as indexes

    repeated: list[str] = []
    with indexes.open(index, writing=True, model=model, device=device) as opened:
        first = opened.about["next_id"]
        skipped = opened.add_images(images, skip_bad, True, label=label, replace=replace, repeated=repeated)
        _say(opened, opened.about["next_id"] - first, skipped, repeated)


def _say(opened: Index, added: int, skipped: list[str], repeated: list[str]) -> None:
    say_skipped(len(skipped), added, skipped)
    if repeated:
        what = f"left out {len(repeated):,} that the index has already, such as {repeated[0]}"
        click.echo(f"{what} (`rootspace index add --replace` embeds them anew)", err=True)
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
@DEVICE
@JSON
def search(
    index: Path,
    given: tuple[str, ...],
    texts: Path | None,
    k: int,
    probes: int | None,
    model: Path | None,
    skip_bad: bool,
    device: str,
    as_json: bool,
) -> None:
    """Find the items of INDEX nearest to each of IMAGES: cosine, id, label and path, best first.

    IMAGES are those of `rootspace index build`; where the model was trained on texts, the texts themselves, or - to
    read one a line from standard input. Beside each stands the class that the model itself decodes it to, with the
    cosine of that.
    """
    check_given(given, texts)
    from rootspace import index as indexes
    from rootspace.data import TextPreprocessing
    from rootspace.index.pictures import Pictures, text_batches

    rows: list[dict[str, Any]] = []
    count = 0
    with indexes.open(index, model=model, device=device) as opened:
        prepare = opened.model.preprocessing
        pictures = Pictures([Path(place) for place in given], prepare, skip_bad)
        kind = "text" if isinstance(prepare, TextPreprocessing) else "image"
        if isinstance(prepare, TextPreprocessing):
            batches = text_batches(prepare, texts_of(given, texts))
        else:
            check_no_texts(texts, index)
            batches = pictures.batches()
        for cells, payload in batches:
            embeddings = opened.model.embed(cells)
            labels, cosines = opened.decode(embeddings)
            hits = opened.search(embeddings, k, probes)
            count += len(hits)
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
    say_skipped(len(pictures.skipped), count, pictures.skipped)


def _line(hit: Hit) -> str:
    return f"{hit.cosine:.3f}  {hit.id:>8}  {hit.label or '-'}  {hit.path}"


@index.command(
    "list",
    cls=Command,
    short_help="List items: id, label, path.",
    examples=(
        "rootspace index list photos.index --limit 20 --offset 40",
        "rootspace index list photos.index --label tulip --path photos/2024",
    ),
)
@INDEX
@AT
@OF
@option("--limit", default=50, type=click.IntRange(min=1), help="How many.")
@option("--offset", default=0, type=click.IntRange(min=0), help="How many to pass over before.")
@JSON
def list_items(
    index: Path, paths: tuple[Path, ...], labels: tuple[str, ...], limit: int, offset: int, as_json: bool
) -> None:
    """List the items of INDEX by id, with label and path; all of them, or those at a path or with a label."""
    from rootspace import index as indexes

    with indexes.open(index) as opened:
        found = opened.find(paths, labels)
    shown = found[offset : offset + limit]
    if as_json:
        click.echo(json.dumps([vars(item) for item in shown], indent=2, ensure_ascii=False))
        return
    for item in shown:
        click.echo(f"{item.id:>8}  {item.label or '-'}  {item.path}")
    if len(shown) < len(found):
        click.echo(f"{len(shown):,} of {len(found):,} items; --limit and --offset show others", err=True)


@index.command(
    cls=Command,
    short_help="Drop items by id, path or label.",
    examples=(
        "rootspace index delete photos.index 17 18",
        "rootspace index delete photos.index --path photos/2019",
        "rootspace index delete photos.index --label tulip",
    ),
)
@INDEX
@click.argument("ids", type=click.IntRange(min=0), nargs=-1)
@AT
@OF
def delete(index: Path, ids: tuple[int, ...], paths: tuple[Path, ...], labels: tuple[str, ...]) -> None:
    """Drop the items with these IDS from INDEX, or those at a path or with a label.

    With --path and --label both, those that have both. `rootspace index list` shows what they are.
    """
    if bool(ids) == bool(paths or labels):
        raise click.UsageError("give either IDS, or --path and --label", ctx=click.get_current_context())
    from rootspace import index as indexes

    with indexes.open(index, writing=True) as opened:
        before = len(opened)
        opened.delete(sorted(set(ids)) if ids else _found(opened, paths, labels))
        click.echo(f"{opened.path}: {before - len(opened):,} items deleted, {len(opened):,} left")


def _found(opened: Index, paths: tuple[Path, ...], labels: tuple[str, ...]) -> list[int]:
    found: list[Item] = opened.find(paths, labels)
    if not found:
        wanted = " and ".join(
            f"with the {what} {', '.join(map(str, some))}"
            for what, some in (("path", paths), ("label", labels))
            if some
        )
        raise InputError(f"{opened.path}: there is no item {wanted}; nothing was deleted")
    return [item.id for item in found]


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
        # True and False are whole numbers to Python
        shown = ("no", "yes")[value] if isinstance(value, bool) else f"{value:,}" if isinstance(value, int) else value
        click.echo(f"{name:>16}  {shown}")
