"""The classes nearest to each class: the rivals a softmax must not leave out."""

from __future__ import annotations

import torch
from torch import Tensor

from rootspace.assign.base import Assignment

#: Classes whose neighbours are looked up at a time.
BLOCK = 256


def neighbours(assignment: Assignment, k: int) -> Tensor:
    """For each class the k other classes whose vectors are nearest to its own: int64 (n_classes, k), nearest first.

    Exact, a block of classes at a time: n_classes^2 products of length n, and no (n_classes x n_classes) matrix.
    With k or fewer other classes, all of them. Vectors that are still moving are taken as they are.
    """
    device = next((buffer.device for buffer in assignment.buffers()), torch.device("cpu"))
    n_classes = assignment.n_classes
    k = min(k, n_classes - 1)
    found = torch.empty(n_classes, k, dtype=torch.int64, device=device)
    for start in range(0, n_classes if k else 0, BLOCK):
        ids = torch.arange(start, min(start + BLOCK, n_classes), device=device)
        # one more, because the nearest of all is the class itself
        _, nearest = assignment.nearest(assignment.vectors(ids), k + 1)
        others = (nearest != ids[:, None]).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :k]
        found[ids] = nearest.gather(1, others)
    return found
