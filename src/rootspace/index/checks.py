"""Embeddings and ids at the door."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rootspace.errors import InputError
from rootspace.evaluate.embed import as_tensor, check_finite


def unit_vectors(embeddings: np.ndarray | Tensor, dim: int) -> np.ndarray:
    """Embeddings (N, dim) as float32 of norm 1; `InputError` for another shape, NaN, infinity or a zero vector."""
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        raise InputError(f"embeddings: expected shape (N, {dim}), got {tuple(embeddings.shape)}")
    values = as_tensor(embeddings).cpu().float()
    check_finite(values)
    norms = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    if bool((norms == 0).any()):
        bad = int((norms[:, 0] == 0).nonzero()[0])
        raise InputError(f"embeddings: number {bad} is zero, and has no direction to compare by")
    return np.ascontiguousarray((values / norms).numpy())


def check_ids(ids: np.ndarray) -> np.ndarray:
    """Ids (m,) as int64; `InputError` unless they are different whole numbers of at least 0."""
    ids = np.asarray(ids)
    if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise InputError(f"ids: expected whole numbers (m,), got {ids.dtype} {ids.shape}")
    ids = ids.astype(np.int64)
    if len(ids) and int(ids.min()) < 0:
        raise InputError(f"ids: expected at least 0, got {int(ids.min())}")
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        raise InputError(f"ids: {int(values[counts > 1][0])} is given twice")
    return ids
