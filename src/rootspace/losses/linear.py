"""The learned classification layer, as the baseline everything here is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rootspace.losses.common import batch_mean, check_batch, full_precision


class LinearHead(nn.Module):
    """A learned linear layer with cross-entropy: `loss(embeddings (B, n), labels (B,)) -> scalar`.

    It holds (dim + 1) x n_classes parameters; `nearest` ranks classes by their softmax probability.

    >>> head = LinearHead(dim=8, n_classes=100)
    >>> sum(p.numel() for p in head.parameters())
    900
    """

    def __init__(self, dim: int, n_classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.dim, self.n_classes, self.label_smoothing = dim, n_classes, label_smoothing
        self.linear = nn.Linear(dim, n_classes)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.dim)
        logits = self.linear(embeddings)
        with full_precision(logits) as full:
            return batch_mean(cross_entropy(full, labels, reduction="none", label_smoothing=self.label_smoothing))

    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """The k most probable classes: (..., n) -> probabilities (..., k) descending, labels (..., k)."""
        with torch.no_grad():
            probabilities = torch.softmax(self.linear(embeddings).float(), dim=-1)
            values, labels = probabilities.topk(k, dim=-1)
        return values, labels
