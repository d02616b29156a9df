"""The best classes by scores that are made a block at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rootspace.assign.base import best_of

#: Scores (queries x classes) held at a time while reading classes back: 64 MiB of float32.
SCORE_ELEMENTS = 2**24


def best_classes(
    embeddings: Tensor, n_classes: int, k: int, scores: Callable[[Tensor, int, int], Tensor]
) -> tuple[Tensor, Tensor]:
    """The k best classes: (..., n) -> scores (..., k) descending, labels (..., k).

    scores: (queries (b, n), first class, last class + 1) -> (b, classes), the larger the better.
    """
    if not 1 <= k <= n_classes:
        raise ValueError(f"k lies in [1, {n_classes}], the number of classes; got {k}")
    flat = embeddings.reshape(-1, embeddings.shape[-1])
    values, labels = [], []
    # a block is 2^16 classes at least where the budget allows: their vectors are made or read once for many queries
    for queries in flat.split(max(1, SCORE_ELEMENTS // min(n_classes, 2**16))):
        best = queries.new_zeros(len(queries), 0, dtype=torch.float32)
        best_labels = torch.zeros(len(queries), 0, dtype=torch.int64, device=flat.device)
        block = max(k, SCORE_ELEMENTS // max(1, len(queries)))
        for start in range(0, n_classes, block):
            stop = min(start + block, n_classes)
            top, place = scores(queries, start, stop).float().topk(min(k, stop - start), dim=1)
            best, best_labels = best_of(best, best_labels, top, place + start, k)
        values.append(best)
        labels.append(best_labels)
    shape = (*embeddings.shape[:-1], k)
    return torch.cat(values or [flat.new_zeros(0, k)]).reshape(shape), torch.cat(
        labels or [torch.zeros(0, k, dtype=torch.int64, device=flat.device)]
    ).reshape(shape)
