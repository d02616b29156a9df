"""Kerdock codes: n^2 sign vectors in n dimensions at max cosine 1/sqrt(n); at n = 16 twice as many as any linear code.

MacWilliams & Sloane, *The Theory of Error-Correcting Codes* (1977), chapter 15, section 5; in the form of Calderbank,
Cameron, Kantor & Seidel, Proc. London Math. Soc. 75 (1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import torch
from torch import Tensor

from rootspace.systems.classical.hadamard import hadamard, hadamard_order
from rootspace.systems.classical.linear_code import finite_field, generator_bits, reed_muller_code
from rootspace.systems.classical.scored import Scored
from rootspace.systems.constants import kept_per_device


@dataclass(frozen=True)
class Kerdock(Scored):
    """The n^2 sign vectors of the Kerdock code of length n = 4^j: any two at cosine 0, ±1/sqrt(n) or -1.

    They are n / 2 orthoplexes: the rows of the Hadamard matrix and their opposites, times the signs of a quadratic
    form, one form for each element a of GF(n / 2). On coordinates (b, x), with Tr the trace of that field and t its
    degree, which is odd, the form is Tr((ax)^(1 + 2)) + ... + Tr((ax)^(1 + 2^((t - 1) / 2))) + b Tr(ax). Searching and
    summing take n / 2 fast Hadamard transforms. The index is the bits Tr(a 2^i), then the information bits of RM(1, m).

    >>> Kerdock(64).size, Kerdock(64).dim, Kerdock(64).max_cosine
    (4096, 64, 0.125)
    """

    n: int

    def __post_init__(self) -> None:
        if self.n not in (16, 64, 256, 1024):
            raise ValueError(f"Kerdock codes here have length 16, 64, 256 or 1024, got {self.n}")

    @property
    def dim(self) -> int:
        return self.n

    @property
    def size(self) -> int:
        return self.n**2

    @property
    def squared_norm(self) -> Fraction:
        return Fraction(self.n)

    @property
    def spec(self) -> str:
        return f"Kerdock:{self.n}"

    @property
    def alphabet(self) -> tuple[Fraction, ...]:
        return Fraction(1), Fraction(-1)

    @property
    def max_cosine(self) -> float:
        return 1 / isqrt(self.n)

    @property
    def mcs(self) -> float:
        return 1 / isqrt(self.n)

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        near = Fraction(self.n * (self.n // 2 - 1))
        one, root = Fraction(1), Fraction(1, isqrt(self.n))
        return {one: one, root: near, Fraction(0): Fraction(2 * self.n - 2), -root: near, -one: one}

    def _centroid(self) -> tuple[Fraction, ...]:
        return (Fraction(0),) * self.n

    @property
    def _m(self) -> int:
        return self.n.bit_length() - 1

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        places = torch.arange(self._m, -1, -1, device=index.device)
        bits = (index[:, None] >> places & 1).to(torch.float32)
        row = 1 - 2 * (bits @ generator_bits(index.device, reed_muller_code(1, self._m)) % 2)
        return row.to(dtype) * _forms(index.device, self.n, dtype)[index // (2 * self.n)]

    def _rank(self, vectors: Tensor) -> Tensor:
        # the form's bilinear form, between b = 1 and x = 2^i, is Tr(a 2^i): four coordinates show it
        half, units = self.n // 2, 1 << torch.arange(self._m - 1, device=vectors.device)
        shown = vectors[:, :1] * vectors[:, half : half + 1] * vectors[:, units] * vectors[:, half + units]
        form = ((shown < 0).long() * units).sum(1)
        row = vectors * _forms(vectors.device, self.n, vectors.dtype)[form]
        places = torch.arange(self._m - 1, -1, -1, device=vectors.device)
        pivots = 1 << places.flip(0)
        index = (row[:, 0] < 0).long() << self._m
        return form * (2 * self.n) + index + ((row[:, pivots] < 0).long() << places).sum(1)

    def _contains(self, vectors: Tensor) -> Tensor:
        return (vectors == self._unrank(self._rank(vectors), vectors.dtype)).all(1)

    def _scores(self, x: Tensor) -> Tensor:
        products = hadamard(x[:, None] * _forms(x.device, self.n, x.dtype))  # (B, n / 2, n)
        order = hadamard_order(x.device, self.n)
        return torch.cat([products[..., order], -products.flip(2)[..., order]], dim=2).flatten(1)


@kept_per_device
def _forms(n: int, dtype: torch.dtype) -> Tensor:
    """The signs of the quadratic forms, in the order of the bits Tr(a 2^i): (n / 2, n)."""
    half = n // 2
    t = half.bit_length() - 1
    powers, logarithms = finite_field(t)
    logarithm = torch.tensor([0] + [logarithms[value] for value in range(1, half)])
    # the powers of the primitive element, their traces, and the sum of traces in the form
    power = torch.tensor(powers)
    exponent = torch.arange(half - 1)

    def element(log: Tensor) -> Tensor:
        return power[log % (half - 1)]

    def trace(log: Tensor) -> Tensor:
        total = torch.zeros_like(log)
        for j in range(t):
            total ^= element(log << j)
        return total  # 0 or 1

    traces = trace(exponent)
    forms = torch.zeros_like(traces)
    for j in range(1, (t - 1) // 2 + 1):
        forms ^= trace(exponent * (1 + 2**j))
    a = torch.arange(half)[:, None]
    nonzero = (a > 0) & (a > 0).T
    log = (logarithm[:, None] + logarithm) % (half - 1)  # of a x
    first = torch.where(nonzero, forms[log], 0)
    second = first ^ torch.where(nonzero, traces[log], 0)
    units = 1 << torch.arange(t)
    key = (torch.where(a > 0, traces[log[:, units]], 0) * units).sum(1)
    return (1 - 2 * torch.cat([first, second], dim=1))[key.argsort()].to(dtype)


def kerdock(n: int) -> Kerdock:
    """The n^2 sign vectors of the Kerdock code of length n = 16, 64, 256 or 1024, at max cosine 1/sqrt(n)."""
    return Kerdock(n)
