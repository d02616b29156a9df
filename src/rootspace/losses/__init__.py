"""Losses, as modules called `loss(embeddings, labels)`; a name says what a softmax is normalised over."""

from rootspace.losses.linear import LinearHead
from rootspace.losses.regression import CosineLoss, SquaredEuclideanLoss
from rootspace.losses.softmax import BatchSoftmax, ClassSoftmax, NeighbourSoftmax, SystemSoftmax

__all__ = [
    "BatchSoftmax",
    "ClassSoftmax",
    "CosineLoss",
    "LinearHead",
    "NeighbourSoftmax",
    "SquaredEuclideanLoss",
    "SystemSoftmax",
]
