"""Which model an index belongs to: embeddings of two models have nothing to say to each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rootspace.errors import InputError
from rootspace.files import read_json
from rootspace.models.folder import CONFIG, read_config


def identity(folder: Path) -> dict[str, Any]:
    """What is written into an index of the model in `folder`, its configuration verified: JSON values."""
    config = read_config(folder)
    return {
        "path": str(folder.resolve()),
        "weights_sha256": config["weights_sha256"],
        "config_checksum": read_json(folder / CONFIG)["checksum"],
        "system": config["system"],
        "assignment": config["assignment"],
        "dim": config["embedder"]["dim"],
    }


def check_same(index: Path, own: dict[str, Any], folder: Path) -> None:
    """Raise `InputError` unless the model in `folder` is the one an index was built with."""
    found = identity(folder)
    for what, name in (("weights", "weights_sha256"), ("configuration", "config_checksum")):
        if found[name] != own[name]:
            raise InputError(
                f"{index}: was built with another model than {folder} (its {what} {own[name][:12]}, not "
                f"{found[name][:12]}); embeddings of two models cannot be compared: build the index anew"
            )
