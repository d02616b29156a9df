"""The k nearest roots of A by sorting alone, for as many queries as there are: a faster `topk` for `V11`."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def nearest_roots(x: Tensor, k: int) -> Tensor:
    """The indices of the k vectors of V(n, 1, 1), n >= 4, nearest to each x, best first: (Q, n) -> int64 (Q, k).

    A root e_i - e_j scores x_i - x_j. The root of the (a+1)-th largest and the (b+1)-th smallest coordinate is beaten
    or equalled by every root of larger and smaller ones, of which there are (a+1)(b+1) less those that would take one
    coordinate twice, at most min(a, b) + 1. So about k log k roots contain the k best. Among equal scores the choice
    is free.

    >>> from rootspace.systems import V
    >>> x = torch.tensor([[0.3, -0.5, 0.9, 0.1]])
    >>> V(4, 1, 1).unrank(nearest_roots(x, 2)).int().tolist()
    [[[0, -1, 1, 0], [1, -1, 0, 0]]]
    """
    n = x.shape[1]
    width = min(n, k + 1)
    high, up = x.topk(width, dim=1)
    low, down = x.topk(width, dim=1, largest=False)
    a, b = (ranks.to(x.device) for ranks in _ranks(width, k))
    i, j = up[:, a], down[:, b]
    scores = (high[:, a] - low[:, b]).masked_fill(i == j, -torch.inf)
    best = scores.topk(k, dim=1).indices
    i, j = i.gather(1, best), j.gather(1, best)
    # as `rank` counts: the place of 1 among n, then that of -1 among those left
    return i * (n - 1) + j - (j > i).long()


@lru_cache(maxsize=32)
def _ranks(width: int, k: int) -> tuple[Tensor, Tensor]:
    """The pairs of ranks (a, b) that may be among the k best."""
    ranks = torch.arange(width)
    a, b = ranks[:, None], ranks[None, :]
    found = ((a + 1) * (b + 1) <= k + torch.minimum(a, b) + 1).nonzero()
    return found[:, 0], found[:, 1]
