"""A system given as an explicit list of vectors: for systems without structure, and as the tests' oracle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from rootspace.systems.listed import Listed


class Table(Listed):
    """Any (N, n) vectors of one norm. Everything is brute force: cost and memory grow with N.

    The index of a vector is its row. Equal tables compare equal. A table has no spec that `parse` could read:
    it is stored as a tensor.

    Raises `ValueError` unless the rows are finite, different, non-zero, and of one norm (to 1e-4 relative).

    >>> Table([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]).max_cosine
    0.0
    """

    def __init__(self, vectors: Tensor | Iterable[Iterable[float]]) -> None:
        table = torch.as_tensor(vectors if isinstance(vectors, Tensor) else [list(row) for row in vectors])
        table = table.detach().to("cpu", torch.float64).clone()
        if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 1:
            raise ValueError(f"a table of vectors has shape (N >= 2, n >= 1), got {tuple(table.shape)}")
        if not bool(torch.isfinite(table).all()):
            raise ValueError("a table of vectors holds NaN or infinity")
        norms = table.norm(dim=1)
        if float(norms.min()) == 0 or float(norms.max() - norms.min()) > 1e-4 * float(norms.max()):
            raise ValueError(f"all vectors need one norm, got {float(norms.min()):g} .. {float(norms.max()):g}")
        if torch.unique(table, dim=0).shape[0] != table.shape[0]:
            raise ValueError("the vectors of a table must be different")
        self._rows = table
        self._digest = hashlib.sha256(table.numpy().tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"Table({self.size} vectors of dimension {self.dim}, sha256 {self._digest[:12]})"

    @property
    def vectors(self) -> Tensor:
        """The rows as given, float64 (N, n)."""
        return self._rows.clone()

    @property
    def _table(self) -> Tensor:
        return self._rows

    @property
    def spec(self) -> str:
        return f"table:{self._digest[:16]}"
