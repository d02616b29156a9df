"""A system whose vectors are moved at random, each by a keyed amount that is recomputed and never stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import acos, asin, cos, sin
from typing import Any

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem
from rootspace.systems.derived.keyed import uniform
from rootspace.systems.table import Table

#: Systems of at most this many vectors may be listed where there is no better way.
LIST_LIMIT = 65_536

#: As many of the nearest unperturbed vectors are looked at to find the nearest perturbed ones.
MOST_CANDIDATES = 4_096


@dataclass(frozen=True)
class Perturbed(VectorSystem):
    """Vector i of `inner`, moved by amount * norm * u_i / sqrt(n) and brought back to the norm.

    u_i is uniform in [-1, 1)^n, a function of key and i. So no vector turns by more than arcsin(amount), which
    must be less than half the smallest angle of the system: the nearest unperturbed vector then names it, and
    the vectors stay distinct.

    What stays exact at any size (of an int64 index): unrank, rank, contains, `nearest_k` and `decode`. A nearest
    vector is found among the k nearest unperturbed ones: with e the farthest a vector moves, one not among them
    scores at most (k-th score) + |x| e. k doubles until that settles it; where it does not by `MOST_CANDIDATES`,
    they raise `NotImplementedError`, unless the system has at most `LIST_LIMIT` vectors and is listed.

    max_cosine, mcs, the spectrum, the alphabet, the centroid, log_partition and sampling have no closed form: they
    list the system up to `LIST_LIMIT` vectors, and raise `NotImplementedError` above, naming what bounds them.

    >>> from rootspace.systems import V
    >>> system = perturbed(V(41, 2, 2), amount=0.1, key=7)
    >>> system.spec, system.size
    ('perturbed(V22:41, 1/10, 7)', 607620)
    >>> index = torch.tensor([0, 99, 607619])
    >>> system.decode(system.unrank(index)).tolist()
    [0, 99, 607619]
    """

    inner: VectorSystem
    amount: Fraction
    key: int

    def __post_init__(self) -> None:
        self.inner._require_int64()
        largest = sin(acos(min(1.0, self.inner.max_cosine)) / 2)
        if not 0 < self.amount < largest:
            raise ValueError(
                f"vectors of {self.inner.spec} stay distinct if they are moved by less than {largest:.6g} of their "
                f"norm (the sine of half the smallest angle); got an amount of {float(self.amount):.6g}"
            )
        if not 0 <= self.key < 2**63:
            raise ValueError(f"a key is an integer in [0, 2^63), got {self.key}")

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def size(self) -> int:
        return self.inner.size

    @property
    def squared_norm(self) -> Fraction:
        return self.inner.squared_norm

    @property
    def spec(self) -> str:
        return f"perturbed({self.inner.spec}, {self.amount}, {self.key})"

    @property
    def moved(self) -> float:
        """The farthest that a vector moves: an upper bound of |perturbed - unperturbed|."""
        return 2 * self.norm * sin(asin(float(self.amount)) / 2)

    @property
    def max_cosine_bound(self) -> float:
        """No two vectors have a larger cosine: cos(smallest angle - 2 arcsin(amount))."""
        return cos(acos(min(1.0, self.inner.max_cosine)) - 2 * asin(float(self.amount)))

    def _listed(self, what: str, instead: str) -> Table:
        if self.size > LIST_LIMIT:
            raise NotImplementedError(
                f"{what} of {self.spec} has no closed form, and {self.size:,} vectors are too many to list "
                f"(at most {LIST_LIMIT:,}): {instead}"
            )
        return _table(self)

    @property
    def max_cosine(self) -> float:
        return self._listed("max_cosine", f"it is at most max_cosine_bound, {self.max_cosine_bound:.6g}").max_cosine

    @property
    def mcs(self) -> float:
        return self._listed("mcs", "unrank a sample and measure it").mcs

    @property
    def alphabet(self) -> tuple[Fraction, ...]:
        return self._listed("the alphabet", "coordinates are arbitrary float64 numbers").alphabet

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return self._listed("the cosine spectrum", "inner.cosine_spectrum() is near").cosine_spectrum()

    def _centroid(self) -> tuple[Fraction, ...]:
        return self._listed("the centroid", "inner.centroid() is near").centroid()

    # indices

    def _move(self, vectors: Tensor, index: Tensor) -> Tensor:
        """float64 (B, n) of the inner system, int64 (B,) -> float64 (B, n)."""
        noise = uniform(index, self.dim, self.key)
        moved = vectors + noise * (float(self.amount) * self.norm / self.dim**0.5)
        return moved * (self.norm / moved.square().sum(1, keepdim=True).sqrt())

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        return self._move(self.inner._unrank(index, torch.float64), index).to(dtype)

    def _rank(self, vectors: Tensor) -> Tensor:
        wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
        return self.inner._rank(self.inner._nearest(wide))

    def _contains(self, vectors: Tensor) -> Tensor:
        near = 8 * torch.finfo(vectors.dtype).eps * self.norm
        own = self._unrank(self._rank(vectors), torch.float64)
        return (own - vectors.double()).square().sum(1).sqrt() <= near

    def rank_exact(self, vector: Sequence[Any]) -> int:
        row = torch.tensor([[float(value) for value in vector]], dtype=torch.float64)
        if row.shape[1] != self.dim or not bool(self._contains(row)):
            raise ValueError(f"not a vector of {self.spec}")
        return int(self._rank(row))

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        return self.rank_exact(word)

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(Fraction(value) for value in self._unrank(torch.tensor([index]), torch.float64)[0].tolist())

    # searching

    def _nearest(self, x: Tensor) -> Tensor:
        return self._nearest_k(x, 1)[1][:, 0]

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, vectors = x.new_empty(len(x), k), x.new_empty(len(x), k, self.dim)
        open_rows, width = torch.arange(len(x), device=x.device), max(16, 2 * k)
        while len(open_rows):
            rows = x[open_rows]
            width = min(width, self.size)
            if width > MOST_CANDIDATES or (width > 256 and self.size <= LIST_LIMIT):
                table = self._listed("the nearest vector", "too many are nearly as near; lower the amount")
                values[open_rows], vectors[open_rows] = table._nearest_k(rows, k)
                break
            scores, candidates = self.inner._nearest_k(rows, width)
            flat = candidates.reshape(-1, self.dim)
            index = self.inner._rank(flat)
            moved = self._move(flat.double(), index).to(x.dtype).reshape(candidates.shape)
            best, order = (moved * rows[:, None]).sum(2).topk(k, dim=1)
            # a vector that is no candidate scores at most the last candidate's score and what it gains by moving
            reach = scores[:, -1] + rows.norm(dim=1) * self.moved
            done = best[:, -1] >= reach if width < self.size else torch.ones_like(open_rows, dtype=torch.bool)
            values[open_rows[done]] = best[done]
            vectors[open_rows[done]] = moved.gather(1, order[..., None].expand(-1, -1, self.dim))[done]
            open_rows, width = open_rows[~done], 2 * width
        return values, vectors

    # the softmax

    @cached_property
    def _bound_text(self) -> str:
        return f"inner.log_partition(z) is within {self.moved:.6g} |z| of it"

    @property
    def has_log_partition(self) -> bool:
        return self.size <= LIST_LIMIT

    def _log_partition(self, z: Tensor) -> Tensor:
        return self._listed("log_partition", self._bound_text)._log_partition(z)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        return self._listed("log_partition", self._bound_text)._log_partition_without(z, excluded)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        table = self._listed("a sample", "unrank(inner.sample(z, k)) is near")
        return table._sample_vectors(z, k, generator)


@lru_cache(maxsize=4)
def _table(system: Perturbed) -> Table:
    return Table(system.all(torch.float64))


def perturbed(system: VectorSystem, amount: float | Fraction, key: int = 0) -> VectorSystem:
    """Every vector of a system moved at random by at most `amount` of the norm, by a function of key and index.

    A float amount is read as the decimal number it is printed as. Raises `ValueError` where the amount is so
    large that vectors could meet, `OverflowError` for a system without int64 indices. See `Perturbed`.
    """
    return Perturbed(system, Fraction(str(amount)), key)
