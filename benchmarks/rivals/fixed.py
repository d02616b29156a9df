"""Fixed directions with a softmax over all classes: random ones, and ones made nearly equiangular."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from rivals.common import best_classes
from rootspace.losses.common import batch_mean, check_batch, full_precision, run_eagerly

#: Up to so many classes directions are optimised (some minutes on a core); beyond, "equiangular" is random directions.
OPTIMISED_UP_TO = 20_000

#: Directions optimised at a time, against all: (ROWS x classes) cosines.
ROWS = 512

#: Rows of random directions drawn at a time.
DRAWN = 2**16


class FixedSoftmax(nn.Module):
    """Cross-entropy of `scale` times the cosines with fixed unit vectors, of all classes; scores are cosines.

    stored: whether the vectors belong into a checkpoint; not if they can be made again from a seed.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, scale: float, stored: bool) -> None:
        super().__init__()
        self.n_classes, self.dim = vectors.shape
        self.scale = scale
        self.register_buffer("vectors", vectors, persistent=stored)

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.dim)
        with full_precision(embeddings) as x:
            logits = (self.scale * normalize(x, dim=1)) @ self.vectors.to(x.dtype).T
            return batch_mean(cross_entropy(logits, labels, reduction="none"))

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        unit = normalize(embeddings.to(self.vectors), dim=-1)
        return best_classes(unit, self.n_classes, k, lambda x, i, j: x @ self.vectors[i:j].T)

    def extra_repr(self) -> str:
        return f"n_classes={self.n_classes}, dim={self.dim}, scale={self.scale}"


def random_softmax(n_classes: int, dim: int, seed: int, scale: float = 16.0) -> FixedSoftmax:
    return FixedSoftmax(random_directions(n_classes, dim, seed), scale, stored=False)


def equiangular_softmax(n_classes: int, dim: int, seed: int, scale: float = 1 / 0.07, passes: int = 30) -> FixedSoftmax:
    """Equiangular Basis Vectors up to `OPTIMISED_UP_TO` classes, random directions beyond."""
    vectors = random_directions(n_classes, dim, seed)
    if n_classes > OPTIMISED_UP_TO:
        return FixedSoftmax(vectors, scale, stored=False)
    return FixedSoftmax(made_equiangular(vectors, passes), scale, stored=True)


def random_directions(n_classes: int, dim: int, seed: int) -> Tensor:
    """Independent directions, uniform on the sphere: float32 (n_classes, dim), drawn in place."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.empty(n_classes, dim)
    for part in vectors.split(DRAWN):
        part.normal_(generator=generator)
        part /= part.norm(dim=1, keepdim=True)
    return vectors


def made_equiangular(vectors: Tensor, passes: int, rate: float = 0.02) -> Tensor:
    """Push every direction away from those it is nearest to, opposite ones included: (N, n) -> (N, n), unit rows.

    Each row's largest |cosine| is lowered, as a soft maximum that gets harder: some rows at a time against all, by
    Adam. A pass takes N^2 n products and (ROWS x N) memory.
    """
    x = vectors.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=rate)
    parts = torch.arange(len(x)).split(ROWS)
    steps = passes * len(parts)
    for step in range(steps):
        rows = parts[step % len(parts)]
        optimiser.param_groups[0]["lr"] = rate * 0.01 ** (step / steps)
        sharpness = 20.0 * 10.0 ** (step / steps)
        unit = normalize(x, dim=1)
        cosines = (unit[rows] @ unit.T).abs()
        others = cosines.scatter(1, rows[:, None], -torch.inf)
        loss = torch.logsumexp(sharpness * others, dim=1).sum() / sharpness
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return normalize(x.detach(), dim=1)
