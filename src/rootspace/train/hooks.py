"""Code that runs at the points of a training run, with its state in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Plan:
    """The size of a run: `batch_size` images a process, `accumulation` times, make one step."""

    epochs: int
    steps_per_epoch: int
    batch_size: int
    accumulation: int
    processes: int
    device: torch.device
    images: int = 0  # of the training set; 0: as many as an epoch takes

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def images_per_step(self) -> int:
        """Images of all processes that one optimiser step takes."""
        return self.batch_size * self.accumulation * self.processes

    @property
    def steps_per_pass(self) -> int:
        """Optimiser steps in which every image is seen once."""
        return max(1, self.images // self.images_per_step) if self.images else self.steps_per_epoch


class Hook:
    """Does nothing at every point; subclasses override what they need.

    A hook may change the buffers of the loss or its assignment in place (under `torch.no_grad()`). Its own
    state must come back from `load_state` as `state` gave it, or a resumed run differs from an undisturbed one.
    """

    name: str = "hook"

    def describe(self) -> str:
        """The hook and its settings: a run is continued only where this is the same."""
        return self.name

    def on_start(self, plan: Plan) -> None:
        """Before the first step, and before `load_state` when the run is resumed."""

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        """After the backward pass of each batch: embeddings (B, dim) float32 detached, labels (B,) int64."""

    def on_epoch(self, epoch: int, metrics: dict[str, Any]) -> None:
        """After the evaluation of an epoch (from 0), with what is written to metrics.jsonl."""

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What the checkpoint must hold: a JSON object and tensors."""
        return {}, {}

    def load_state(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`; the tensors come on the CPU."""
