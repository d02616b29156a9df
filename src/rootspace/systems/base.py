"""`VectorSystem`: a finite set of vectors of one norm, defined by a few exact numbers.

A family implements the hooks named at the end of the class on flat batches, shape (B, n); everything public
is derived here: it checks its input, flattens the leading dimensions, and restores them. Data-dependent checks
(values in range, no NaN) run on CPU tensors only: on an accelerator they would wait for the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from math import log2, prod, sqrt
from typing import Any

import torch
from torch import Tensor

#: Largest index a tensor can hold.
INT64_MAX = 2**63 - 1

#: `all()` refuses to build more bytes than this.
ALL_LIMIT_BYTES = 2**30

#: Very many vectors are looked through in parts of so many numbers, which a processor's caches hold.
PART_ELEMENTS = 2**18


class VectorSystem(ABC):
    """A finite set of vectors of R^n that all have one norm, with exact counting, indexing and decoding.

    Instances are immutable, hashable and hold no tensors; device and dtype follow the input of each method.
    Methods accept any leading dimensions, empty ones included.

    An index is an int64 in [0, size). Systems too large for that raise `OverflowError` from the methods that
    speak of indices; `nearest`, `nearest_k`, `sample_vectors`, `rank_exact` and `unrank_exact` work at any size.
    """

    # ------------------------------------------------------------------ exact scalars

    @property
    @abstractmethod
    def dim(self) -> int:
        """n: the number of coordinates."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of vectors, exact at any size."""

    @property
    @abstractmethod
    def squared_norm(self) -> Fraction:
        """The squared Euclidean norm all vectors share."""

    @property
    @abstractmethod
    def spec(self) -> str:
        """The string from which `parse` builds an equal system."""

    @property
    @abstractmethod
    def max_cosine(self) -> float:
        """The largest cosine between two different vectors."""

    @property
    @abstractmethod
    def mcs(self) -> float:
        """The largest |cosine| between two vectors that are neither equal nor opposite.

        The separation measure of arXiv 2512.07509. It is 0.0 where no such pair exists.
        """

    @property
    @abstractmethod
    def alphabet(self) -> tuple[Fraction, ...]:
        """The values a coordinate can take, in descending order."""

    @abstractmethod
    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        """How many vectors lie at each cosine from a vector of the system, averaged over the system.

        Every vector sees the same counts in a symmetric system, which orbits and their products are. The
        counts include the vector itself, at cosine 1, and sum to `size`. Keys descend.
        """

    @property
    def norm(self) -> float:
        """The Euclidean norm all vectors share."""
        return sqrt(self.squared_norm)

    @property
    def bits(self) -> float:
        """log2 of the size: what it takes to name one vector, in bits."""
        return log2(self.size)

    @property
    def has_log_partition(self) -> bool:
        """Whether `log_partition` and `sample` are to be had exactly; where not, they raise and name what to use."""
        return True

    def centroid(self) -> tuple[Fraction, ...]:
        """The mean of all vectors, exact, shape (n,)."""
        return self._centroid()

    # ------------------------------------------------------------------ indices and vectors

    def unrank(self, index: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The vectors with the given indices: int64 (...) -> (..., n).

        Raises `IndexError` for an index outside [0, size), `TypeError` for a tensor that is not integer.
        """
        self._require_int64()
        if index.dtype.is_floating_point or index.dtype in (torch.bool, torch.complex64, torch.complex128):
            raise TypeError(f"an index is an integer tensor, got {index.dtype}")
        index = index.long()
        if _checkable(index) and index.numel() and (int(index.min()) < 0 or int(index.max()) >= self.size):
            raise IndexError(
                f"indices of {self.spec} lie in [0, {self.size}), got {int(index.min())} .. {int(index.max())}"
            )
        vectors = self._unrank(index.reshape(-1), dtype or torch.get_default_dtype())
        return vectors.reshape(*index.shape, self.dim)

    def rank(self, vectors: Tensor) -> Tensor:
        """The indices of vectors of the system: (..., n) -> int64 (...), the inverse of `unrank`.

        Raises `ValueError` if a vector is not in the system (see `contains`; use `decode` for an embedding).
        """
        self._require_int64()
        self._check_last_dim(vectors)
        flat = vectors.reshape(-1, self.dim)
        if _checkable(flat) and not bool(self._contains(flat).all()):
            raise ValueError(f"rank takes vectors of {self.spec}; for the nearest one use decode")
        return self._rank(flat).reshape(vectors.shape[:-1])

    def contains(self, vectors: Tensor) -> Tensor:
        """Whether each vector belongs to the system: (..., n) -> bool (...), to the dtype's accuracy."""
        self._check_last_dim(vectors)
        flat = vectors.reshape(-1, self.dim)
        if flat.numel() <= PART_ELEMENTS:
            return self._contains(flat).reshape(vectors.shape[:-1])
        parts = [self._contains(part) for part in flat.split(max(1, PART_ELEMENTS // self.dim))]
        return torch.cat(parts).reshape(vectors.shape[:-1])

    def rank_exact(self, vector: Sequence[Any]) -> int:
        """The index of one vector as a Python integer, at any size; raises `ValueError` if it is not a member."""
        values = {float(value): value for value in self.alphabet}
        try:
            word = tuple(values[float(value)] for value in vector)
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is not a coordinate of {self.spec}") from None
        if len(word) != self.dim:
            raise ValueError(f"vectors of {self.spec} have {self.dim} coordinates, got {len(word)}")
        return self._rank_exact(word)

    def unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        """The vector with a given index, as exact numbers, at any size; the inverse of `rank_exact`."""
        if not 0 <= index < self.size:
            raise IndexError(f"indices of {self.spec} lie in [0, {self.size}), got {index}")
        return self._unrank_exact(index)

    def all(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Tensor:
        """Every vector, (size, n), in the order of the indices.

        Raises `MemoryError` above `ALL_LIMIT_BYTES`: no operation of the package needs the table.
        """
        dtype = dtype or torch.get_default_dtype()
        needed = self.size * self.dim * dtype.itemsize
        if needed > ALL_LIMIT_BYTES:
            raise MemoryError(
                f"all vectors of {self.spec} take {needed:,} bytes, the limit is {ALL_LIMIT_BYTES:,}: "
                "use unrank for the ones you need, decode or topk to search, log_partition to sum over all"
            )
        return self.unrank(torch.arange(self.size, device=device), dtype)

    # ------------------------------------------------------------------ nearest vectors

    def nearest(self, x: Tensor) -> Tensor:
        """A vector of the system with the largest inner product with x: (..., n) -> (..., n), at any size.

        All vectors have one norm, so this is also the nearest in angle and in distance. Among equally near
        vectors the choice is deterministic: the earlier coordinate gets the larger value.
        """
        flat = self._flat_embedding(x)
        with _without_autocast(x):
            return self._nearest(flat).reshape(x.shape).to(x.dtype)

    def decode(self, x: Tensor) -> Tensor:
        """The index of the vector `nearest` finds: (..., n) -> int64 (...)."""
        self._require_int64()
        flat = self._flat_embedding(x)
        with _without_autocast(x):
            return self._rank(self._nearest(flat)).reshape(x.shape[:-1])

    def nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k vectors with the largest inner products: (..., n) -> values (..., k) descending, vectors (..., k, n).

        Exact, at any size. Among equal values the choice is deterministic but otherwise free.
        Raises `ValueError` unless 1 <= k <= size, `NotImplementedError` for a signed orbit of too many levels.
        """
        if not 1 <= k <= self.size:
            raise ValueError(f"k lies in [1, {self.size}] for {self.spec}, got {k}")
        flat = self._flat_embedding(x)
        with _without_autocast(x):
            values, vectors = self._nearest_k(flat, k)
        shape = x.shape[:-1]
        return values.reshape(*shape, k), vectors.reshape(*shape, k, self.dim).to(x.dtype)

    def topk(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k largest inner products and their indices: (..., n) -> values (..., k), int64 (..., k)."""
        self._require_int64()
        values, vectors = self.nearest_k(x, k)
        return values, self._rank(vectors.reshape(-1, self.dim)).reshape(values.shape)

    # ------------------------------------------------------------------ the softmax over the whole system

    def log_partition(self, z: Tensor, without: Tensor | None = None) -> Tensor:
        """log of the sum over all vectors v of exp<z, v>: (..., n) -> (...).

        Differentiable; the gradient is the mean vector of the softmax over the whole system. Computed in
        float32 at least, under autocast too. `without` (..., n) names one vector of the system for each row
        that is left out of the sum, which is then exact however much of the sum that vector was.
        """
        flat = self._flat_embedding(z)
        with _without_autocast(z):
            if without is None:
                return self._log_partition(flat).reshape(z.shape[:-1])
            if without.shape != z.shape:
                raise ValueError(
                    f"`without` needs one vector for each row, {tuple(z.shape)}; got {tuple(without.shape)}"
                )
            excluded = without.detach().reshape(flat.shape).to(flat.dtype)
            if _checkable(excluded) and not bool(self._contains(excluded).all()):
                raise ValueError(f"`without` takes vectors of {self.spec}")
            return self._log_partition_without(flat, excluded).reshape(z.shape[:-1])

    def sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """k independent draws from the softmax with logits <z, v>: (..., n) -> (..., k, n), at any size."""
        if k < 0:
            raise ValueError(f"k is a number of draws, got {k}")
        flat = self._flat_embedding(z)
        with torch.no_grad(), _without_autocast(z):
            return self._sample_vectors(flat, k, generator).reshape(*z.shape[:-1], k, self.dim).to(z.dtype)

    def sample(self, z: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """The indices of k draws from the softmax with logits <z, v>: (..., n) -> int64 (..., k)."""
        self._require_int64()
        vectors = self.sample_vectors(z, k, generator)
        return self._rank(vectors.reshape(-1, self.dim)).reshape(vectors.shape[:-1])

    def random(
        self,
        k: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """k independent vectors, each of the system equally likely: -> (k, n), at any size."""
        if k < 0:
            raise ValueError(f"k is a number of draws, got {k}")
        dtype = dtype or torch.get_default_dtype()
        like = torch.zeros(0, dtype=torch.promote_types(dtype, torch.float32), device=device)
        with torch.no_grad(), _without_autocast(like):
            return self._random(k, generator, like).to(dtype)

    # ------------------------------------------------------------------ hooks of a family, on flat batches

    @abstractmethod
    def _centroid(self) -> tuple[Fraction, ...]: ...

    @abstractmethod
    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        """(B,) -> (B, n), indices in range."""

    @abstractmethod
    def _rank(self, vectors: Tensor) -> Tensor:
        """(B, n) members -> (B,)."""

    @abstractmethod
    def _contains(self, vectors: Tensor) -> Tensor:
        """(B, n) -> bool (B,)."""

    @abstractmethod
    def _rank_exact(self, word: tuple[Fraction, ...]) -> int: ...

    @abstractmethod
    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]: ...

    @abstractmethod
    def _nearest(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""

    @abstractmethod
    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(B, n) -> (B, k) descending, (B, k, n)."""

    @abstractmethod
    def _log_partition(self, z: Tensor) -> Tensor:
        """(B, n) float32 or float64 -> (B,)."""

    @abstractmethod
    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        """(B, n) float32 or float64, members (B, n) -> (B,)."""

    @abstractmethod
    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        """(B, n) -> (B, k, n)."""

    def _random(self, k: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
        """-> (k, n) of the dtype and device of `like`; override where it needs no `_sample_vectors`."""
        return self._sample_vectors(like.new_zeros(1, self.dim), k, generator)[0]

    # ------------------------------------------------------------------ checks at the door

    def _require_int64(self) -> None:
        if self.size > INT64_MAX:
            raise OverflowError(
                f"{self.spec} has {self.size} vectors, more than an int64 index can name: use nearest, nearest_k "
                "and sample_vectors in place of decode, topk and sample, and rank_exact or unrank_exact for indices"
            )

    def _check_last_dim(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(f"{self.spec} takes tensors of shape (..., {self.dim}), got {tuple(x.shape)}")

    def _flat_embedding(self, x: Tensor) -> Tensor:
        """Check an embedding and return it as (B, n) in float32, or in float64 if it came so."""
        self._check_last_dim(x)
        if not x.dtype.is_floating_point:
            raise TypeError(f"an embedding is a floating-point tensor, got {x.dtype}")
        if _checkable(x) and not bool(torch.isfinite(x).all()):
            raise ValueError("an embedding holds NaN or infinity")
        return x.reshape(prod(x.shape[:-1]), self.dim).to(torch.promote_types(x.dtype, torch.float32))


def _without_autocast(x: Tensor) -> torch.autocast:
    """Sums and searches are exact in float32 only: autocast would do their products in 16 bits."""
    return torch.autocast(device_type=x.device.type, enabled=False)


def _checkable(x: Tensor) -> bool:
    """Whether looking at the values of x costs no wait for a device and breaks no compiled graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
