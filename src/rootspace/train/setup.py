"""What happens before the first step: the engine, the plan, the checks, and what identifies a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rootspace.data import ImageSet
from rootspace.errors import InputError, require
from rootspace.files import read_json
from rootspace.train.config import TrainConfig
from rootspace.train.hooks import Hook, Plan


def make_accelerator(config: TrainConfig) -> Any:
    accelerate = require("accelerate", extra="train")
    states = require("accelerate.state", extra="train")
    # Accelerate keeps its settings for the whole process: a second `fit` may want others
    launched = torch.distributed.is_available() and torch.distributed.is_initialized()
    states.AcceleratorState._reset_state(reset_partial_state=not launched)
    try:
        accelerator = accelerate.Accelerator(mixed_precision=config.mixed_precision, cpu=config.device == "cpu")
    except ValueError as error:
        raise InputError(f"mixed_precision {config.mixed_precision!r}: {error}; use 'no'") from None
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise InputError("mixed_precision 'fp16' needs a GPU, this machine trains on its CPU; use 'no'")
    return accelerator


def make_plan(train_set: ImageSet, config: TrainConfig, accelerator: Any) -> Plan:
    shares = config.gradient_accumulation * accelerator.num_processes
    if len(train_set) < shares:
        raise InputError(
            f"one step takes at least {shares} images (gradient_accumulation x processes), the training set "
            f"has {len(train_set)}; lower gradient_accumulation"
        )
    batch_size = min(config.batch_size, len(train_set) // shares)  # a small set is one step an epoch
    return Plan(
        epochs=config.epochs,
        steps_per_epoch=len(train_set) // batch_size // shares,
        batch_size=batch_size,
        accumulation=config.gradient_accumulation,
        processes=accelerator.num_processes,
        device=accelerator.device,
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
        if tuple(images.label_names) != tuple(train_set.label_names):
            raise InputError(
                f"held-out set {name!r} names other classes than the training set; make both from one store"
            )
    channels = getattr(getattr(embedder, "backbone", None), "in_channels", None)
    shape = train_set.images_at([0]).shape
    if channels is not None and channels != shape[-1]:
        raise InputError(f"the encoder takes {channels} channels, the images have {shape[-1]}")


def classifier_of(loss: nn.Module) -> Any:
    for candidate in (loss, getattr(loss, "assignment", None)):
        if hasattr(candidate, "nearest"):
            return candidate
    raise InputError(
        f"loss: expected `nearest` on {type(loss).__name__} or its `assignment`, to read classes back; found none"
    )


def fingerprint(
    config: TrainConfig, train_set: ImageSet, loss: nn.Module, augment: Any, hooks: Sequence[Hook]
) -> dict[str, Any]:
    """What a run depends on beside its tensors, as JSON; written to run.json and compared on resuming."""
    some = np.unique(np.linspace(0, len(train_set) - 1, 64).astype(np.int64))
    digest = hashlib.sha256(train_set.labels.tobytes())
    digest.update(json.dumps(list(train_set.label_names)).encode())
    digest.update(train_set.images_at(some).tobytes())
    plain = augment is None or hasattr(augment, "__dataclass_fields__")
    return {
        "format": "rootspace-run",
        "version": 1,
        "config": config.deciding(),
        "data": {"images": len(train_set), "classes": train_set.n_classes, "sha256": digest.hexdigest()},
        "loss": repr(loss),
        "augment": repr(augment) if plain else type(augment).__qualname__,
        "hooks": [hook.describe() for hook in hooks],
    }


def check_same_run(path: Path, fingerprint: dict[str, Any]) -> None:
    if not path.is_file():
        raise InputError(f"{path.parent}: holds no run to resume; start one without --resume")
    stored = read_json(path)
    if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
        raise InputError(f"{path}: not the description of a run; start anew in another folder")
    for name, value in fingerprint["config"].items():
        if stored["config"].get(name) != value:
            raise InputError(
                f"{path.parent}: cannot be resumed with {name} {value!r}: the run began with "
                f"{stored['config'].get(name)!r}"
            )
    for name in ("format", "version", "data", "loss", "augment", "hooks"):
        if stored.get(name) != fingerprint[name]:
            raise InputError(f"{path.parent}: cannot be resumed, because its {name} differs from this run's")
