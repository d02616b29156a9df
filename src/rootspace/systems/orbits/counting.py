"""Arrangements of a multiset: how many there are, and which one is the i-th.

An arrangement of a multiset with `counts[c]` copies of code c is a word of codes. Level by level, every code
but the most frequent one chooses which of the places still free it takes; each choice is a subset, numbered by
the combinatorial number system (Knuth, TAOCP 4A, 7.2.1.3), and the choices are the digits of a mixed radix.
The most frequent code takes what is left.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, prod

import torch
from torch import Tensor

from rootspace.systems.constants import kept_per_device


def arrangements(counts: tuple[int, ...]) -> int:
    """The number of arrangements: the multinomial coefficient of the counts.

    >>> arrangements((2, 8, 1))
    495
    """
    return prod(comb(places, count) for _, places, count in _digits(counts))


def most_frequent(counts: tuple[int, ...]) -> int:
    """The code that fills the places no other code takes: the first of the most frequent ones."""
    return counts.index(max(counts))


@lru_cache(maxsize=256)
def _digits(counts: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """For each code that chooses places, in order: the code, the places still free, the places it takes."""
    rest, free, digits = most_frequent(counts), sum(counts), []
    for code, count in enumerate(counts):
        if code != rest:
            digits.append((code, free, count))
            free -= count
    return tuple(digits)


@kept_per_device
def _binomials(places: int, taken: int) -> Tensor:
    """C(i, j) for i <= places, j <= taken: int64 (places + 1, taken + 1); exact, since C(places, taken) fits."""
    # taken <= places / 2, as the most frequent code chooses nothing: so no entry exceeds C(places, taken)
    return torch.tensor([[comb(i, j) for j in range(taken + 1)] for i in range(places + 1)], dtype=torch.int64)


# ---------------------------------------------------------------------- tensors, for sizes that fit int64


def rank_codes(codes: Tensor, counts: tuple[int, ...]) -> Tensor:
    """The number of each arrangement: int64 codes (B, n) -> int64 (B,)."""
    index = torch.zeros(codes.shape[0], dtype=torch.int64, device=codes.device)
    free = torch.ones_like(codes, dtype=torch.bool)
    for code, places, count in _digits(counts):
        taken = codes == code
        place = free.cumsum(1) - 1  # the number of each place among the free ones
        position = taken.cumsum(1)  # 1 for the first place taken, 2 for the second
        table = _binomials(codes.device, places, count)
        digit = torch.where(taken, table[place.clamp_min(0), position.clamp_max(count)], 0).sum(1)
        index = index * comb(places, count) + digit
        free &= ~taken
    return index


def unrank_codes(index: Tensor, counts: tuple[int, ...]) -> Tensor:
    """The arrangement with each number: int64 (B,) -> int64 codes (B, n), the inverse of `rank_codes`."""
    n = sum(counts)
    codes = torch.full((index.shape[0], n), most_frequent(counts), dtype=torch.int64, device=index.device)
    free = torch.arange(n, device=index.device).expand(index.shape[0], n)  # the free places, ascending
    radices = [comb(places, count) for _, places, count in _digits(counts)]
    for k, (code, places, count) in enumerate(_digits(counts)):
        below = prod(radices[k + 1 :])
        digit = index // below
        index = index - digit * below
        table = _binomials(index.device, places, count)
        taken = torch.zeros(index.shape[0], places, dtype=torch.bool, device=index.device)
        for j in range(count, 0, -1):
            place = torch.searchsorted(table[:, j].contiguous(), digit, right=True) - 1
            digit = digit - table[place, j]
            taken.scatter_(1, place[:, None], True)
        order = taken.to(torch.int8).argsort(dim=1, stable=True)  # free places first, each part ascending
        codes.scatter_(1, free.gather(1, order[:, places - count :]), code)
        free = free.gather(1, order[:, : places - count])
    return codes


# ---------------------------------------------------------------------- Python integers, for any size


def rank_word(word: list[int], counts: tuple[int, ...]) -> int:
    """The number of one arrangement as a Python integer.

    >>> rank_word([1, 0, 1, 2], (1, 2, 1))
    5
    """
    index, free = 0, list(range(len(word)))
    for code, places, count in _digits(counts):
        chosen = [k for k, place in enumerate(free) if word[place] == code]
        index = index * comb(places, count) + sum(comb(k, j + 1) for j, k in enumerate(chosen))
        free = [place for place in free if word[place] != code]
    return index


def unrank_word(index: int, counts: tuple[int, ...]) -> list[int]:
    """The arrangement with a given number, of any size.

    >>> unrank_word(5, (1, 2, 1))
    [1, 0, 1, 2]
    """
    digits = []
    for _, places, count in reversed(_digits(counts)):
        index, digit = divmod(index, comb(places, count))
        digits.append(digit)
    word = [most_frequent(counts)] * sum(counts)
    free = list(range(len(word)))
    for (code, places, count), digit in zip(_digits(counts), reversed(digits), strict=True):
        chosen, k = [], places
        for j in range(count, 0, -1):
            k -= 1
            while comb(k, j) > digit:
                k -= 1
            digit -= comb(k, j)
            chosen.append(k)
        for k in chosen:
            word[free[k]] = code
        taken = set(chosen)
        free = [place for k, place in enumerate(free) if k not in taken]
    return word
