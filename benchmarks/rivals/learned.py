"""Layers with a learned vector for each class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rivals.common import SCORE_ELEMENTS, best_classes
from rootspace.errors import require
from rootspace.losses import LinearHead
from rootspace.losses.common import check_batch, full_precision, run_eagerly


class Linear(LinearHead):
    """rootspace's learned linear layer, read back a block of classes at a time; scores are logits."""

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        weight, bias = self.linear.weight, self.linear.bias
        return best_classes(
            embeddings, self.n_classes, k, lambda x, i, j: torch.addmm(bias[i:j], x.to(weight), weight[i:j].T)
        )


class Directions(nn.Module):
    """A loss of pytorch-metric-learning that learns a direction for each class; scores are cosines."""

    def __init__(self, loss: nn.Module, n_classes: int, dim: int) -> None:
        super().__init__()
        self.loss, self.n_classes, self.dim = loss, n_classes, dim

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.dim)
        with full_precision(embeddings) as x:
            value: Tensor = self.loss(x, labels)
            return value

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        weight = self.loss.get_parameter("W")  # (dim, n_classes)
        unit = normalize(embeddings.to(weight), dim=-1)
        return best_classes(unit, self.n_classes, k, lambda x, i, j: x @ normalize(weight[:, i:j], dim=0))


def arcface(n_classes: int, dim: int, seed: int, scale: float = 64.0, margin: float = 28.6) -> Directions:
    """ArcFace; margin in degrees."""
    return _directions("ArcFaceLoss", n_classes, dim, scale=scale, margin=margin)


def cosface(n_classes: int, dim: int, seed: int, scale: float = 64.0, margin: float = 0.35) -> Directions:
    return _directions("CosFaceLoss", n_classes, dim, scale=scale, margin=margin)


def normalised_softmax(n_classes: int, dim: int, seed: int, scale: float = 20.0) -> Directions:
    return _directions("NormalizedSoftmaxLoss", n_classes, dim, temperature=1 / scale)


def _directions(name: str, n_classes: int, dim: int, **options: Any) -> Directions:
    losses = require("pytorch_metric_learning.losses", extra="dev")
    return Directions(getattr(losses, name)(num_classes=n_classes, embedding_size=dim, **options), n_classes, dim)


class AdaptiveSoftmax(nn.Module):
    """torch's adaptive softmax; scores are log-probabilities.

    Its classes are ordered by frequency, most frequent first. counts: how often each class occurs, (n_classes,);
    without them class ids are taken to be in that order already. Cutoffs are at 5 % and 20 % of the classes.
    """

    place: Tensor | None  # of a class in the order of frequency
    order: Tensor | None  # the class at a place

    def __init__(self, n_classes: int, dim: int, counts: Tensor | None = None, div_value: float = 4.0) -> None:
        super().__init__()
        if n_classes < 4 or dim < div_value**2:
            raise ValueError(f"at least 4 classes and {div_value**2:g} dimensions, got {n_classes} and {dim}")
        self.n_classes, self.dim = n_classes, dim
        first = max(1, n_classes // 20)
        self.cutoffs = [first, max(first + 1, n_classes // 5)]
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(dim, n_classes, self.cutoffs, div_value=div_value)
        order = None if counts is None else counts.argsort(descending=True, stable=True)
        self.register_buffer("order", order)
        self.register_buffer("place", None if order is None else order.argsort())

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.dim)
        with full_precision(embeddings) as x:
            loss: Tensor = self.softmax(x, labels if self.place is None else self.place[labels]).loss
            return loss

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        flat = embeddings.reshape(-1, self.dim).to(self.softmax.head.weight)
        parts = [self.softmax.log_prob(x).topk(k, dim=1) for x in flat.split(max(1, SCORE_ELEMENTS // self.n_classes))]
        shape = (*embeddings.shape[:-1], k)
        scores = torch.cat([part.values for part in parts]).reshape(shape)
        labels = torch.cat([part.indices for part in parts]).reshape(shape)
        return scores, labels if self.order is None else self.order[labels]
