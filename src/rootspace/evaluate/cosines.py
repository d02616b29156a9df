"""How far the classes are apart in the embeddings: cosine to the own class and to the nearest other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from rootspace.errors import InputError
from rootspace.evaluate.embed import as_tensor, check_embeddings, check_finite, device_of
from rootspace.evaluate.processes import Processes

UNIT = 1 << 32  # of the integers that cosines are summed as, so that the order of samples does not matter


class Vectors(Protocol):
    """What is needed of a `rootspace.assign.Assignment`."""

    @property
    def n_classes(self) -> int: ...

    def vectors(self, labels: Tensor) -> Tensor: ...

    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Histogram:
    """Counts of cosines between `edges` (bins + 1 of them, ascending over [-1, 1]).

    `own` counts cosines between an embedding and its class's vector, `other` those to the nearest vector of
    any other class; a sample is decoded rightly when its own is above its other, which holds for the share
    `right`.
    """

    edges: tuple[float, ...]
    own: tuple[int, ...]
    other: tuple[int, ...]
    own_mean: float
    other_mean: float
    right: float

    @property
    def n(self) -> int:
        """Number of samples."""
        return sum(self.own)


def cosine_histogram(
    embeddings: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    assignment: Vectors,
    *,
    bins: int = 80,
    chunk: int = 4096,
    collective: bool = False,
) -> Histogram:
    """Histogram of own-class and nearest-other-class cosines of embeddings (N, dim) with labels (N,).

    Works chunk by chunk, so that embeddings may be a memory map. Raises `InputError` for an empty set, NaN or
    infinity, shapes that do not fit, labels out of range, or fewer than two classes.

    With `collective`, every process of `torch.distributed`'s default group makes this call with its own part, which
    may be empty, and gets the histogram of all.
    """
    if assignment.n_classes < 2:
        raise InputError("cosine histogram: expected at least two classes, got one; there is no other class")
    edges = np.linspace(-1.0, 1.0, bins + 1)
    counts = np.zeros((2, bins), np.int64)
    sums, right, device = np.zeros(2, np.int64), 0, device_of(assignment)
    processes = Processes.of(collective)
    with processes.together():
        check_embeddings(embeddings, labels, "cosine histogram", empty=processes.count > 1)
        _check_labels(labels, assignment.n_classes)
        for start in range(0, len(embeddings), chunk):
            part = as_tensor(embeddings[start : start + chunk]).float().to(device)
            truth = as_tensor(labels[start : start + chunk]).to(part.device)
            check_finite(part, first=start)
            own, other = own_and_other(part, truth, assignment)
            right += int((own > other).sum())
            for row, cosines in enumerate((own, other)):
                # rounding may take a cosine just outside [-1, 1]
                values = cosines.cpu().numpy().astype(np.float64).clip(-1.0, 1.0)
                sums[row] += (values * UNIT).round().astype(np.int64).sum()
                counts[row] += np.histogram(values, edges)[0]
    n, right, *shared = processes.totals([len(embeddings), right, *sums.tolist(), *counts.ravel().tolist()])
    if n == 0:
        raise InputError("cosine histogram: expected at least one embedding, got an empty set")
    own_sum, other_sum, *filled = shared
    return Histogram(
        tuple(edges.tolist()),
        tuple(filled[:bins]),
        tuple(filled[bins:]),
        own_sum / UNIT / n,
        other_sum / UNIT / n,
        right / n,
    )


def _check_labels(labels: np.ndarray | Tensor, n_classes: int) -> None:
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if low < 0 or high >= n_classes:
        raise InputError(
            f"labels: expected class ids from 0 to {n_classes - 1}, got {low} to {high}; "
            "is this the data set the model was trained for?"
        )


def own_and_other(embeddings: Tensor, labels: Tensor, assignment: Vectors) -> tuple[Tensor, Tensor]:
    """Cosines (B,) of embeddings (B, dim) to their own class's vector and to the nearest other class's."""
    with torch.no_grad():
        own = cosine_similarity(embeddings, assignment.vectors(labels).to(embeddings), dim=-1)
        scores, found = assignment.nearest(embeddings, 2)
        other = torch.where(found[:, 0] == labels, scores[:, 1], scores[:, 0])
    return own, other
