"""Losses that look at a sample's own class vector only: cost and memory do not know how many classes there are."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import normalize

from rootspace.assign import Assignment
from rootspace.losses.common import batch_mean, check_batch, full_precision, run_eagerly


class CosineLoss(nn.Module):
    """1 - cosine of the embedding and its class's vector, averaged: the loss of arXiv 2512.07509.

    `loss(embeddings (B, n), labels (B,)) -> scalar`, in [0, 2]; an empty batch gives 0.

    >>> import torch
    >>> from rootspace.assign import shuffled
    >>> from rootspace.systems import V
    >>> classes = shuffled(V(8, 2, 2), 100)
    >>> labels = torch.tensor([3, 99])
    >>> round(CosineLoss(classes)(classes.vectors(labels), labels).item(), 6)
    0.0
    """

    def __init__(self, assignment: Assignment) -> None:
        super().__init__()
        self.assignment = assignment

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.assignment.system.dim)
        with full_precision(embeddings) as x:
            target = self.assignment.vectors(labels) / self.assignment.system.norm
            return batch_mean(1 - (normalize(x, dim=1) * target).sum(1))


class SquaredEuclideanLoss(nn.Module):
    """Squared distance of the embedding, as it is, from its class's unit vector, averaged.

    `loss(embeddings (B, n), labels (B,)) -> scalar`; an empty batch gives 0. Unlike the cosine loss it also
    asks for an embedding of norm 1.
    """

    def __init__(self, assignment: Assignment) -> None:
        super().__init__()
        self.assignment = assignment

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.assignment.system.dim)
        with full_precision(embeddings) as x:
            target = self.assignment.vectors(labels) / self.assignment.system.norm
            return batch_mean((x - target).square().sum(1))
