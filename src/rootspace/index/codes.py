"""Unit vectors as stored numbers, and back, a few rows at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rootspace.assign import codes as system_codes
from rootspace.errors import InputError
from rootspace.systems import VectorSystem, graded

DTYPES = ("float32", "float16", "int8", "graded")


def check_dtype(dtype: str, dim: int) -> None:
    """Raise `InputError` unless vectors of `dim` coordinates can be stored so."""
    if dtype not in DTYPES:
        raise InputError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    if dtype == "graded" and (dim < 8 or dim % 2):
        raise InputError(f"dtype: graded needs an even number of at least 8 coordinates, got {dim}; take int8")


def encode(vectors: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Unit vectors float32 (N, n) as named arrays of N rows.

    "codes" (N, n) as float32, float16, or for int8 with "scales" float32 (N,), by which a row is multiplied. "graded":
    "packed" uint8 (N, ceil(3n / 8)), the nearest vector of the system `graded(n)` in 3 bits a coordinate.
    """
    if dtype == "graded":
        system = graded(vectors.shape[1])
        nearest = system.nearest(torch.from_numpy(vectors))
        packed = system_codes.pack(system_codes.encode(system, nearest), system_codes.bits_of(system))
        return {"packed": packed.numpy()}
    if dtype == "int8":
        scales = np.maximum(np.abs(vectors).max(axis=1), np.finfo(np.float32).tiny) / 127
        return {"codes": np.rint(vectors / scales[:, None]).astype(np.int8), "scales": scales.astype(np.float32)}
    return {"codes": vectors.astype(dtype)}


def decode(arrays: Mapping[str, np.ndarray], rows: np.ndarray | slice, dim: int) -> Tensor:
    """The vectors of some rows, float32 (m, n)."""
    # copies, as the arrays may be read-only maps of files
    if "packed" in arrays:
        return _unpacked(graded(dim), arrays["packed"][rows])
    vectors = torch.from_numpy(np.array(arrays["codes"][rows])).float()
    if "scales" in arrays:
        vectors *= torch.from_numpy(np.array(arrays["scales"][rows]))[:, None]
    return vectors


def _unpacked(system: VectorSystem, packed: np.ndarray) -> Tensor:
    """Rows of 3-bit codes as vectors of norm 1, four coordinates at a time: uint8 (m, w) -> float32 (m, n)."""
    triples = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 3))).reshape(len(packed), -1, 3).astype(np.int64)
    high = triples[:, :, 0] << 4 | triples[:, :, 1] >> 4
    low = (triples[:, :, 1] & 15) << 8 | triples[:, :, 2]
    words = torch.from_numpy(np.stack([high, low], axis=2).reshape(-1))
    found = _letters(system).index_select(0, words)
    return found.reshape(len(packed), -1)[:, : system.dim]


@lru_cache(maxsize=8)
def _letters(system: VectorSystem) -> Tensor:
    """The four coordinates that each 12 bits stand for, float32 (4096, 4)."""
    letters = torch.tensor([float(value) for value in system.alphabet]) / system.norm
    return letters[torch.arange(4096)[:, None] >> torch.tensor([9, 6, 3, 0]) & 7]
