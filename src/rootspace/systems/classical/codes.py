"""A vector of signs for every word of a binary linear code: bit 0 is 1, bit 1 is -1.

Two words at Hamming distance w meet at the cosine 1 - 2 w / n, so a code of minimum distance d gives 2^k vectors in
n dimensions at max cosine 1 - 2 d / n, and its weight enumerator is the cosine spectrum (Conway & Sloane, *Sphere
Packings, Lattices and Groups*, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rootspace.systems.classical import code_trellis
from rootspace.systems.classical.hadamard import hadamard, hadamard_order
from rootspace.systems.classical.linear_code import (
    LinearCode,
    extended_bch_code,
    generator_bits,
    golay_code,
    reed_muller_code,
    sign_table,
)
from rootspace.systems.classical.scored import Scored, by_rows, in_full_precision
from rootspace.systems.constants import kept_per_device

#: Lists of words up to this many numbers are always used, longer ones where the trellis is no smaller.
SHORT_LIST, LONG_LIST = 2**17, 2**24

#: log2 of the number of states up to which the trellis is used.
STATE_BITS = 16


@dataclass(frozen=True)
class CodeVectors(Scored):
    """The 2^k sign vectors of an [n, k] code; the index of a vector is its information bits, the first one highest.

    The information bits are the coordinates `code.pivots`; so indices follow the lexicographic order of the words.
    Nearest vectors, log-partition and sampling take the cheapest of three exact ways, `method`:

    - "hadamard", for RM(1, m): the fast Hadamard transform, n log n;
    - "list": the product with all 2^k words;
    - "trellis": the minimal trellis, of at most 2^STATE_BITS states.

    Where the code is too large for all three, they raise `NotImplementedError`; indices and separation remain.

    >>> system = CodeVectors(golay_code())
    >>> system.size, system.dim, round(system.max_cosine, 3), system.method
    (4096, 24, 0.333, 'list')
    """

    code: LinearCode

    @property
    def dim(self) -> int:
        return self.code.n

    @property
    def size(self) -> int:
        return 1 << self.code.k

    @property
    def squared_norm(self) -> Fraction:
        return Fraction(self.dim)

    @property
    def spec(self) -> str:
        rows = ",".join(f"{row:x}" for row in self.code.generators)
        return self.code.name or f"code[{self.dim};{rows}]"

    @property
    def alphabet(self) -> tuple[Fraction, ...]:
        return Fraction(1), Fraction(-1)

    @property
    def max_cosine(self) -> float:
        return float(1 - Fraction(2 * self.code.minimum_distance, self.dim))

    @cached_property
    def mcs(self) -> float:
        n = self.dim
        if self._opposites:  # the spectrum is symmetric
            return max(0.0, self.max_cosine) if self.code.minimum_distance < n else 0.0
        cosines = (abs(1 - Fraction(2 * weight, n)) for weight in self.code.weight_enumerator() if 0 < weight < n)
        return float(max(cosines, default=Fraction(0)))

    @cached_property
    def _opposites(self) -> bool:
        """Whether the opposite of every vector is in the system: whether the word of ones is in the code."""
        total = 0
        for row in self.code.generators:  # the word of ones has every information bit
            total ^= row
        return total == (1 << self.dim) - 1

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        weights = self.code.weight_enumerator()
        return {1 - Fraction(2 * weight, self.dim): Fraction(count) for weight, count in weights.items()}

    def _centroid(self) -> tuple[Fraction, ...]:
        used = 0
        for row in self.code.generators:
            used |= row
        return tuple(Fraction(1 - int(bit)) for bit in format(used, f"0{self.dim}b"))

    # indices

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        places = torch.arange(self.code.k - 1, -1, -1, device=index.device)
        return self._encode((index[:, None] >> places & 1).to(torch.float32), dtype)

    def _encode(self, information: Tensor, dtype: torch.dtype) -> Tensor:
        """Information bits (B, k) to signs (B, n): sums of at most k ones are exact in float32."""
        sums = information.to(torch.float32) @ generator_bits(information.device, self.code)
        return (1 - 2 * (sums % 2)).to(dtype)

    def _information(self, vectors: Tensor) -> Tensor:
        return (vectors[:, _pivots(vectors.device, self.code)] < 0).to(torch.int64)

    def _rank(self, vectors: Tensor) -> Tensor:
        places = torch.arange(self.code.k - 1, -1, -1, device=vectors.device)
        return (self._information(vectors) << places).sum(1)

    def _contains(self, vectors: Tensor) -> Tensor:
        return (vectors == self._encode(self._information(vectors), vectors.dtype)).all(1)

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        bits = sum(1 << (self.dim - 1 - i) for i, value in enumerate(word) if value < 0)
        index = 0
        for pivot in self.code.pivots:
            index = index << 1 | bits >> (self.dim - 1 - pivot) & 1
        if self._word(index) != bits:
            raise ValueError(f"not a vector of {self.spec}")
        return index

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(Fraction(1 - 2 * int(bit)) for bit in format(self._word(index), f"0{self.dim}b"))

    def _word(self, index: int) -> int:
        word = 0
        for place, row in enumerate(reversed(self.code.generators)):
            if index >> place & 1:
                word ^= row
        return word

    # searching and summing

    @cached_property
    def method(self) -> str:
        """How vectors are searched and summed: "hadamard", "list", "trellis", or "none" of them."""
        if self.code.is_first_order_reed_muller:
            return "hadamard"
        numbers, states = self.size * self.dim, code_trellis.widths(self.code)
        if numbers <= min(max(SHORT_LIST, 8 * sum(1 << width for width in states)), LONG_LIST):
            return "list"
        return "trellis" if max(states) <= STATE_BITS else "none"

    @property
    def has_log_partition(self) -> bool:
        return self.method != "none"

    def _scores(self, x: Tensor) -> Tensor:
        if self.method == "hadamard":
            products = hadamard(x)
            order = hadamard_order(x.device, self.code.n)
            return torch.cat([products[:, order], -products.flip(1)[:, order]], dim=1)
        return x @ sign_table(x.device, self.code, x.dtype).T

    def _by_trellis(self) -> bool:
        if self.method == "none":
            raise NotImplementedError(
                f"{self.spec} has 2^{self.code.k} vectors and a trellis of 2^{max(code_trellis.widths(self.code))} "
                f"states, and the limit is 2^{STATE_BITS}: unrank, rank, contains and the separation are there; to "
                "search or sum take a code of fewer states, such as RM(2,6) or eBCH(64,24), or a product of short codes"
            )
        return self.method == "trellis"

    def _signs(self, bits: Tensor, like: Tensor) -> Tensor:
        return (1 - 2 * bits).to(like.dtype)

    def _nearest(self, x: Tensor) -> Tensor:
        return self._signs(code_trellis.nearest(self.code, x), x) if self._by_trellis() else super()._nearest(x)

    @in_full_precision
    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if not self._by_trellis():
            return super()._nearest_k(x, k)
        vectors = self._signs(code_trellis.nearest_k(self.code, x, k), x)
        values, order = (vectors @ x[:, :, None])[..., 0].sort(dim=1, descending=True, stable=True)
        return values, vectors.gather(1, order[..., None].expand_as(vectors))

    def _log_partition(self, z: Tensor) -> Tensor:
        if self._by_trellis():
            return code_trellis.log_partition(self.code, z)
        if self.method == "hadamard":  # e^y + e^-y = e^|y| (1 + e^-2|y|)
            return by_rows(_sum_of_pairs, self._rows(), hadamard(z).abs())
        return super()._log_partition(z)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        if self._by_trellis():  # a code looks the same from each of its words
            return code_trellis.log_partition(self.code, z * excluded, without_zero=True)
        return super()._log_partition_without(z, excluded)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        if self._by_trellis():
            return self._signs(code_trellis.sample(self.code, z, k, generator), z)
        return super()._sample_vectors(z, k, generator)


def _sum_of_pairs(products: Tensor) -> Tensor:
    return torch.logsumexp(products + softplus(-2 * products), dim=1)


@kept_per_device
def _pivots(code: LinearCode) -> Tensor:
    return torch.tensor(code.pivots, dtype=torch.int64)


# ---------------------------------------------------------------------- constructors


def binary_code(n: int, generators: list[int] | tuple[int, ...]) -> CodeVectors:
    """The sign vectors of the code of length n with the given generators, as integers of n bits.

    >>> binary_code(4, [0b1111, 0b0011]).spec
    'code[4;c,3]'
    """
    return CodeVectors(LinearCode(n, tuple(generators)))


def reed_muller(r: int, m: int) -> CodeVectors:
    """The sign vectors of RM(r, m), at max cosine 1 - 2^(1 - r) in 2^m dimensions.

    RM(1, m) is the biorthogonal code: the rows of the Hadamard matrix of order 2^m and their opposites.

    >>> reed_muller(2, 6).size, reed_muller(2, 6).max_cosine
    (4194304, 0.5)
    """
    return CodeVectors(reed_muller_code(r, m))


def golay() -> CodeVectors:
    """The 4,096 sign vectors of the extended Golay code, at max cosine 1/3 in 24 dimensions."""
    return CodeVectors(golay_code())


def extended_bch(n: int, k: int) -> CodeVectors:
    """The 2^k sign vectors of an extended BCH code of length n = 8, 16, 32, 64 or 128.

    >>> extended_bch(64, 24).size, extended_bch(64, 24).max_cosine
    (16777216, 0.5)
    """
    return CodeVectors(extended_bch_code(n, k))
