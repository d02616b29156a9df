"""Different vectors of a system, each near a direction that a class wants."""

from __future__ import annotations

import torch
from torch import Tensor

from rootspace.assign.codes import encode
from rootspace.errors import InputError
from rootspace.systems import VectorSystem

#: The nearest vectors tried for a class whose first choice is taken, before a random free one is drawn.
_TRIES = 512


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
        vectors[waiting] = system.random(len(waiting), generator).to(vectors)
        # directions play no part: whoever comes first keeps the vector
        settled = _settle(system, vectors, torch.zeros_like(vectors), settled)
        waiting = (~settled).nonzero()[:, 0]
