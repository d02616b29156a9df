"""A vector system of its own, as an example for docs/adding-a-system.md: the rows of a Hadamard matrix, and their
opposites. Any two vectors that are not opposite are orthogonal, and every coordinate is 1 or -1.

The geometry is that of weight(n, 1) turned in space; what is new is that all coordinates carry the class, and that
every operation is one fast Walsh-Hadamard transform, O(n log n), in place of a product with 2n vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import log2

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rootspace.systems import VectorSystem


@dataclass(frozen=True)
class Hadamard(VectorSystem):
    """The 2n vectors (-1)^s (row i of the Sylvester matrix of order n = 2^m); the index is 2 i + s.

    >>> Hadamard(3).size, Hadamard(3).dim, Hadamard(3).max_cosine
    (16, 8, 0.0)
    """

    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.m <= 20:
            raise ValueError(f"Hadamard(m) has 2^m dimensions, for m from 1 to 20; got {self.m}")

    # exact scalars

    @property
    def dim(self) -> int:
        return 2**self.m

    @property
    def size(self) -> int:
        return 2 * self.dim

    @property
    def squared_norm(self) -> Fraction:
        return Fraction(self.dim)

    @property
    def spec(self) -> str:
        return f"hadamard:{self.dim}"

    @property
    def max_cosine(self) -> float:
        return 0.0

    @property
    def mcs(self) -> float:
        return 0.0

    @property
    def alphabet(self) -> tuple[Fraction, ...]:
        return Fraction(1), Fraction(-1)

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return {Fraction(1): Fraction(1), Fraction(0): Fraction(self.size - 2), Fraction(-1): Fraction(1)}

    def _centroid(self) -> tuple[Fraction, ...]:
        return (Fraction(0),) * self.dim

    # indices: bit j of row i and of column c meet in the sign (-1)^(number of bits that both have)

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        rows = torch.zeros(len(index), self.dim, dtype=dtype, device=index.device)
        rows.scatter_(1, (index // 2)[:, None], 1)
        return _transform(rows) * (1 - 2 * (index % 2)[:, None]).to(dtype)

    def _rank(self, vectors: Tensor) -> Tensor:
        products = _transform(vectors)
        row = products.abs().argmax(1)
        return 2 * row + (products.gather(1, row[:, None])[:, 0] < 0)

    def _contains(self, vectors: Tensor) -> Tensor:
        signs = (vectors.abs() == 1).all(1)
        return signs & (_transform(vectors).abs().amax(1) == self.dim)

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        row = torch.tensor([[float(value) for value in word]], dtype=torch.float64)
        if not bool(self._contains(row)):
            raise ValueError(f"not a vector of {self.spec}")
        return int(self._rank(row))

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(Fraction(int(value)) for value in self._unrank(torch.tensor([index]), torch.float64)[0])

    # searching and summing: one transform gives the inner products with all rows

    def _nearest(self, x: Tensor) -> Tensor:
        return self._unrank(self._rank(x), x.dtype)

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, index = self._products(x).topk(k, dim=1)
        return values, self._unrank(index.reshape(-1), x.dtype).reshape(len(x), k, self.dim)

    def _log_partition(self, z: Tensor) -> Tensor:
        # e^y + e^-y = e^|y| (1 + e^-2|y|)
        products = _transform(z).abs()
        return torch.logsumexp(products + softplus(-2 * products), dim=1)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        own = self._rank(excluded)[:, None]
        return torch.logsumexp(self._products(z).scatter(1, own, float("-inf")), dim=1)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        if not (len(z) and k):
            return z.new_empty(len(z), k, self.dim)
        weights = torch.softmax(self._products(z), dim=1)
        index = torch.multinomial(weights, k, replacement=True, generator=generator)
        return self._unrank(index.reshape(-1), z.dtype).reshape(len(z), k, self.dim)

    def _products(self, x: Tensor) -> Tensor:
        """The inner products with all vectors, in the order of their indices: (B, n) -> (B, 2n)."""
        rows = _transform(x)
        return torch.stack([rows, -rows], dim=2).reshape(len(x), self.size)


def _transform(x: Tensor) -> Tensor:
    """The fast Walsh-Hadamard transform: (B, n) -> (B, n), the product with the symmetric Sylvester matrix."""
    n, half = x.shape[1], 1
    for _ in range(round(log2(n))):
        pairs = x.reshape(len(x), n // (2 * half), 2, half)
        x = torch.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], dim=2).reshape(len(x), n)
        half *= 2
    return x
