"""`rootspace info`: what a path or a spec is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from rootspace.cli.options import JSON, Command
from rootspace.cli.using import warn_of_old_threshold
from rootspace.errors import InputError

_EXPECTED = 'expected a model folder, an image store, or the spec of a vector system such as "V22:41"'
_MOST_DIGITS = 4000  # Python refuses to write longer whole numbers


@click.command(
    cls=Command,
    short_help="Say what a model, an image store or a system is.",
    examples=("rootspace info runs/demo/model", 'rootspace info "V22:41"', 'rootspace info "W3:16^4 x A:8" --json'),
)
@click.argument("what")
@JSON
def info(what: str, as_json: bool) -> None:
    """Say what WHAT is: a model folder, an image store, or the spec of a vector system such as "V22:41"."""
    facts = _facts(what)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for name, value in facts.items():
        lines = list(_lines(value)) if isinstance(value, dict) else [value]
        for place, line in enumerate(lines):
            click.echo(f"{'' if place else name:>16}  {line}")


def _lines(value: dict[str, Any], within: str = "") -> Iterator[str]:
    """A line for each entry.

    >>> list(_lines({"name": "small_conv", "mean": [0.5, 0.4], "config": {"width": 8}}))
    ['name: small_conv', 'mean: 0.5, 0.4', 'config.width: 8']
    """
    for name, entry in value.items():
        if isinstance(entry, dict) and entry:
            yield from _lines(entry, f"{within}{name}.")
        else:
            shown = ", ".join(map(str, entry)) if isinstance(entry, (list, tuple)) else entry
            yield f"{within}{name}: {'none' if shown is None else shown}"


def _facts(what: str) -> dict[str, Any]:
    path = Path(what)
    if what and path.is_dir():
        if (path / "config.json").exists() or (path / "model.safetensors").exists():
            return _about_model(path)
        if (path / "manifest.json").exists() or (path / "images.npy").exists():
            return _about_store(path)
        run = (path / "model" / "config.json").is_file()
        hint = f"; its model is {path / 'model'}" if run else f"; {_EXPECTED}"
        raise InputError(f"{path}: neither a model folder (config.json) nor an image store (manifest.json){hint}")
    if path.is_file():
        raise InputError(f"{path}: is a file; {_EXPECTED}")
    # no spec has a slash but between square brackets, where it makes a fraction
    if "[" not in what and (os.sep in what or "/" in what):
        raise InputError(f"{path}: no such folder; {_EXPECTED}")
    return _about_system(what)


def _about_model(path: Path) -> dict[str, Any]:
    from rootspace import models

    model = models.load(path)
    warn_of_old_threshold(model)
    names = ", ".join(model.label_names[:12]) + (", ..." if len(model.label_names) > 12 else "")
    threshold = model.threshold
    return {
        "model": str(path),
        "classes": len(model.label_names),
        "labels": names,
        "backbone": model.embedder.config()["backbone"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "class parameters": 0,
        "system": model.assignment.system.spec,
        "dimensions": model.embedder.dim,
        "assignment": type(model.assignment).__name__,
        "preprocessing": model.preprocessing.to_dict(),
        "known from": "no threshold" if threshold is None else f"cosine {threshold.cosine:.3f}",
    }


def _about_store(path: Path) -> dict[str, Any]:
    from rootspace.data import ImageStore

    store = ImageStore.open(path)
    return {
        "images": len(store),
        "shape": str(store.images.shape[1:]),
        "classes": len(store.label_names),
        "sources": ", ".join(store.source_names),
    }


def _about_system(spec: str) -> dict[str, Any]:
    from rootspace.systems import parse, readable_size

    system = parse(spec)  # `rootspace show` says much more
    return {
        "system": system.spec,
        "dimensions": system.dim,
        "vectors": readable_size(system.size),
        "exactly": digits(system.size),
        "norm": f"sqrt({system.squared_norm})",
        "max cosine": f"{system.max_cosine:.6f}",
        "mcs": f"{system.mcs:.6f}",
        "bits": f"{system.bits:.1f}",
    }


def digits(size: int) -> str:
    """A size in full, or that it is too long for that.

    >>> digits(2**70)
    '1180591620717411303424'
    """
    return str(size) if size.bit_length() < 3 * _MOST_DIGITS else "too many digits to write"
