"""Vectors that follow the data: similar classes get similar vectors, so the encoder need not tear them apart.

Class means are centred, whitened to n dimensions, and turned by a random rotation; then each class gets the
nearest vector that is free. In a system with far more vectors than classes that vector is near indeed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace.assign.table import TableAssignment, encode
from rootspace.errors import InputError
from rootspace.systems import VectorSystem

#: The nearest vectors tried for a class whose first choice is taken, before a random free one is drawn.
_TRIES = 512


def by_similarity(
    system: VectorSystem, class_means: Tensor, generator: torch.Generator | None = None
) -> TableAssignment:
    """Give each class a free vector near its whitened mean.

    class_means: float (n_classes, d), one row per class: means of pooled pixels, or of any features. Raises
    `InputError` for NaN, a wrong shape, or more classes than vectors.
    """
    return TableAssignment(system, nearest_free(system, whiten(class_means, system.dim, generator)))


def whiten(features: Tensor, dim: int, generator: torch.Generator | None = None, floor: float = 1e-3) -> Tensor:
    """Centre rows, give their leading principal components equal variance, and rotate at random.

    (N, d) -> unit rows, float32 (N, dim), on the features' device. Components whose standard deviation is
    below `floor` times the largest are noise and are left out. Where fewer than `dim` components exist, the
    rows fill a random subspace. `generator` (on the CPU) draws the rotation.
    """
    if features.ndim != 2 or not len(features):
        raise InputError(f"features of classes have shape (n_classes, d), got {tuple(features.shape)}")
    if not bool(torch.isfinite(features).all()):
        raise InputError("features of classes hold NaN or infinity")
    centred = features.double() - features.double().mean(0)
    # the d x d covariance, whatever the number of classes
    values, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    values, axes = values.flip(0)[:dim].clamp_min(0), axes.flip(1)[:, :dim]
    kept = int((values.sqrt() > floor * values[0].sqrt().clamp_min(1e-30)).sum())
    kept = max(1, min(kept, dim))
    scores = centred @ axes[:, :kept] / values[:kept].sqrt().clamp_min(1e-30)
    frame = torch.linalg.qr(torch.randn(dim, kept, generator=generator, dtype=torch.float64)).Q
    return normalize(scores @ frame.T.to(scores), dim=1).float()


def whiten_in_place(means: Tensor, seen: Tensor, shrink: float = 0.1) -> Tensor:
    """Centre and whiten class means by the whitening that turns them least (ZCA): (N, n) -> unit rows (N, n).

    Only rows where `seen` is true count for the statistics. `shrink` in [0, 1] mixes the covariance with a
    multiple of the identity, so that a direction without variance is not blown up.
    """
    rows = means[seen].double()
    if len(rows) < 2:
        return normalize(means, dim=1)
    centre = rows.mean(0)
    covariance = (rows - centre).T @ (rows - centre) / len(rows)
    even = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device) * covariance.diagonal().mean()
    values, axes = torch.linalg.eigh((1 - shrink) * covariance + shrink * even)
    root = axes @ torch.diag(values.clamp_min(1e-12).rsqrt()) @ axes.T
    return normalize((means.double() - centre) @ root, dim=1).float()


def nearest_free(system: VectorSystem, directions: Tensor) -> Tensor:
    """Different vectors of the system, each near its direction: (N, n) -> float32 (N, n).

    Greedy: a class whose nearest vector is wanted by another class nearer to it takes its next nearest, and so
    on; after many tries, a random free vector. Raises `InputError` for more directions than vectors.
    """
    if len(directions) > system.size:
        raise InputError(
            f"{len(directions):,} classes do not fit {system.spec}, which has {system.size:,} vectors: "
            f"take a larger dimension or another system ('rootspace plan --classes {len(directions)}' lists them)"
        )
    vectors = system.nearest(directions).float()
    settled = _settle(system, vectors, directions, torch.zeros(len(directions), dtype=torch.bool).to(vectors.device))
    width = 8
    while not bool(settled.all()):
        waiting = (~settled).nonzero()[:, 0]
        if width > min(_TRIES, system.size):
            _take_random(system, vectors, settled, waiting)
            break
        _, candidates = system.nearest_k(directions[waiting], min(width, system.size))
        for choice in candidates.float().unbind(1):
            open_ = ~settled[waiting]
            if not bool(open_.any()):
                break
            vectors[waiting[open_]] = choice[open_]
            settled = _settle(system, vectors, directions, settled)
        width *= 8
    return vectors


def _settle(system: VectorSystem, vectors: Tensor, directions: Tensor, settled: Tensor) -> Tensor:
    """Of the rows that hold one vector, settle the one settled before, or else the nearest: -> bool (N,)."""
    codes = encode(system, vectors)
    _, group = torch.unique(codes, dim=0, return_inverse=True)
    closeness = (vectors * directions).sum(1) + 1e6 * settled
    best = torch.full((int(group.max()) + 1,), float("-inf"), device=group.device)
    best = best.scatter_reduce(0, group, closeness, "amax")
    row = torch.arange(len(group), device=group.device)
    winner = torch.full_like(best, len(group), dtype=torch.int64)
    winner = winner.scatter_reduce(0, group, torch.where(closeness == best[group], row, len(group)), "amin")
    return winner[group] == row


def _take_random(system: VectorSystem, vectors: Tensor, settled: Tensor, waiting: Tensor) -> None:
    """Give the waiting rows random free vectors, in place."""
    generator = torch.Generator().manual_seed(0)
    while len(waiting):
        uniform = system.sample_vectors(torch.zeros(1, system.dim), len(waiting), generator)[0]
        vectors[waiting] = uniform.to(vectors)
        # directions play no part: whoever comes first keeps the vector
        settled = _settle(system, vectors, torch.zeros_like(vectors), settled)
        waiting = (~settled).nonzero()[:, 0]
