"""Binary linear codes: generator matrices as integers, exact weight enumerators, and the classical constructions.

MacWilliams & Sloane, *The Theory of Error-Correcting Codes* (1977), called MS below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import comb

import torch
from torch import Tensor

from rootspace.systems.constants import kept_per_device

#: A weight enumerator is counted over the code, or over its dual, if either has at most 2^ENUMERATION_BITS words.
ENUMERATION_BITS = 24

#: Primitive polynomials of GF(2^m), bit j for x^j (MS, figure 4.1).
_PRIMITIVE = {3: 0b1011, 4: 0b10011, 5: 0b100101, 6: 0b1000011, 7: 0b10001001, 9: 0b1000010001}


@dataclass(frozen=True)
class LinearCode:
    """An [n, k] binary linear code, given by any generators; equal codes compare equal.

    generators: words as integers, the first coordinate being the highest of n bits; kept in reduced row echelon
    form, dependent ones dropped. name: the spec of the code's vector system. distance: the minimum distance, where
    theory gives it. The last two take no part in comparisons.

    Raises `ValueError` if a generator has more than n bits or all are zero.

    >>> code = LinearCode(4, (0b1100, 0b0110, 0b0011, 0b1001))
    >>> code.k, code.minimum_distance, code.weight_enumerator()
    (3, 2, {0: 1, 2: 6, 4: 1})
    """

    n: int
    generators: tuple[int, ...]
    name: str = field(default="", compare=False)
    distance: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.n < 1 or any(not 0 <= row < 1 << self.n for row in self.generators):
            raise ValueError(f"a generator of a code of length {self.n} is an integer of at most {self.n} bits")
        rows = _reduced(self.generators)
        if not rows:
            raise ValueError("a code needs a generator that is not zero")
        object.__setattr__(self, "generators", rows)

    @property
    def k(self) -> int:
        """The number of information bits: the code has 2^k words."""
        return len(self.generators)

    @cached_property
    def pivots(self) -> tuple[int, ...]:
        """The coordinates that carry the information bits, ascending."""
        return tuple(self.n - row.bit_length() for row in self.generators)

    @cached_property
    def dual_generators(self) -> tuple[int, ...]:
        """Generators of the dual code, the words orthogonal to all words: n - k integers."""
        information = set(self.pivots)
        checks = []
        for column in range(self.n):
            if column not in information:
                check = _bit(self.n, column)
                for row, pivot in zip(self.generators, self.pivots, strict=True):
                    if row & _bit(self.n, column):
                        check |= _bit(self.n, pivot)
                checks.append(check)
        return tuple(checks)

    @cached_property
    def is_first_order_reed_muller(self) -> bool:
        """Whether this is RM(1, m) in the standard order of coordinates, so that the Hadamard transform decodes it."""
        m = self.n.bit_length() - 1
        return self.n == 1 << m and self.k == m + 1 and self.generators == _reduced(_monomials(1, m))

    def weight_enumerator(self) -> dict[int, int]:
        """How many words have each weight, ascending; exact.

        Counted over the words of the code or, with MacWilliams' identity (MS, theorem 5.1), of its dual. Raises
        `NotImplementedError` where both have more than 2^ENUMERATION_BITS words.
        """
        return dict(_weights(self))

    @cached_property
    def minimum_distance(self) -> int:
        """d: the smallest weight of a word that is not zero."""
        return self.distance or min(weight for weight in _weights(self) if weight)


def _bit(n: int, column: int) -> int:
    return 1 << (n - 1 - column)


def _reduced(rows: tuple[int, ...]) -> tuple[int, ...]:
    """The reduced row echelon form over GF(2), largest row first."""
    basis: list[int] = []
    for row in rows:
        for other in basis:
            row = min(row, row ^ other)
        if row:
            basis = [min(other, other ^ row) if other >> (row.bit_length() - 1) & 1 else other for other in basis]
            basis.append(row)
    return tuple(sorted(basis, reverse=True))


@lru_cache(maxsize=64)
def _weights(code: LinearCode) -> dict[int, int]:
    n, k = code.n, code.k
    if code.is_first_order_reed_muller:
        return {0: 1, n // 2: 2 * n - 2, n: 1}
    if k <= ENUMERATION_BITS:
        return _count_weights(n, code.generators)
    if n - k <= ENUMERATION_BITS:
        dual = _count_weights(n, _reduced(code.dual_generators)) if n > k else {0: 1}
        return macwilliams(dual, n, n - k)
    raise NotImplementedError(
        f"the weights of a [{n}, {k}] code need 2^{min(k, n - k)} words counted, the limit is 2^{ENUMERATION_BITS}; "
        "sample_vectors estimates the cosine spectrum"
    )


def macwilliams(weights: dict[int, int], n: int, k: int) -> dict[int, int]:
    """The weight enumerator of the dual of an [n, k] code from the code's own (MS, theorem 5.1).

    >>> macwilliams({0: 1, 4: 1}, 4, 1)  # the dual of the repetition code: all words of even weight
    {0: 1, 2: 6, 4: 1}
    """
    dual = {}
    for j in range(n + 1):
        total = sum(count * _krawtchouk(n, j, weight) for weight, count in weights.items())
        if total:
            dual[j] = total >> k
    return dual


def _krawtchouk(n: int, j: int, x: int) -> int:
    return sum((-1) ** i * comb(x, i) * comb(n - x, j - i) for i in range(max(0, j - n + x), min(x, j) + 1))


def _count_weights(n: int, generators: tuple[int, ...]) -> dict[int, int]:
    """Weights of all words, as inner products of the signs of two halves of the generators."""
    half = len(generators) // 2
    first, second = (_sign_table(_bits_of(n, part)) for part in (generators[:half], generators[half:]))
    totals = torch.zeros(n + 1, dtype=torch.int64)
    for rows in first.split(max(1, 2**22 // len(second))):
        weights = (n - rows @ second.T).mul_(0.5).to(torch.int64)
        totals += torch.bincount(weights.reshape(-1), minlength=n + 1)
    return {weight: count for weight, count in enumerate(totals.tolist()) if count}


def _bits_of(n: int, rows: tuple[int, ...]) -> Tensor:
    """Words as rows of 0.0 and 1.0: float32 (len(rows), n)."""
    digits = [[float(digit) for digit in format(row, f"0{n}b")] for row in rows]
    return torch.tensor(digits, dtype=torch.float32).reshape(len(rows), n)


def _sign_table(bits: Tensor) -> Tensor:
    """The signs (1 for bit 0, -1 for bit 1) of all combinations of rows, in the order of their numbers."""
    k, n = bits.shape
    table = torch.ones(1, n)
    for row in range(k):  # the first row is the highest bit
        table = torch.stack([table, table * (1 - 2 * bits[row])], dim=1).reshape(-1, n)
    return table


@kept_per_device
def generator_bits(code: LinearCode) -> Tensor:
    """The generator matrix in reduced row echelon form: float32 (k, n); called as generator_bits(device, code)."""
    return _bits_of(code.n, code.generators)


@kept_per_device
def sign_table(code: LinearCode, dtype: torch.dtype) -> Tensor:
    """All words as signs, in the order of their information bits: (2^k, n); called as sign_table(device, ...)."""
    return _sign_table(_bits_of(code.n, code.generators)).to(dtype)


# ---------------------------------------------------------------------- the classical codes


def reed_muller_code(r: int, m: int) -> LinearCode:
    """RM(r, m): length 2^m, the values of all polynomials of degree at most r in m bits (MS, chapter 13).

    >>> code = reed_muller_code(2, 5)
    >>> code.n, code.k, code.minimum_distance
    (32, 16, 8)
    """
    if not 1 <= r < m or m > (16 if r == 1 else 8):
        raise ValueError(
            f"RM(r, m) needs 1 <= r < m, m <= 8, or m <= 16 for r = 1; got r={r}, m={m}. "
            "RM(0, m) is one pair of vectors, and RM(m, m) is hypercube(2^m)"
        )
    return LinearCode(1 << m, _monomials(r, m), f"RM({r},{m})", 1 << (m - r))


def _monomials(r: int, m: int) -> tuple[int, ...]:
    n = 1 << m
    everywhere = (1 << n) - 1
    variables = []
    for j in range(m):  # the value of bit j of the coordinate's number
        run = 1 << j
        block = (1 << run) - 1  # the second half of each run of 2^(j + 1) coordinates
        word, length = block, 2 * run
        while length < n:
            word |= word << length
            length *= 2
        variables.append(word)
    rows, degree = [(everywhere, -1)], 0
    layer = rows
    while degree < r:
        layer = [(word & variables[j], j) for word, last in layer for j in range(last + 1, m)]
        rows = rows + layer
        degree += 1
    return tuple(word for word, _ in rows)


def golay_code() -> LinearCode:
    """The extended binary Golay code [24, 12, 8]: the cyclic code of length 23 with a parity bit (MS, chapter 2).

    >>> golay_code().weight_enumerator()
    {0: 1, 8: 759, 12: 2576, 16: 759, 24: 1}
    """
    polynomial = 0b110001110101  # x^11 + x^10 + x^6 + x^5 + x^4 + x^2 + 1
    rows = []
    for shift in range(12):
        word = polynomial << shift
        rows.append(word << 1 | word.bit_count() & 1)
    return LinearCode(24, tuple(rows), "Golay:24", 8)


def extended_bch_code(n: int, k: int) -> LinearCode:
    """The extended primitive narrow-sense BCH code [n, k], n = 8, 16, 32, 64 or 128 (MS, chapters 7 and 9).

    Coordinate i stands for the element of GF(n) with the bits of i, so that Reed-Muller codes are subcodes. For
    n = 128 only those whose weights can be counted: k <= 22 or k >= 106. Raises `ValueError` naming the k there are.

    >>> extended_bch_code(64, 24).minimum_distance
    16
    """
    m = n.bit_length() - 1
    if n != 1 << m or not 3 <= m <= 7:
        raise ValueError(f"extended BCH codes here have length 8, 16, 32, 64 or 128, got {n}")
    dimensions = _bch_dimensions(m)
    if k not in dimensions:
        raise ValueError(f"extended BCH codes of length {n} have k in {sorted(dimensions)}, got {k}")
    largest = dimensions[k]  # the largest odd exponent that is checked
    exponents, logarithms = finite_field(m)
    rows = [(1 << n) - 1]
    for power in range(1, largest + 1, 2):
        values = [0] + [exponents[logarithms[i] * power % (n - 1)] for i in range(1, n)]
        rows += [sum(_bit(n, i) for i, value in enumerate(values) if value >> j & 1) for j in range(m)]
    checks = LinearCode(n, tuple(rows))
    # of length up to 64 the minimum distance is the one the BCH bound promises (MS, figure 9.1)
    distance = _bose_distance(m, largest) + 1 if m <= 6 else 0
    return LinearCode(n, checks.dual_generators, f"eBCH({n},{k})", distance)


def finite_field(m: int) -> tuple[list[int], dict[int, int]]:
    """The powers of a primitive element of GF(2^m), and the logarithms of its elements but zero."""
    exponents, value = [], 1
    for _ in range((1 << m) - 1):
        exponents.append(value)
        value <<= 1
        if value >> m:
            value ^= _PRIMITIVE[m]
    return exponents, {value: log for log, value in enumerate(exponents)}


def _coset(m: int, power: int) -> frozenset[int]:
    return frozenset(power * 2**j % ((1 << m) - 1) for j in range(m))


@lru_cache(maxsize=8)
def _bch_dimensions(m: int) -> dict[int, int]:
    """For each dimension k the largest odd exponent whose power sum is checked."""
    n, zeros, found = 1 << m, set[int](), dict[int, int]()
    for power in range(1, n - 1, 2):
        zeros |= _coset(m, power)
        k = n - 1 - len(zeros)
        if k > 1 and k not in found and (m <= 6 or min(k, n - k) <= ENUMERATION_BITS):
            found[k] = power
    return found


def _bose_distance(m: int, largest: int) -> int:
    zeros = frozenset().union(*(_coset(m, power) for power in range(1, largest + 1, 2)))
    return next(power for power in range(1, 1 << m) if power % ((1 << m) - 1) not in zeros)
