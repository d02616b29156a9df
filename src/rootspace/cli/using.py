"""Commands that use a model folder: evaluate, predict, embed, info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from rootspace import models
from rootspace.data import ImageStore, open_data, read_image, with_label_names
from rootspace.errors import InputError
from rootspace.evaluate import embed_all, predict_all, retrieval
from rootspace.files import write_json
from rootspace.systems import parse, readable_size

_MODEL = click.argument("model", type=click.Path(path_type=Path))
_DATA = click.argument("data", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SKIP = click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and count them.")


@click.command()
@_MODEL
@_DATA
@_SKIP
@_JSON
def evaluate(model: Path, data: Path, skip_bad: bool, as_json: bool) -> None:
    """Measure MODEL on DATA (an image folder, an image store, or an .npz file) with the same class names.

    Prints top-1, top-5, their average over classes, recall@1 of retrieval among the images themselves, and the
    share accepted as known.
    """
    recogniser = models.load(model)
    images = open_data(data, recogniser.preprocessing, skip_bad)
    images = with_label_names(images, recogniser.label_names)
    found = predict_all(recogniser, recogniser.assignment, images)
    accuracy = found.accuracy((1, 5))
    result: dict[str, Any] = {
        "images": len(images),
        "classes": len(np.unique(images.labels)),
        "top1": accuracy.top[1],
        "top5": accuracy.top[5],
        "macro_top1": accuracy.macro,
    }
    if len(np.unique(images.labels)) < len(images):
        embeddings, labels = embed_all(recogniser, images)
        result["retrieval_recall_at_1"] = retrieval(embeddings, labels, (1,)).recall[1]
    if recogniser.threshold is not None and found.scores.shape[1] > 1:
        import torch

        result["accepted_as_known"] = float(recogniser.threshold.accepts(torch.from_numpy(found.scores)).float().mean())
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.2%}"
        click.echo(f"{name.replace('_', ' '):>24}  {shown}")


@click.command()
@_MODEL
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("-k", default=5, show_default=True, type=click.IntRange(min=1), help="How many labels for an image.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and count them.")
@_JSON
def predict(model: Path, images: tuple[Path, ...], k: int, skip_bad: bool, as_json: bool) -> None:
    """Name the classes of IMAGES (files) by MODEL, best first, with cosines.

    An image that is probably of no class the model knows is marked "none of the known".
    """
    recogniser = models.load(model)
    readable, bad = [], 0
    for path in images:
        if (problem := _problem(path)) is None:
            readable.append(path)
        elif skip_bad:
            bad += 1
            click.echo(f"skipped: {problem}", err=True)
        else:
            raise problem
    found = recogniser.predict(readable, k)
    if as_json:
        rows = [
            {"image": str(path), "known": p.known, "labels": list(p.labels), "scores": list(p.scores)}
            for path, p in zip(readable, found, strict=True)
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for path, prediction in zip(readable, found, strict=True):
            pairs = zip(prediction.labels, prediction.scores, strict=True)
            guesses = "  ".join(f"{label} {score:.2f}" for label, score in pairs)
            click.echo(f"{path}: {'' if prediction.known else '(none of the known)  '}{guesses}")
    if bad:
        click.echo(f"{bad} of {len(images)} images could not be read", err=True)


def _problem(path: Path) -> InputError | None:
    """What is wrong with an image file, if anything is."""
    try:
        read_image(path)
    except InputError as error:
        return error
    return None


@click.command()
@_MODEL
@_DATA
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The .npy file to write; labels go beside it."
)
@_SKIP
def embed(model: Path, data: Path, output: Path, skip_bad: bool) -> None:
    """Write the embeddings of DATA by MODEL: OUTPUT.npy (N, n) float32 and OUTPUT.labels.json."""
    if output.suffix != ".npy":
        raise InputError(f"{output}: expected a name that ends in .npy")
    recogniser = models.load(model)
    images = open_data(data, recogniser.preprocessing, skip_bad)
    embeddings, labels = embed_all(recogniser, images, out=output)
    names = {"label_names": list(images.label_names), "labels": labels.tolist()}
    write_json(output.with_suffix(".labels.json"), names)
    click.echo(f"{output}: {embeddings.shape[0]:,} embeddings of {embeddings.shape[1]} dimensions, compare by cosine")


@click.command()
@click.argument("what")
@_JSON
def info(what: str, as_json: bool) -> None:
    """Say what WHAT is: a model folder, an image store, or the spec of a vector system such as "V22:41"."""
    path = Path(what)
    if (path / "config.json").is_file():
        facts = _about_model(path)
    elif path.is_dir():
        store = ImageStore.open(path)
        facts = {
            "images": len(store),
            "shape": str(store.images.shape[1:]),
            "classes": len(store.label_names),
            "sources": ", ".join(store.source_names),
        }
    else:
        facts = _about_system(what)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for name, value in facts.items():
        click.echo(f"{name:>16}  {value}")


def _about_model(path: Path) -> dict[str, Any]:
    model = models.load(path)
    names = ", ".join(model.label_names[:12]) + (", ..." if len(model.label_names) > 12 else "")
    threshold = model.threshold
    return {
        "model": str(path),
        "classes": len(model.label_names),
        "labels": names,
        "backbone": str(model.embedder.config()["backbone"]),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "class parameters": 0,
        "system": model.assignment.system.spec,
        "dimensions": model.embedder.dim,
        "assignment": type(model.assignment).__name__,
        "preprocessing": str(model.preprocessing.to_dict()),
        "known from": "no threshold" if threshold is None else f"cosine {threshold.cosine:.3f}",
    }


def _about_system(spec: str) -> dict[str, Any]:
    system = parse(spec)
    return {
        "system": system.spec,
        "dimensions": system.dim,
        "vectors": readable_size(system.size),
        "exactly": str(system.size),
        "norm": f"sqrt({system.squared_norm})",
        "max cosine": f"{system.max_cosine:.6f}",
        "mcs": f"{system.mcs:.6f}",
        "bits": f"{system.bits:.1f}",
    }
