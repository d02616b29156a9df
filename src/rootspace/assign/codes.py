"""Vectors of a system in few bits: a code for each coordinate's value, packed tightly in files."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rootspace.errors import InputError
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX


def stored_as_index(system: VectorSystem) -> bool:
    """Whether vectors are stored by index: where a byte cannot name a coordinate's value."""
    return len(system.alphabet) > 256


def encode(system: VectorSystem, vectors: Tensor) -> Tensor:
    """Vectors of a system in compact form: (N, n) -> uint8 (N, n), or int64 (N,) where stored by index."""
    if stored_as_index(system):
        if system.size > INT64_MAX:
            raise InputError(f"{system.spec} has too many vectors and too many coordinate values to store a table")
        return system.rank(vectors)
    ascending = torch.tensor([float(value) for value in reversed(system.alphabet)], device=vectors.device)
    middles = (ascending[1:] + ascending[:-1]) / 2
    places = torch.bucketize(vectors.float().contiguous(), middles)
    return (len(ascending) - 1 - places).to(torch.uint8)


def decode(system: VectorSystem, codes: Tensor, letters: Tensor) -> Tensor:
    """The vectors that `encode` encoded: -> float32 (N, n)."""
    return system._unrank(codes, torch.float32) if stored_as_index(system) else letters[codes.long()]


def bits_of(system: VectorSystem) -> int:
    """Bits that name one coordinate's value in a file."""
    return max(1, (len(system.alphabet) - 1).bit_length())


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes below 2^bits, packed tightly: uint8 (N, n) -> uint8 (N, ceil(n bits / 8)).

    >>> pack(torch.tensor([[1, 0, 2, 1]], dtype=torch.uint8), 2).tolist()
    [[73]]
    """
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint8)
    flags = (codes.numpy()[:, :, None] >> shifts) & 1
    return torch.from_numpy(np.packbits(flags.reshape(len(codes), -1), axis=1))


def unpack(packed: Tensor, bits: int, dim: int) -> Tensor:
    """Undo `pack`: uint8 (N, ceil(dim bits / 8)) -> uint8 (N, dim)."""
    flags = np.unpackbits(packed.numpy(), axis=1, count=dim * bits).reshape(len(packed), dim, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint8)
    return torch.from_numpy((flags * weights).sum(2, dtype=np.uint8))
