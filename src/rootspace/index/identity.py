"""Which model an index belongs to: embeddings of two models have nothing to say to each other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from rootspace.errors import InputError
from rootspace.files import read_json
from rootspace.models import located
from rootspace.models.folder import CONFIG, WEIGHTS, read_config

_EMBEDDER = "embedder."
#: What of a model's configuration decides its embeddings, its tensors apart; of a tokenizer it holds the checksum.
_DECIDES = ("embedder", "preprocessing")


def identity(model: str | Path) -> dict[str, Any]:
    """What is written into an index of a model in a folder or on the hub, its configuration verified: JSON values.

    "embedder" is the SHA-256 of all that embeddings depend on: the embedder's tensors, its configuration and the
    preprocessing. Classes, their vectors, a threshold and labels may change, and an index of the model stays one. The
    rest is for information; "path" is where the model is: its folder, or "user/name" and the "commit" of the hub.
    """
    folder = located(model)
    config = read_config(folder)
    on_hub = folder != Path(model)  # which is then a commit's folder in the hub's cache
    return {
        "path": Path(model).as_posix() if on_hub else str(folder.resolve()),
        "commit": folder.name if on_hub else None,
        "embedder": _digest(config, folder),
        "weights_sha256": config["weights_sha256"],
        "config_checksum": read_json(folder / CONFIG)["checksum"],
        "system": config["system"],
        "assignment": config["assignment"],
        "dim": config["embedder"]["dim"],
    }


def folder_of(own: dict[str, Any], index: Path) -> Path:
    """Where the model of an index is; `InputError` where it is there no more."""
    if own.get("commit") is None:
        folder = Path(own["path"])
    else:
        try:
            folder = located(own["path"], revision=own["commit"], local_files_only=True)
        except InputError:  # the cache was emptied, or is another machine's
            folder = located(own["path"], revision=own["commit"])
    if not folder.is_dir():
        raise InputError(f"{folder}: the model of {index} is not there; say where it is now (--model)")
    return folder


def check_same(index: Path, own: dict[str, Any], folder: Path) -> None:
    """Raise `InputError` unless the model in `folder` makes the embeddings of the one an index was built with."""
    config, checksum = read_config(folder), read_json(folder / CONFIG)["checksum"]
    if checksum == own["config_checksum"]:
        return  # which holds that of the weights: nothing changed at all
    if "embedder" not in own:
        what = "weights" if config["weights_sha256"] != own["weights_sha256"] else "configuration"
        raise InputError(
            f"{index}: was built with another model than {folder}, or another state of it (not with this {what}); an "
            "index of format 1 cannot tell which: give the model as it was (--model), or build the index anew"
        )
    if (found := _digest(config, folder)) != own["embedder"]:
        raise InputError(
            f"{index}: was built with another model than {folder} (an embedder {own['embedder'][:12]}, not "
            f"{found[:12]}); embeddings of two models cannot be compared: build the index anew"
        )


def _digest(config: dict[str, Any], folder: Path) -> str:
    digest = hashlib.sha256(json.dumps([config[name] for name in _DECIDES], sort_keys=True).encode())
    with safe_open(folder / WEIGHTS, framework="pt") as tensors:
        for name in sorted(name for name in tensors.keys() if name.startswith(_EMBEDDER)):  # noqa: SIM118
            tensor = tensors.get_tensor(name)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
