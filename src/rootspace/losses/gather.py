"""What the processes of one training see of each other's batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def gathered(values: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks, (B, ...) -> (processes B, ...), without gradient.

    Every process must call this with the same shape. Without `torch.distributed` they are the values themselves.

    >>> gathered(torch.tensor([3, 1]))
    tensor([3, 1])
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return values
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.detach().contiguous())
    return torch.cat(parts)
