"""Re-assignment: early in training, classes move to the vectors nearest to what the network makes of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rootspace.assign import TableAssignment, nearest_free, whiten_in_place
from rootspace.errors import InputError
from rootspace.train.hooks import Hook, Plan


class Reassign(Hook):
    """Re-assigns class vectors at given points of training, then leaves them frozen.

    `at` are the points in epochs, for example (0.4, 0.8, 1.2). Between two points the hook sums up each
    class's unit embeddings. At a point the class means are whitened in place (so that directions change as
    little as possible) and every class gets a free vector near its mean; classes not seen since keep theirs
    unless another class took it. Memory: one float32 vector a class until the last point, none after.
    """

    name = "reassign"

    def __init__(self, assignment: TableAssignment, at: tuple[float, ...]) -> None:
        if not isinstance(assignment, TableAssignment):
            raise InputError("re-assignment needs vectors stored in a table, as by_similarity and by_name make them")
        if any(point <= 0 for point in at) or list(at) != sorted(at):
            raise InputError(f"reassign: expected ascending points in epochs, above 0, got {at}")
        self.assignment = assignment
        self.at = tuple(at)
        self.points: list[int] = []
        self.sums: Tensor | None = None

    def on_start(self, plan: Plan) -> None:
        if plan.processes > 1 and self.at:
            raise InputError("re-assignment runs in one process so far: train with one, or with no reassign points")
        self.points = sorted({max(1, round(point * plan.steps_per_epoch)) for point in self.at})
        self.points = [point for point in self.points if point < plan.steps]
        if self.points:
            shape = self.assignment.n_classes, self.assignment.system.dim
            self.sums = torch.zeros(*shape, device=plan.device)

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        if self.sums is None:
            return
        self.sums.index_add_(0, labels, torch.nn.functional.normalize(embeddings.float(), dim=1))
        if self.points and step + 1 >= self.points[0]:
            self.points.pop(0)
            self.move(self.sums)
            self.sums = torch.zeros_like(self.sums) if self.points else None

    def move(self, sums: Tensor) -> None:
        """Give every class a free vector near the mean of its embeddings."""
        current = self.assignment.vectors(torch.arange(self.assignment.n_classes, device=sums.device))
        norms = sums.norm(dim=1, keepdim=True)
        seen = norms > 0
        directions = whiten_in_place(torch.where(seen, sums / norms.clamp_min(1e-12), 0), seen[:, 0])
        directions = torch.where(seen, directions, current / self.assignment.system.norm)
        self.assignment.replace(nearest_free(self.assignment.system, directions))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"points": self.points}, {} if self.sums is None else {"sums": self.sums}

    def load_state(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.points = [int(point) for point in values["points"]]
        if self.sums is not None:
            self.sums = tensors["sums"].to(self.sums) if "sums" in tensors else None
