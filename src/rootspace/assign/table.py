"""An assignment stored as a compact table: a code of a few bits for each coordinate of each class's vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rootspace.assign.base import Assignment
from rootspace.errors import InputError
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX


class TableAssignment(Assignment):
    """Class c has the vector given in row c.

    In memory a vector takes one byte a coordinate; in a file as few bits as name its values (2 for systems of
    1, 0 and -1). Systems whose coordinates take more than 256 values are stored as indices instead.

    Raises `InputError` unless the rows are different vectors of the system.
    """

    codes: Tensor
    letters: Tensor

    def __init__(self, system: VectorSystem, vectors: Tensor) -> None:
        super().__init__(system, len(vectors))
        self.register_buffer("letters", torch.tensor([float(v) for v in system.alphabet]), persistent=False)
        self.register_buffer("codes", self._checked_codes(vectors))

    def _checked_codes(self, vectors: Tensor) -> Tensor:
        if vectors.ndim != 2 or vectors.shape[1] != self.system.dim:
            raise InputError(f"class vectors have shape (n_classes, {self.system.dim}), got {tuple(vectors.shape)}")
        if not bool(self.system.contains(vectors).all()):
            raise InputError(f"some class vectors are not in {self.system.spec}")
        codes = encode(self.system, vectors)
        if len(torch.unique(codes, dim=0)) < len(codes):
            raise InputError("two classes have the same vector")
        return codes

    def replace(self, vectors: Tensor) -> None:
        """Give every class a new vector, in place: (n_classes, n)."""
        if len(vectors) != self.n_classes:
            raise InputError(f"expected vectors for {self.n_classes} classes, got {len(vectors)}")
        self.codes.copy_(self._checked_codes(vectors))

    def _vectors(self, labels: Tensor) -> Tensor:
        return decode(self.system, self.codes[labels], self.letters)

    def save(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config = {"kind": "table", "system": self.system.spec, "n_classes": self.n_classes}
        codes = self.codes.cpu()
        return config, {"codes": codes if codes.ndim == 1 else pack(codes, _bits(self.system))}

    @classmethod
    def from_saved(cls, system: VectorSystem, n_classes: int, packed: Tensor) -> TableAssignment:
        """Rebuild from what `save` gave; raises `InputError` if it does not describe vectors of the system."""
        letters = torch.tensor([float(value) for value in system.alphabet])
        if stored_as_index(system):
            if packed.shape != (n_classes,) or bool(((packed < 0) | (packed >= system.size)).any()):
                raise InputError("the assignment table holds indices out of range")
            return cls(system, decode(system, packed, letters))
        width = -(-system.dim * _bits(system) // 8)
        if packed.dtype != torch.uint8 or packed.shape != (n_classes, width):
            raise InputError(
                f"the assignment table should have shape ({n_classes}, {width}) and dtype uint8, "
                f"got {tuple(packed.shape)} and {packed.dtype}"
            )
        codes = unpack(packed, _bits(system), system.dim)
        if bool((codes >= len(letters)).any()):
            raise InputError(f"the assignment table holds codes that {system.spec} does not have")
        return cls(system, decode(system, codes, letters))


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


def _bits(system: VectorSystem) -> int:
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
