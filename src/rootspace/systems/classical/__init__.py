"""Classical optimal systems: regular polytopes, lattice shells, and the sign vectors of binary codes."""

from __future__ import annotations

import re
from collections.abc import Callable

from rootspace.systems.base import VectorSystem
from rootspace.systems.classical.codes import CodeVectors, binary_code, extended_bch, golay, reed_muller
from rootspace.systems.classical.kerdock import Kerdock, kerdock
from rootspace.systems.classical.lattices import BW16, E8, Leech, MinimalVectors
from rootspace.systems.classical.linear_code import LinearCode
from rootspace.systems.classical.simplex import Simplex, half_cube, hypercube, orthoplex, simplex

__all__ = [
    "BW16",
    "E8",
    "NAMED",
    "CodeVectors",
    "Kerdock",
    "Leech",
    "LinearCode",
    "MinimalVectors",
    "Simplex",
    "binary_code",
    "extended_bch",
    "golay",
    "half_cube",
    "hypercube",
    "kerdock",
    "orthoplex",
    "read_named",
    "reed_muller",
    "simplex",
]


def _golay_by_length(length: str) -> CodeVectors:
    if int(length) != 24:
        raise ValueError(f"the extended Golay code has length 24, got {length}")
    return golay()


def _code_by_rows(length: str, rows: str) -> CodeVectors:
    return binary_code(int(length), [int(row, 16) for row in rows.split(",")])


#: Spec words of this package: what follows the word, as a regular expression, and the constructor, which takes the
#: expression's groups as strings. It raises `ValueError` where there is no such system.
NAMED: dict[str, tuple[str, Callable[..., VectorSystem]]] = {
    "E8": ("", E8),
    "BW16": ("", BW16),
    "Leech": ("", Leech),
    "Golay": (r":(\d+)", _golay_by_length),
    "Kerdock": (r":(\d+)", lambda n: kerdock(int(n))),
    "RM": (r"\((\d+),(\d+)\)", lambda r, m: reed_muller(int(r), int(m))),
    "eBCH": (r"\((\d+),(\d+)\)", lambda n, k: extended_bch(int(n), int(k))),
    "code": (r"\[(\d+);([0-9a-f]+(?:,[0-9a-f]+)*)\]", _code_by_rows),
    "simplex": (r":(\d+)", lambda n: simplex(int(n))),
    "orthoplex": (r":(\d+)", lambda n: orthoplex(int(n))),
    "hypercube": (r":(\d+)", lambda n: hypercube(int(n))),
    "halfcube": (r":(\d+)", lambda n: half_cube(int(n))),
}


def read_named(text: str, position: int = 0) -> tuple[VectorSystem, int] | None:
    """The system of `NAMED` that stands at a position of a spec, and where it ends; None if none does.

    Raises `ValueError` for arguments of which there is no system.

    >>> system, end = read_named("eBCH(32,16)^2")
    >>> system.size, end
    (65536, 11)
    """
    for word, (arguments, construct) in NAMED.items():
        if match := re.compile(re.escape(word) + arguments).match(text, position):
            return construct(*match.groups()), match.end()
    return None
