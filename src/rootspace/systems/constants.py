"""Small constant tensors, made once for each device: a copy in every call would make an accelerator wait."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps

import torch
from torch import Tensor


def kept_per_device(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let `make(*arguments)`, which gives a CPU tensor, be called as `make(device, *arguments)` and remembered.

    >>> @kept_per_device
    ... def ones(n):
    ...     return torch.ones(n)
    >>> ones(torch.device("cpu"), 2) is ones(torch.device("cpu"), 2)
    True
    """

    @lru_cache(maxsize=256)
    def kept(device: torch.device, *arguments: Hashable) -> Tensor:
        # a tensor first made in inference mode could not be used in training later
        with torch.inference_mode(False):
            return make(*arguments).to(device)

    @wraps(make)
    def get(device: torch.device, *arguments: Hashable) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*arguments).to(device)
        return kept(device, *arguments)

    return get


@kept_per_device
def values_of(values: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    """Numbers as a tensor (len(values),); called as values_of(device, values, dtype)."""
    return torch.tensor(values, dtype=dtype)
