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
) -> Histogram:
    """Histogram of own-class and nearest-other-class cosines of embeddings (N, dim) with labels (N,).

    Works chunk by chunk, so that embeddings may be a memory map. Raises `InputError` for an empty set, NaN or
    infinity, shapes that do not fit, labels out of range, or fewer than two classes.
    """
    check_embeddings(embeddings, labels, "cosine histogram")
    if assignment.n_classes < 2:
        raise InputError("cosine histogram: expected at least two classes, got one; there is no other class")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= assignment.n_classes:
        raise InputError(
            f"labels: expected class ids from 0 to {assignment.n_classes - 1}, got {low} to {high}; "
            "is this the data set the model was trained for?"
        )
    edges = np.linspace(-1.0, 1.0, bins + 1)
    counts = np.zeros((2, bins), np.int64)
    sums, right, device = np.zeros(2), 0, device_of(assignment)
    for start in range(0, len(embeddings), chunk):
        part = as_tensor(embeddings[start : start + chunk]).float().to(device)
        truth = as_tensor(labels[start : start + chunk]).to(part.device)
        check_finite(part, first=start)
        own, other = own_and_other(part, truth, assignment)
        right += int((own > other).sum())
        for row, cosines in enumerate((own, other)):
            values = cosines.cpu().numpy().astype(np.float64)
            sums[row] += values.sum()
            # rounding may take a cosine just outside [-1, 1]
            counts[row] += np.histogram(values.clip(-1.0, 1.0), edges)[0]
    n = len(embeddings)
    return Histogram(
        tuple(edges.tolist()),
        tuple(counts[0].tolist()),
        tuple(counts[1].tolist()),
        float(sums[0] / n),
        float(sums[1] / n),
        right / n,
    )


def own_and_other(embeddings: Tensor, labels: Tensor, assignment: Vectors) -> tuple[Tensor, Tensor]:
    """Cosines (B,) of embeddings (B, dim) to their own class's vector and to the nearest other class's."""
    with torch.no_grad():
        own = cosine_similarity(embeddings, assignment.vectors(labels).to(embeddings), dim=-1)
        scores, found = assignment.nearest(embeddings, 2)
        other = torch.where(found[:, 0] == labels, scores[:, 1], scores[:, 0])
    return own, other
