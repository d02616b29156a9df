"""Commands that use a model, in a folder or on the hub: evaluate, predict, embed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.given import TEXTS, check_given, check_no_texts, files_of, texts_of
from rootspace.cli.options import (
    COLUMNS,
    DATA,
    JSON,
    MODEL,
    PATH,
    SKIP_BAD,
    Command,
    announce_skipped,
    fields_of,
    option,
    say_skipped,
)
from rootspace.cli.reading import columns_for
from rootspace.cli.settings import DEVICE
from rootspace.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np

    from rootspace.data import Preprocessing
    from rootspace.models import Prediction, Recogniser

_BATCH = 256


def loaded(model: Path, device: str) -> Recogniser:
    """The model in a folder or on the hub, on the device that --device names."""
    from rootspace import models
    from rootspace.train import processes

    return models.load(model, device=processes.device(cpu=device == "cpu"))


def warn_of_old_threshold(model: Recogniser) -> None:
    """Say on stderr that classes were added since the threshold was set."""
    if model.threshold is not None and not model.calibrated:
        click.echo(
            f"the threshold was set with {model.threshold.n_classes:,} classes, the model has "
            f"{len(model.label_names):,}: of what it does not know more may pass as known; calibrate it anew",
            err=True,
        )


@click.command(
    cls=Command,
    short_help="Measure a model on labelled images or texts.",
    examples=("rootspace evaluate runs/photos/model photos-of-another-camera", "rootspace evaluate MODEL DATA --json"),
)
@MODEL
@DATA
@option("--skip-unknown", is_flag=True, help="Leave out images of classes the model does not know, and count them.")
@COLUMNS
@DEVICE
@SKIP_BAD
@JSON
def evaluate(
    model: Path, data: Path, skip_unknown: bool, device: str, skip_bad: bool, as_json: bool, **columns: str | None
) -> None:
    """Measure MODEL on DATA (all that `rootspace train` takes) with the same class names.

    Prints top-1, top-5, their average over classes, recall@1 of retrieval among the images themselves, and the
    share accepted as known.
    """
    import numpy as np
    import torch

    from rootspace.data import open_data, with_label_names
    from rootspace.evaluate import embed_all, predict_embedded, retrieval

    recogniser = loaded(model, device)
    (fields,) = columns_for(fields_of(columns), data)
    images = open_data(data, recogniser.preprocessing, skip_bad, fields=fields)
    announce_skipped(images)
    everything = len(images)
    try:
        images = with_label_names(images, recogniser.label_names, unknown="drop" if skip_unknown else "error")
    except InputError as error:
        hint = "" if skip_unknown else ", or give --skip-unknown"
        knows = f"{len(recogniser.label_names):,} classes such as {recogniser.label_names[0]!r}"
        raise InputError(f"{data}: {error}{hint} (the model knows {knows})") from None
    if len(images) < everything:
        click.echo(f"left out {everything - len(images):,} of {everything:,} images, of unknown classes", err=True)
    embeddings, labels = embed_all(recogniser, images)
    found = predict_embedded(embeddings, labels, recogniser.assignment)
    accuracy = found.accuracy((1, 5))
    result: dict[str, Any] = {
        "images": len(images),
        "classes": len(np.unique(images.labels)),
        "top1": accuracy.top[1],
        "top5": accuracy.top[5],
        "macro_top1": accuracy.macro,
    }
    if len(np.unique(images.labels)) < len(images):
        result["retrieval_recall_at_1"] = retrieval(embeddings, labels, (1,)).recall[1]
    if recogniser.threshold is not None or recogniser.detector is not None:
        known, _ = recogniser.known(torch.from_numpy(embeddings), torch.from_numpy(found.scores))
        result["accepted_as_known"] = float(known.float().mean())
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.2%}"
        click.echo(f"{name.replace('_', ' '):>24}  {shown}")


@click.command(
    cls=Command,
    short_help="Name the classes of images or texts.",
    examples=(
        "rootspace predict runs/demo/model runs/demo/samples",
        "rootspace predict MODEL one.png two.jpg -k 3 --json",
        "find photos -name '*.jpg' | rootspace predict MODEL - --skip-bad",
        'rootspace predict runs/titles/model "blue running shoes" --texts more.txt',
    ),
)
@MODEL
@click.argument("given", metavar="[IMAGES]...", nargs=-1)
@TEXTS
@option("-k", default=5, type=click.IntRange(min=1), help="How many labels for an image or text.")
@DEVICE
@SKIP_BAD
@JSON
def predict(
    model: Path, given: tuple[str, ...], texts: Path | None, k: int, device: str, skip_bad: bool, as_json: bool
) -> None:
    """Name the classes of IMAGES by MODEL, best first, with cosines.

    IMAGES are files, folders (all images in them), or - to read one path a line from standard input. For a model
    of texts they are the texts themselves, or - to read one text a line. What is probably of no class the model knows
    is marked "none of the known".
    """
    check_given(given, texts)
    from rootspace.data import is_text

    recogniser = loaded(model, device)
    warn_of_old_threshold(recogniser)
    rows: list[dict[str, Any]] = []
    read = _Read(skip_bad)
    prepare = recogniser.preprocessing
    kind = "text" if is_text(prepare) else "image"
    if is_text(prepare):
        batches: Iterable[tuple[list[Any], Any]] = _batched_texts(texts_of(given, texts))
    else:
        check_no_texts(texts, model)
        batches = read.batches(files_of(given), prepare)
    count = 0
    for names, prepared in batches:
        for name, found in zip(names, recogniser.predict(prepared, k), strict=True):
            count += 1
            if as_json:
                scores, labels = list(found.scores), list(found.labels)
                rows.append({kind: str(name), "known": found.known, "labels": labels, "scores": scores})
            else:
                click.echo(_line(name, found))
    if count + read.bad == 0:
        raise InputError(f"no {kind} to name: {'standard input' if '-' in given else texts} gave none")
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    say_skipped(read.bad, read.good)


def _batched_texts(texts: Iterator[str]) -> Iterator[tuple[list[str], list[str]]]:
    while batch := list(islice(texts, _BATCH)):
        yield batch, batch


def _line(path: Path | str, found: Prediction) -> str:
    guesses = "  ".join(f"{label} {score:.2f}" for label, score in zip(found.labels, found.scores, strict=True))
    return f"{path}: {'' if found.known else '(none of the known)  '}{guesses}"


class _Read:
    """Reads image files a batch at a time, and counts the good and the bad."""

    def __init__(self, skip_bad: bool) -> None:
        self.skip_bad = skip_bad
        self.good = self.bad = 0

    def batches(self, paths: Iterable[Path], preprocessing: Preprocessing) -> Iterator[tuple[list[Path], np.ndarray]]:
        import numpy as np

        from rootspace.data import read_image

        names: list[Path] = []
        cells: list[np.ndarray] = []
        for path in paths:
            try:
                cells.append(preprocessing.apply(read_image(path)))
            except MissingExtraError:
                raise
            except InputError as error:
                if not self.skip_bad:
                    raise InputError(f"{error}; remove it, or leave such files out with --skip-bad") from None
                self.bad += 1
                click.echo(f"skipped: {error}", err=True)
                continue
            self.good += 1
            names.append(path)
            if len(names) == _BATCH:
                yield names, np.stack(cells)
                names, cells = [], []
        if names:
            yield names, np.stack(cells)


@click.command(
    cls=Command,
    short_help="Write the embeddings of images or texts to a file.",
    examples=("rootspace embed runs/photos/model photos --output photos.npy",),
)
@MODEL
@DATA
@option("--output", type=PATH, required=True, help="The .npy file to write; labels go beside it.")
@COLUMNS
@DEVICE
@SKIP_BAD
def embed(model: Path, data: Path, output: Path, device: str, skip_bad: bool, **columns: str | None) -> None:
    """Write the embeddings of DATA by MODEL: OUTPUT.npy (N, n) float32 and OUTPUT.labels.json."""
    if output.suffix != ".npy":
        raise InputError(f"{output}: expected a name that ends in .npy")
    labels_file = output.with_suffix(".labels.json")
    for path in (output, labels_file):
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected the name of a file to write")
    from rootspace.data import open_data
    from rootspace.evaluate import embed_all
    from rootspace.files import write_json

    recogniser = loaded(model, device)
    (fields,) = columns_for(fields_of(columns), data)
    images = open_data(data, recogniser.preprocessing, skip_bad, fields=fields)
    announce_skipped(images)
    try:
        embeddings, labels = embed_all(recogniser, images, out=output)
        write_json(labels_file, {"label_names": list(images.label_names), "labels": labels.tolist()})
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error}); give another --output") from None
    click.echo(f"{output}: {embeddings.shape[0]:,} embeddings of {embeddings.shape[1]} dimensions, compare by cosine")
