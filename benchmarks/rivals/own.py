"""rootspace's losses with vectors already given to the classes, and `nearest` on the loss itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rootspace.assign import Assignment, ShuffledAssignment, TableAssignment, shuffled
from rootspace.losses import BatchSoftmax, ClassSoftmax, CosineLoss, NeighbourSoftmax, SystemSoftmax
from rootspace.systems import graded, parse, smallest


class _ByAssignment:
    """Reads classes back by the assignment, as `fit` does by itself."""

    assignment: Assignment

    @property
    def n_classes(self) -> int:
        return self.assignment.n_classes

    @property
    def dim(self) -> int:
        return self.assignment.system.dim

    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        return self.assignment.nearest(embeddings, k)


class Cosine(_ByAssignment, CosineLoss):
    """`CosineLoss`."""


class System(_ByAssignment, SystemSoftmax):
    """`SystemSoftmax`."""


class Classes(_ByAssignment, ClassSoftmax):
    """`ClassSoftmax`."""


class Neighbours(_ByAssignment, NeighbourSoftmax):
    """`NeighbourSoftmax`."""


class Batch(_ByAssignment, BatchSoftmax):
    """`BatchSoftmax`."""


def paper(n_classes: int, dim: int, seed: int) -> Cosine:
    return Cosine(tight(n_classes, seed))


def system_softmax(
    n_classes: int, dim: int, seed: int, scale: float = 32.0, system: str = "V22", **more: Any
) -> System:
    """system: a family, taken at its n_min, or the spec of one system."""
    return System(tight(n_classes, seed, system), scale, **more)


def batch_softmax(n_classes: int, dim: int, seed: int, scale: float = 32.0, system: str = "V22", **more: Any) -> Batch:
    return Batch(tight(n_classes, seed, system), scale, **more)


def neighbour_softmax(
    n_classes: int, dim: int, seed: int, scale: float = 24.0, margin: float = 0.1, **more: Any
) -> Neighbours:
    return Neighbours(roomy(n_classes, dim, seed), scale, margin=margin, **more)


def class_softmax(
    n_classes: int, dim: int, seed: int, scale: float = 24.0, margin: float = 0.1, **more: Any
) -> Classes:
    return Classes(roomy(n_classes, dim, seed), scale, margin=margin, **more)


def roomy(n_classes: int, dim: int, seed: int) -> TableAssignment:
    """Random vectors of graded:n, one a class, stored."""
    system = graded(dim)
    return TableAssignment(system, system.random(n_classes, torch.Generator().manual_seed(seed)))


def tight(n_classes: int, seed: int, system: str = "V22") -> ShuffledAssignment:
    """Shuffled vectors of a system with hardly more than there are classes."""
    return shuffled(parse(system) if ":" in system else smallest(system, n_classes), n_classes, seed)
