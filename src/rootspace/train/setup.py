"""What happens before the first step: the plan, the checks, and what identifies a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.files import read_json
from rootspace.train import processes
from rootspace.train.config import TrainConfig
from rootspace.train.hooks import Hook, Plan

SOME_NAMES = 4096  # of classes, at a time


def make_plan(train_set: ImageSet, config: TrainConfig, accelerator: Any) -> Plan:
    shares = config.gradient_accumulation * accelerator.num_processes
    images = config.epoch_images or len(train_set)
    if images < shares:
        what = f"an epoch takes {images}" if config.epoch_images else f"the training set has {images}"
        raise InputError(
            f"one step takes at least {shares} images (gradient_accumulation x processes), {what}; "
            f"lower gradient_accumulation{' or raise epoch_images' if config.epoch_images else ''}"
        )
    batch_size = min(config.batch_size, images // shares)  # a small set is one step an epoch
    return Plan(
        epochs=config.epochs,
        steps_per_epoch=images // batch_size // shares,
        batch_size=batch_size,
        accumulation=config.gradient_accumulation,
        processes=accelerator.num_processes,
        device=accelerator.device,
        images=len(train_set),
    )


def check_inputs(embedder: nn.Module, loss: nn.Module, train_set: ImageSet, heldout: dict[str, ImageSet]) -> None:
    if len(train_set) == 0:
        raise InputError("the training set is empty; check the split or the folder")
    classes = getattr(classifier_of(loss), "n_classes", None)
    lowest, highest = int(train_set.labels.min()), int(train_set.labels.max())
    if lowest < 0 or (classes is not None and highest >= classes):
        raise InputError(
            f"labels: expected class ids from 0 to {classes - 1 if classes else '...'}, got {lowest} to {highest}"
        )
    for name, images in heldout.items():
        if len(images) == 0:
            raise InputError(f"held-out set {name!r} is empty; leave it out or check the split")
        if images.label_names != train_set.label_names:
            raise InputError(
                f"held-out set {name!r} names other classes than the training set; make both from one store"
            )
    channels = getattr(getattr(embedder, "backbone", None), "in_channels", None)
    shape = train_set.images_at([0]).shape
    if channels is not None and channels != shape[-1]:
        raise InputError(f"the encoder takes {channels} channels, the images have {shape[-1]}")


def check_backbone_rate(config: TrainConfig, embedder: nn.Module) -> None:
    if config.backbone_rate != 1 and not isinstance(getattr(embedder, "backbone", None), nn.Module):
        raise InputError(
            f"backbone_rate {config.backbone_rate}: expected an embedder with a module `backbone`, "
            f"{type(embedder).__name__} has none"
        )


def classifier_of(loss: nn.Module) -> Any:
    for candidate in (loss, getattr(loss, "assignment", None)):
        if hasattr(candidate, "nearest"):
            return candidate
    raise InputError(
        f"loss: expected `nearest` on {type(loss).__name__} or its `assignment`, to read classes back; found none"
    )


def fingerprint(
    config: TrainConfig, plan: Plan, train_set: ImageSet, loss: nn.Module, augment: Any, hooks: Sequence[Hook]
) -> dict[str, Any]:
    """What a run depends on beside its tensors, as JSON; written to run.json and compared on resuming."""
    some = np.unique(np.linspace(0, len(train_set) - 1, 64).astype(np.int64))
    digest = hashlib.sha256(np.ascontiguousarray(train_set.labels).data)
    for part in _as_json_list(train_set.label_names):
        digest.update(part)
    digest.update(train_set.images_at(some).tobytes())
    plain = augment is None or hasattr(augment, "__dataclass_fields__")
    return {
        "format": "rootspace-run",
        "version": 1,
        "config": config.deciding(),
        "processes": plan.processes,
        "data": {"images": len(train_set), "classes": train_set.n_classes, "sha256": digest.hexdigest()},
        "loss": repr(loss),
        "augment": repr(augment) if plain else type(augment).__qualname__,
        "hooks": [hook.describe() for hook in hooks],
    }


def _as_json_list(names: Iterable[str]) -> Iterator[bytes]:
    """What `json.dumps(list(names))` gives, in parts: of very many classes no list of all names is made.

    >>> b"".join(_as_json_list(["a", "ö"]))
    b'["a", "\\\\u00f6"]'
    """
    yield b"["
    rest, before = iter(names), ""
    while some := list(islice(rest, SOME_NAMES)):
        yield (before + json.dumps(some)[1:-1]).encode()
        before = ", "
    yield b"]"


def check_alike(fingerprint: dict[str, Any]) -> None:
    """Raise `InputError` where a process has another configuration or other data than the first."""
    texts = processes.every(json.dumps(fingerprint, sort_keys=True))
    if odd := [rank for rank, text in enumerate(texts) if text != texts[0]]:
        theirs = json.loads(texts[odd[0]])
        what = next(name for name in fingerprint if theirs[name] != json.loads(texts[0])[name])
        raise InputError(
            f"process {odd[0]} has another {what} than process 0; give all processes the same command and the same data"
        )


def check_same_run(path: Path, fingerprint: dict[str, Any]) -> None:
    if not path.is_file():
        raise InputError(f"{path.parent}: holds no run to resume; start one without --resume")
    stored = read_json(path)
    if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
        raise InputError(f"{path}: not the description of a run; start anew in another folder")
    began = {**TrainConfig().deciding(), **stored["config"]}  # a run older than a setting had its default
    for name, value in fingerprint["config"].items():
        if began[name] != value:
            raise InputError(
                f"{path.parent}: cannot be resumed with {name} {value!r}: the run began with {began[name]!r}"
            )
    began_in = stored.get("processes", 1)
    if began_in != fingerprint["processes"]:
        raise InputError(
            f"{path.parent}: cannot be resumed in {fingerprint['processes']} processes: the run began in {began_in}"
        )
    for name in ("format", "version", "data", "loss", "augment", "hooks"):
        if stored.get(name) != fingerprint[name]:
            raise InputError(f"{path.parent}: cannot be resumed, because its {name} differs from this run's")
