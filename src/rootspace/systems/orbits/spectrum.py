"""How many words of an orbit have each inner product with its base vector, counted without listing the words.

The coordinates are sorted into a table: cell (r, c) holds how many coordinates have level r in the base vector
and level c in the other word. A table is realised by a product of multinomial coefficients, and inner product,
signs and parity add up over its cells; so the counts follow from a recursion over the cells.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import comb, lcm

#: More intermediate states than this are refused.
STATE_LIMIT = 3_000_000


def inner_product_counts(
    levels: tuple[tuple[Fraction, int], ...],
    signed: bool = False,
    even: bool = False,
    base: tuple[tuple[Fraction, int], ...] | None = None,
    odd: bool = False,
) -> dict[Fraction, int]:
    """Inner products with a base vector and how many words of the orbit have each, descending.

    levels: (value, multiplicity) pairs; magnitudes if `signed` (free signs) or `even` (even sign changes).
    base: the levels, with signs, of the base vector, where it is not that of the orbit itself.
    odd: whether an `even` orbit's words have an odd number of negative coordinates, where `base` is given.
    Raises `NotImplementedError` where the orbit has too many levels to count in reasonable time.
    """
    base = levels if base is None else base
    scale = lcm(*(value.denominator for value, _ in (*levels, *base)))
    values = [int(value * scale) for value, _ in levels]
    multiplicities = tuple(count for _, count in levels)
    rows = [(int(value * scale), count) for value, count in base]
    signed = signed or even
    states: Counter[tuple[tuple[int, ...], int, int]] = Counter({(multiplicities, 0, 0): 1})
    for row, (row_value, row_count) in enumerate(rows):
        last_row = row == len(rows) - 1
        # within a row: coordinates of the row still to place, then the state after it
        partial = Counter({(row_count, *state): ways for state, ways in states.items()})
        for column, column_value in enumerate(values):
            last_cell = column == len(values) - 1
            following: Counter[tuple[int, tuple[int, ...], int, int]] = Counter()
            for (left, columns, inner, parity), ways in partial.items():
                most = min(left, columns[column])
                if last_cell and most < left:
                    continue
                least = left if last_cell else columns[column] if last_row and columns[column] <= left else 0
                if last_row and columns[column] > left:
                    continue
                for k in range(least, most + 1):
                    rest = (*columns[:column], columns[column] - k, *columns[column + 1 :])
                    for gain, flips, sign_ways in _cell(row_value * column_value, column_value, k, signed, even):
                        key = (left - k, rest, inner + gain, parity ^ flips)
                        following[key] += ways * comb(left, k) * sign_ways
            partial = following
            if len(partial) > STATE_LIMIT:
                raise NotImplementedError(
                    f"the cosine spectrum of an orbit with {len(values)} levels in {sum(multiplicities)} dimensions "
                    "has too many cases to count; max_cosine and mcs are closed forms, and sample_vectors estimates it"
                )
        states = Counter()
        for (_, columns, inner, parity), ways in partial.items():
            states[columns, inner, parity] += ways
    totals: Counter[int] = Counter()
    for (_, inner, parity), ways in states.items():
        if parity == int(odd):
            totals[inner] += ways
    return {Fraction(inner, scale * scale): totals[inner] for inner in sorted(totals, reverse=True)}


def _cell(product: int, value: int, k: int, signed: bool, even: bool) -> list[tuple[int, int, int]]:
    """What k coordinates of one cell add: (inner product, parity of the signs, number of ways)."""
    if not signed or value == 0:
        return [(product * k, 0, 1)]
    if product == 0 and not even:
        return [(0, 0, 2**k)]
    return [(product * (k - 2 * flips), flips % 2 if even else 0, comb(k, flips)) for flips in range(k + 1)]
