"""Vectors from label names: a class keeps its vector whatever other classes there are and however they are sorted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from rootspace.assign.base import check_room
from rootspace.assign.codes import encode
from rootspace.assign.free import keys_of
from rootspace.assign.table import TableAssignment
from rootspace.errors import InputError
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX


def by_name(
    system: VectorSystem, names: Sequence[str], key: int = 0, keep: TableAssignment | None = None
) -> TableAssignment:
    """Give each label name the vector its hash points at.

    The same names get the same vectors in any order. Where hashes of two names meet, the name whose digest is
    smaller keeps the vector and the other is hashed again. keep: an assignment of the first names over the same
    system, whatever it was made by: these keep their vectors, and those that follow get others. Raises `InputError`
    for duplicate names or more names than vectors.

    >>> from rootspace.systems import V
    >>> a, b = by_name(V(8, 2, 2), ["cat", "dog"]), by_name(V(8, 2, 2), ["dog", "cat"])
    >>> bool((a.vectors(torch.tensor(0)) == b.vectors(torch.tensor(1))).all())
    True
    """
    if len(set(names)) < len(names):
        seen: set[str] = set()
        double = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"label names must be different: {double!r} occurs twice")
    check_room(system, len(names))
    if keep is not None and (keep.system != system or keep.n_classes > len(names)):
        raise InputError(
            f"names: expected the {keep.n_classes:,} of the assignment to keep, over {keep.system.spec}, and more; "
            f"got {len(names):,} over {system.spec}"
        )
    kept = torch.zeros(0, system.dim) if keep is None else keep.vectors(torch.arange(keep.n_classes)).cpu()
    names = names[len(kept) :]
    used, taken = keys_of(encode(system, kept)), set[int]()
    while True:
        index = _places(names, key, system.size, taken)
        vectors = vectors_at(system, index)
        lost = torch.isin(keys_of(encode(system, vectors)), used)
        if not bool(lost.any()):
            return TableAssignment(system, torch.cat([kept, vectors]))
        taken.update(index[i] for i in lost.nonzero()[:, 0].tolist())


def _places(names: Sequence[str], key: int, size: int, taken: set[int]) -> list[int]:
    """For each name the first number its hashes give that is not taken, names with smaller digests first."""
    taken = set(taken)
    index = [0] * len(names)
    for i in sorted(range(len(names)), key=lambda i: _digest(names[i], key, 0)):
        attempt = 0
        while (place := _digest(names[i], key, attempt) % size) in taken:
            attempt += 1
        taken.add(place)
        index[i] = place
    return index


def _digest(name: str, key: int, attempt: int) -> int:
    return int.from_bytes(hashlib.sha512(f"rootspace names 1:{key}:{attempt}:{name}".encode()).digest(), "big")


def vectors_at(system: VectorSystem, index: list[int]) -> Tensor:
    """The vectors with the given indices, which may exceed int64: -> float32 (len(index), n)."""
    if system.size <= INT64_MAX:
        return system.unrank(torch.tensor(index, dtype=torch.int64), torch.float32)
    rows = [[float(value) for value in system.unrank_exact(i)] for i in index]
    return torch.tensor(rows).reshape(len(rows), system.dim)
