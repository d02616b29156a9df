"""The learned classification layer, as the baseline everything here is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from rootspace.assign.base import SCORE_ELEMENTS, best_of
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
        """The k most probable classes: (..., n) -> probabilities (..., k) descending, labels (..., k).

        Classes are read in blocks, so that memory does not grow with their number.
        """
        rows = embeddings.reshape(-1, self.dim)
        block = max(k, SCORE_ELEMENTS // max(1, len(rows) + self.dim))
        best = torch.empty(len(rows), 0, device=rows.device)
        labels = torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
        log_sum = torch.full((len(rows), 1), float("-inf"), device=rows.device)
        with torch.no_grad():
            for start in range(0, self.n_classes, block):
                part = slice(start, start + block)
                logits = linear(rows, self.linear.weight[part], self.linear.bias[part]).float()
                log_sum = torch.logaddexp(log_sum, logits.logsumexp(dim=1, keepdim=True))
                own = torch.arange(start, start + logits.shape[1], device=rows.device).expand_as(logits)
                best, labels = best_of(best, labels, logits, own, k)
        shape = (*embeddings.shape[:-1], k)
        return (best - log_sum).exp().reshape(shape), labels.reshape(shape)
