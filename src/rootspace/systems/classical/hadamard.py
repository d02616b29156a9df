"""The fast Hadamard transform, and the numbering of its rows by information bits."""

from __future__ import annotations

import torch
from torch import Tensor

from rootspace.systems.constants import kept_per_device


def hadamard(x: Tensor) -> Tensor:
    """The fast Hadamard transform, the product with the symmetric Sylvester matrix: (..., n) -> (..., n)."""
    n, half = x.shape[-1], 1
    shape = x.shape
    while half < n:
        pairs = x.reshape(*shape[:-1], n // (2 * half), 2, half)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        x = torch.stack([first + second, first - second], dim=-2).reshape(shape)
        half *= 2
    return x


@kept_per_device
def hadamard_order(n: int) -> Tensor:
    """The row of the Sylvester matrix for the information bits at coordinates 1, 2, 4, ...: the bits reversed."""
    m = n.bit_length() - 1
    rows = torch.arange(n)
    return sum(((rows >> j & 1) << (m - 1 - j) for j in range(m)), torch.zeros_like(rows))
