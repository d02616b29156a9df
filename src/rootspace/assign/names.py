"""Vectors from label names: a class keeps its vector whatever other classes there are and however they are sorted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from rootspace.assign.table import TableAssignment
from rootspace.errors import InputError
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX


def by_name(system: VectorSystem, names: Sequence[str], key: int = 0) -> TableAssignment:
    """Give each label name the vector its hash points at.

    The same names get the same vectors in any order. Where hashes of two names meet, the name whose digest is
    smaller keeps the vector and the other is hashed again. Raises `InputError` for duplicate names or more
    names than vectors.

    >>> from rootspace.systems import V
    >>> a, b = by_name(V(8, 2, 2), ["cat", "dog"]), by_name(V(8, 2, 2), ["dog", "cat"])
    >>> bool((a.vectors(torch.tensor(0)) == b.vectors(torch.tensor(1))).all())
    True
    """
    if len(set(names)) < len(names):
        seen: set[str] = set()
        double = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"label names must be different: {double!r} occurs twice")
    if len(names) > system.size:
        raise InputError(f"{len(names):,} label names do not fit {system.spec}, which has {system.size:,} vectors")
    order = sorted(range(len(names)), key=lambda i: _digest(names[i], key, 0))
    taken: set[int] = set()
    index = [0] * len(names)
    for i in order:
        attempt = 0
        while (place := _digest(names[i], key, attempt) % system.size) in taken:
            attempt += 1
        taken.add(place)
        index[i] = place
    return TableAssignment(system, vectors_at(system, index))


def _digest(name: str, key: int, attempt: int) -> int:
    return int.from_bytes(hashlib.sha512(f"rootspace names 1:{key}:{attempt}:{name}".encode()).digest(), "big")


def vectors_at(system: VectorSystem, index: list[int]) -> Tensor:
    """The vectors with the given indices, which may exceed int64: -> float32 (len(index), n)."""
    if system.size <= INT64_MAX:
        return system.unrank(torch.tensor(index, dtype=torch.int64), torch.float32)
    rows = [[float(value) for value in system.unrank_exact(i)] for i in index]
    return torch.tensor(rows).reshape(len(rows), system.dim)
