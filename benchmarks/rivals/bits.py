"""A code of n bits for each class, learned bit by bit: error-correcting output codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from rivals.common import best_classes
from rootspace.assign import KeyedShuffle
from rootspace.losses.common import batch_mean, check_batch, full_precision, run_eagerly
from rootspace.systems.baselines import hadamard_rows

#: Bits that one keyed shuffle gives.
WORD = 62


class BitCodes(nn.Module):
    """Binary cross-entropy of `scale` times each coordinate with the class's bit.

    Up to 2n classes, n a power of 2, codes are the Hadamard rows and their opposites, n/2 bits apart at least. Beyond,
    they are pseudo-random and different. Both are shuffled by the seed, and computed from the class id: nothing is
    stored for a class. A class's score is the sum of coordinates times its bits (1 or -1): the largest is that of the
    most likely code.
    """

    rows: Tensor | None

    def __init__(self, n_classes: int, dim: int, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        if n_classes > 2**dim:
            raise ValueError(f"{dim} bits name {2**dim} classes, got {n_classes}")
        self.n_classes, self.dim, self.scale = n_classes, dim, scale
        hadamard = n_classes <= 2 * dim and dim >= 2 and not dim & (dim - 1)
        rows = hadamard_rows(dim).all().float() if hadamard else None
        self.register_buffer("rows", None if rows is None else torch.cat([rows, -rows]), persistent=False)
        self.order = KeyedShuffle(2 * dim, seed)
        # the first word tells classes apart, the others are as good as random
        self.widths = [min(WORD, dim - start) for start in range(0, dim, WORD)]
        self.words = [KeyedShuffle(2**width, key=seed * 1000 + i) for i, width in enumerate(self.widths)]

    def codes(self, labels: Tensor) -> Tensor:
        """The codes of classes: int64 (B,) -> float32 (B, n) of 1 and -1."""
        if self.rows is not None:
            return self.rows[self.order(labels)]
        parts = []
        for width, word in zip(self.widths, self.words, strict=True):
            places = torch.arange(width, device=labels.device)
            parts.append((word(labels % 2**width)[:, None] >> places) & 1)
        return 2.0 * torch.cat(parts, dim=1).float() - 1

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.dim)
        with full_precision(embeddings) as x:
            bits = (self.codes(labels) > 0).to(x)
            return batch_mean(binary_cross_entropy_with_logits(self.scale * x, bits, reduction="none").mean(1))

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        return best_classes(
            embeddings, self.n_classes, k, lambda x, i, j: x.float() @ self.codes(torch.arange(i, j, device=x.device)).T
        )

    def extra_repr(self) -> str:
        return f"n_classes={self.n_classes}, dim={self.dim}, scale={self.scale}"
