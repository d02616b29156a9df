"""What is measured while training: losses, a batch's accuracy, and images a second."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from rootspace.errors import InputError
from rootspace.train import processes
from rootspace.train.config import TrainConfig, learning_rate_at
from rootspace.train.history import StepRecord
from rootspace.train.hooks import Plan

ACCURACY_SAMPLES = 256
ACCURACY_SHARE = 0.02  # of the time, at most, goes into the training accuracy that is shown


class DivergedError(InputError):
    """The loss is no longer a finite number."""


class Meter:
    """Collects what steps give, on the device, and makes a record of it when one is due."""

    def __init__(self, config: TrainConfig, plan: Plan, classifier: Any) -> None:
        self.config, self.plan, self.classifier = config, plan, classifier
        self.losses: list[Tensor] = []  # since the last record, still on the device
        self.clock = time.perf_counter()
        self.step_seconds = math.inf  # of the last record, over all processes
        self.accuracy_cost, self.accuracy_time = 0.0, 0.0

    def start(self) -> None:
        """Training begins, or goes on after something else."""
        self.clock = time.perf_counter()

    def record(
        self, step: int, embeddings: Tensor, labels: Tensor, final: bool
    ) -> tuple[StepRecord, list[float], float]:
        """What the steps up to `step` gave since the last record, with their losses and the seconds they took.

        This is the only wait for the device. Raises `DivergedError` naming the first step whose loss is not finite.
        """
        parts, plan = self.plan.accumulation, self.plan
        steps = len(self.losses) // parts
        losses = mean(torch.stack(self.losses).float()).tolist()
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        for number, value in enumerate(losses, (step - steps) * parts):
            if not math.isfinite(value):
                self.diverged(number // parts, value)
        self.losses.clear()
        # a classifier over very many classes is slow on a CPU: it gets a share of the time, no more
        self.accuracy_time += seconds
        due = final or self.accuracy_cost <= ACCURACY_SHARE * self.accuracy_time
        record = StepRecord(
            step=step,
            epoch=(step - 1) // plan.steps_per_epoch,
            loss=sum(losses) / len(losses),
            accuracy=self.accuracy(embeddings, labels) if due else None,
            learning_rate=learning_rate_at(self.config, step - 1, plan.steps),
            images_per_second=round(steps * plan.images_per_step / max(seconds, 1e-9), 1),
        )
        return record, losses, seconds

    def accuracy(self, embeddings: Tensor, labels: Tensor) -> float:
        """The share of a few samples whose nearest class is their own.

        Of this process alone: when it is due depends on the clock, so the others cannot be asked.
        """
        begun = time.perf_counter()
        few = slice(ACCURACY_SAMPLES)
        with torch.no_grad():
            _, nearest = self.classifier.nearest(embeddings[few], 1)
            value = float((nearest[:, 0] == labels[few]).float().mean())
        self.accuracy_cost, self.accuracy_time = time.perf_counter() - begun, 0.0
        self.clock = time.perf_counter()
        return value

    def diverged(self, step: int, value: float) -> None:
        rate = learning_rate_at(self.config, step, self.plan.steps)
        raise DivergedError(
            f"the loss became {value} at step {step + 1} (epoch {step // self.plan.steps_per_epoch + 1}, "
            f"learning rate {rate:.3g}); lower the learning rate, set clip_norm, or look for broken images"
        )


def mean(values: Tensor) -> Tensor:
    """The mean over all processes; the values themselves, where there is one."""
    if processes.count() > 1:
        torch.distributed.all_reduce(values)
        values /= processes.count()
    return values
