"""Classes find their vectors: in the first part of training each class's vector follows its embeddings, then stays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rootspace.assign import TableAssignment
from rootspace.errors import InputError
from rootspace.losses import CosineLoss, NeighbourSoftmax, SquaredEuclideanLoss, SystemSoftmax
from rootspace.losses.gather import gathered
from rootspace.train import processes
from rootspace.train.hooks import Hook, Plan

UNIT = 1 << 32  # of the whole numbers that embeddings are summed as


class Follow(Hook):
    """Lets class vectors follow the running mean of their embeddings for a part of the training.

    From the share `begin` of all steps on, when the network has begun to tell classes apart, a class's direction
    moves by `momentum` towards the mean of its unit embeddings in each batch that holds it. At the share `until` each
    class gets the free vector of the system nearest to its direction, and keeps it. With `every` > 0 (in passes over
    the training set) vectors in use jump at these points only, each time to vectors of the system: re-assignment on a
    schedule. The neighbours of a `NeighbourSoftmax` are found anew every `refresh` passes, or at each jump.

    The loss must push classes apart: following a mean alone would let all directions meet. So the losses that look at
    a sample's own vector only, and the softmax over a whole system, are refused.
    Memory: one float32 vector a class until the last point, none after. With several processes each sees all
    embeddings, B x n numbers a step; nothing else is sent.
    """

    name = "follow"

    def __init__(
        self,
        loss: nn.Module,
        until: float = 0.9,
        momentum: float = 0.2,
        every: float = 0.0,
        refresh: float = 0.25,
        begin: float = 0.1,
    ) -> None:
        assignment = getattr(loss, "assignment", None)
        if not isinstance(assignment, TableAssignment):
            raise InputError("class vectors can follow where a table stores them, as by_similarity and by_name make it")
        if isinstance(loss, (CosineLoss, SquaredEuclideanLoss, SystemSoftmax)):
            raise InputError(
                f"follow: {type(loss).__name__} does not keep classes apart that follow their embeddings; "
                "take ClassSoftmax, NeighbourSoftmax or BatchSoftmax"
            )
        if not 0 < until <= 1:
            raise InputError(f"follow: expected a share of the training in (0, 1], got {until}")
        if not 0 <= begin < 1:
            raise InputError(f"follow: expected to begin at a share of the training in [0, 1), got {begin}")
        if not 0 < momentum <= 1:
            raise InputError(f"follow momentum: expected a number in (0, 1], got {momentum}")
        if every < 0 or refresh <= 0:
            raise InputError(
                f"follow: expected every >= 0 and refresh > 0 in passes over the data, got {every} and {refresh}"
            )
        self.loss, self.assignment = loss, assignment
        self.begin, self.until, self.momentum, self.every, self.refresh = begin, until, momentum, every, refresh
        self.directions: Tensor | None = None

    def describe(self) -> str:
        settings = "begin", "until", "momentum", "every", "refresh"
        return f"{self.name}({', '.join(f'{setting}={getattr(self, setting):g}' for setting in settings)})"

    def on_start(self, plan: Plan) -> None:
        self.last = max(1, min(plan.steps, round(self.until * plan.steps)))
        self.first = min(round(self.begin * plan.steps), self.last - 1)
        self.period = max(1, round((self.every or self.refresh) * plan.steps_per_pass))
        self.parts, self.part = plan.accumulation, 0
        self.follow(self.assignment.release().clone() if self.every else self.assignment.release())

    def follow(self, directions: Tensor) -> None:
        """Follow from these directions on: in the assignment itself, or beside it where vectors jump."""
        self.directions = directions
        self.assignment.released = None if self.every else directions

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        if self.directions is None or step < self.first:
            return
        move(self.directions, gathered(embeddings), gathered(labels), self.momentum)
        self.part = (self.part + 1) % self.parts
        if self.part:
            return  # the step goes on with another batch
        ends, due = step + 1 >= self.last, (step + 1) % self.period == 0
        if not (ends or due) or not bool(torch.isfinite(self.directions).all()):
            return  # where the loss is no longer finite the loop is about to say so
        if ends or self.every:
            self.settle()
        if ends:
            self.directions = None
        self.find_neighbours()

    def settle(self) -> None:
        """Give each class the free vector nearest to its direction."""
        assert self.directions is not None
        self.assignment.released = self.directions
        self.assignment.settle()
        # found alike in all processes, unless their machines round differently
        processes.equalise([self.assignment.codes], self.assignment.codes.device)

    def find_neighbours(self) -> None:
        if isinstance(self.loss, NeighbourSoftmax):
            self.loss.refresh()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"following": self.directions is not None}, (
            {} if self.directions is None else {"directions": self.directions}
        )

    def load_state(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        if values["following"]:
            self.follow(tensors["directions"].to(self.assignment.codes.device))
        else:
            self.directions = self.assignment.released = None


@torch.no_grad()
def move(directions: Tensor, embeddings: Tensor, labels: Tensor, momentum: float) -> None:
    """Move the directions (N, n) of the classes in a batch towards their mean unit embedding, in place."""
    unit = normalize(embeddings.to(directions.dtype), dim=1)
    # a class has the place of its first sample among the sorted ones: of fixed shape, so nothing waits for the device
    place = torch.searchsorted(labels.sort().values, labels)
    # whole numbers in float64 add up without rounding: all processes get one sum, in whatever order a GPU adds
    whole = (unit * UNIT).round().to(unit.dtype if unit.device.type == "mps" else torch.float64)
    means = normalize(torch.zeros_like(whole).index_add_(0, place, whole), dim=1).to(unit.dtype)[place]
    # rows of one class get the same values, so that the order in which they are written back does not matter
    directions[labels] = normalize((1 - momentum) * directions[labels] + momentum * means, dim=1)
