"""Random numbers that are a function of a key and a place, so that nothing random is stored.

splitmix64 (Steele, Lea and Flood, OOPSLA 2014), whose output is a bijection of a counter, in int64 tensors: the
same bits on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def uniform(index: Tensor, n: int, key: int) -> Tensor:
    """n numbers uniform in [-1, 1) for each index: int64 (B,) -> float64 (B, n), a function of index and key.

    >>> bool((uniform(torch.tensor([5]), 3, key=1) == uniform(torch.tensor([4, 5]), 3, key=1)[1]).all())
    True
    """
    rows = _mix(index + _mix(torch.tensor(key % 2**63, device=index.device)))
    columns = torch.arange(1, n + 1, device=index.device)
    bits = _mix(rows[:, None] + _GOLDEN * columns)
    return (bits >> 11).double() / 2**52  # 53 bits with their sign


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """A shift to the right that brings in zeros, whatever the sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)
