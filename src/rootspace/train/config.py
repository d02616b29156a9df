"""Everything that decides a training run, in one immutable object."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from rootspace.errors import InputError

SCHEDULES = ("one_cycle", "cosine", "constant")
PRECISIONS = ("no", "bf16", "fp16")
DEVICES = ("auto", "cpu")
# What may differ between a run and its continuation, because no weight depends on it.
FREE = frozenset({"num_workers", "checkpoint_every", "log_every", "shard", "track"})


@dataclass(frozen=True)
class TrainConfig:
    """How to train; a value that cannot work raises `InputError` naming the field.

    One step takes `batch_size` images a process, `gradient_accumulation` times, and an epoch drops the
    images that do not fill its last step (they differ from epoch to epoch). `epoch_images` is how many images
    an epoch takes, 0 the whole training set: on large data it decides how often the held-out sets are evaluated
    and checkpoints written. The next epoch goes on where the last ended, so every image is used alike. `warmup`
    is the share of all steps over which the learning rate rises; `clip_norm` 0 means no clipping;
    `checkpoint_every` is in steps and 0 means at the end of every epoch only; `log_every` is in steps.
    `mixed_precision` is for GPUs: a CPU without bf16 instructions was 25 times slower with "bf16" than with "no".
    `backbone_rate` is the factor on the learning rate for the embedder's `backbone`; 0 freezes it: its weights and the
    running statistics of its norms stay, it takes no gradient, and its dropout rests.
    `shard` shares out the embedder's weights, gradients and optimiser state among several processes, to save memory.
    `track` names experiment trackers that Accelerate knows, such as ("tensorboard",), beside metrics.jsonl.

    >>> TrainConfig(epochs=3).epochs
    3
    >>> TrainConfig(schedule="linear")
    Traceback (most recent call last):
    rootspace.errors.InputError: schedule: expected one of one_cycle, cosine, constant, got 'linear'
    """

    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 6e-3
    backbone_rate: float = 1.0
    weight_decay: float = 0.05
    schedule: str = "one_cycle"
    warmup: float = 0.25
    mixed_precision: str = "no"
    gradient_accumulation: int = 1
    clip_norm: float = 0.0
    seed: int = 0
    device: str = "auto"
    num_workers: int = 0
    checkpoint_every: int = 0
    epoch_images: int = 0
    shard: bool = False
    log_every: int = 20
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.track, (list, tuple)) or not all(isinstance(name, str) for name in self.track):
            raise InputError(f"track: expected a list of names, got {self.track!r}")
        object.__setattr__(self, "track", tuple(dict.fromkeys(self.track)))
        for name in ("epochs", "batch_size", "gradient_accumulation", "log_every"):
            _whole(name, getattr(self, name), least=1)
        for name in ("seed", "num_workers", "checkpoint_every", "epoch_images"):
            _whole(name, getattr(self, name), least=0)
        if self.seed >= 1 << 63:
            raise InputError(f"seed: expected a whole number below 2^63, got {self.seed}")
        for name in ("learning_rate", "backbone_rate", "weight_decay", "warmup", "clip_norm"):
            _number(name, getattr(self, name))
        if self.learning_rate == 0:
            raise InputError("learning_rate: expected a positive number, got 0")
        if self.warmup >= 1:
            raise InputError(f"warmup: expected a share of the steps below 1, got {self.warmup}")
        if not isinstance(self.shard, bool):
            raise InputError(f"shard: expected True or False, got {self.shard!r}")
        if self.shard and self.mixed_precision == "fp16":
            raise InputError("shard: goes with mixed_precision 'no' or 'bf16', got 'fp16'")
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("mixed_precision", self.mixed_precision, PRECISIONS)
        _one_of("device", self.device, DEVICES)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def deciding(self) -> dict[str, Any]:
        """The fields that the weights depend on: a run can only be continued where they are equal."""
        return {name: value for name, value in asdict(self).items() if name not in FREE}


def learning_rate_at(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) out of `steps`: a pure function, so nothing has to be stored.

    >>> config = TrainConfig(learning_rate=1.0, schedule="cosine", warmup=0.5)
    >>> [round(learning_rate_at(config, step, 4), 2) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    rising = round(config.warmup * steps)
    if step < rising:
        share = (step + 1) / rising
        if config.schedule == "one_cycle":
            share = 0.04 + 0.96 * (1 - math.cos(math.pi * share)) / 2
        return config.learning_rate * share
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - rising) / max(1, steps - rising)
    return config.learning_rate * (1 + math.cos(math.pi * share)) / 2


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def _number(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not (0 <= value < math.inf):
        raise InputError(f"{name}: expected a finite number of at least 0, got {value!r}")


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
