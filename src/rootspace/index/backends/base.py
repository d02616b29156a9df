"""`Backend`: what is asked of a library that stores unit vectors under int64 ids and finds the nearest ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rootspace.errors import InputError


@dataclass(frozen=True)
class Payload:
    """What is kept of each item beside its vector: where it comes from, and its label ("" for none)."""

    paths: Sequence[str]
    labels: Sequence[str]


class Backend(ABC):
    """Vectors with ids in one library's storage, in a folder of its own.

    Vectors and queries are float32 (N, n) of norm 1; what a number takes in storage is the `dtype`. Ids given to
    `add` are new, and ids given to `delete` are there: the index sees to both. What `add` and `delete` did is on
    disk once `save` has returned; a process that stops before leaves the ids it had, or some of the new ones with them.
    """

    name: ClassVar[str]
    #: What a number can be stored as.
    dtypes: ClassVar[tuple[str, ...]]
    #: Whether opening compares checksums of its own; the index keeps those of the files of the others.
    verifies: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, folder: Path, dim: int, dtype: str, writing: bool, settings: Mapping[str, Any]) -> None:
        """Open what is in `folder`, or start anew where it is empty and `writing`."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many vectors there are."""

    @abstractmethod
    def ids(self) -> np.ndarray:
        """The ids there are, int64 (count,), in any order."""

    @abstractmethod
    def add(self, ids: np.ndarray, vectors: np.ndarray, payload: Payload) -> None:
        """Store vectors (N, n) under ids (N,)."""

    @abstractmethod
    def delete(self, ids: np.ndarray) -> None:
        """Drop the vectors with these ids."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, probes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest: (Q, n) -> cosines float32 (Q, k) descending, ids int64 (Q, k), -1 where there is no more.

        probes: how many cells to look into, where the backend has cells.
        """

    def facts(self) -> dict[str, Any]:
        """What there is to say about this storage alone, as JSON values."""
        return {}

    def save(self) -> None:  # noqa: B027
        """Put on disk what was added and deleted; nothing to do where that happens at once."""

    def compact(self) -> None:  # noqa: B027
        """Give back the room of deleted vectors, and bring what was added piece by piece together."""

    def close(self) -> None:  # noqa: B027
        """Let go of files and locks."""


def pack_signs(vectors: np.ndarray) -> np.ndarray:
    """Which coordinates are positive, as bits: (N, n) -> uint8 (N, ceil(n / 8))."""
    return np.packbits(vectors > 0, axis=1)


def cosine_of_hamming(distance: np.ndarray, dim: int) -> np.ndarray:
    """The cosine that so many different signs speak of: cos(pi h / n), exact on average for random directions.

    M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.

    >>> cosine_of_hamming(np.array([0, 2, 8]), 8).round(3).tolist()
    [1.0, 0.7070000171661377, -1.0]
    """
    return np.cos(np.pi * np.asarray(distance, dtype=np.float32) / dim).astype(np.float32)


def padded(values: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(Q, m) brought to (Q, k), cosine -1 and id -1 where there is no more, and to [-1, 1] where rounding left it."""
    missing = ((0, 0), (0, max(0, k - ids.shape[1])))
    return (
        np.pad(values.astype(np.float32).clip(-1, 1), missing, constant_values=-1)[:, :k],
        np.pad(ids.astype(np.int64), missing, constant_values=-1)[:, :k],
    )


def no_probes(name: str, probes: int | None) -> None:
    """Raise `InputError` where probes are asked of a backend without cells."""
    if probes is not None:
        raise InputError(f"probes: the backend {name} has no cells to probe; leave it out, or build with 'system'")
