"""What the losses share: the door, precision under autocast, and the mean over a batch that may be empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: Under `torch.compile` a loss runs as it is beside the compiled encoder: its exact integers (sizes, keys, levels)
#: cannot be traced, and its tensor work is small.
run_eagerly = torch.compiler.disable


def check_batch(embeddings: Tensor, labels: Tensor, dim: int) -> None:
    """Raise `ValueError` unless embeddings are (B, dim) and labels (B,)."""
    if embeddings.ndim != 2 or embeddings.shape[1] != dim or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"a loss takes embeddings (B, {dim}) and labels (B,), "
            f"got {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )


@contextmanager
def full_precision(x: Tensor) -> Iterator[Tensor]:
    """Switch autocast off and give x in float32 (or float64): logits up to 100 are too coarse in 16 bits."""
    with torch.autocast(device_type=x.device.type, enabled=False):
        yield x.to(torch.promote_types(x.dtype, torch.float32))


def batch_mean(losses: Tensor) -> Tensor:
    """The mean over a batch, (B,) -> scalar; 0 with a gradient of 0 for an empty one."""
    return losses.sum() / max(1, losses.shape[0])
