"""What there is: every kind of system in one line each, and the member of a kind that a number of classes needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rootspace.systems.base import VectorSystem
from rootspace.systems.classical import BW16, E8, Leech, extended_bch, golay, half_cube, hypercube, kerdock
from rootspace.systems.classical import orthoplex as _orthoplex
from rootspace.systems.classical import simplex as _simplex
from rootspace.systems.families import family, smallest

#: Systems of more dimensions have no spec that parses, so a plan does not propose them unasked.
MAX_DIM = 1_000_000


@dataclass(frozen=True)
class Kind:
    """One line of the catalogue.

    name: what `plan` and `--family` call it, or None if it has no single member for a number of classes; example:
    a spec of a member; n, size, max_cosine: formulas in words.
    """

    name: str | None
    example: str
    what: str
    n: str
    size: str
    max_cosine: str

    def to_dict(self) -> dict[str, str | None]:
        """The line as JSON values."""
        return {
            "family": self.name,
            "example": self.example,
            "what": self.what,
            "n": self.n,
            "size": self.size,
            "max_cosine": self.max_cosine,
        }


#: All kinds, the families with a free dimension first.
KINDS: tuple[Kind, ...] = (
    Kind("A", "A:32", "roots of A_(n-1): one coordinate up, one down", "any n", "n(n-1)", "1/2"),
    Kind("V21", "V21:108", "two coordinates up, one down", "any n", "n(n-1)(n-2)/2", "2/3"),
    Kind("V22", "V22:41", "two coordinates up, two down", "any n", "n(n-1)(n-2)(n-3)/4", "3/4"),
    Kind("V33", "V33:20", "three up, three down; so Vpq for any p, q", "any n", "n!/(p! q! (n-p-q)!)", "1 - 1/(p+q)"),
    Kind("D", "D:16", "roots of D_n: two coordinates with signs", "any n", "2n(n-1)", "1/2"),
    Kind("B", "B:16", "roots of B_n, at one norm", "any n", "2n^2", "1/sqrt(2)"),
    Kind("W3", "W3:78", "three coordinates with signs; so Ww for any w", "any n", "2^w C(n,w)", "1 - 1/w"),
    Kind("W4", "W4:33", "four coordinates with signs", "any n", "2^4 C(n,4)", "3/4"),
    Kind(
        "dense", "dense:64", "n/4 up, n/4 down: a vector near any direction", "n = 4m", "n!/((n/4)!^2 (n/2)!)", "1-2/n"
    ),
    Kind(
        "graded",
        "graded:64",
        "eight levels spread like a normal distribution: nearer still",
        "n = 2m >= 8",
        "n!/(m_1! ... m_8!)",
        "about 1 - 1/(6n)",
    ),
    Kind("simplex", "simplex:9", "n + 1 equiangular vectors, the best there is", "any n", "n+1", "-1/n"),
    Kind("orthoplex", "orthoplex:8", "the axes and their opposites", "any n", "2n", "0"),
    Kind("hypercube", "hypercube:8", "all signs", "any n", "2^n", "1 - 2/n"),
    Kind("halfcube", "halfcube:8", "an even number of minus signs", "any n", "2^(n-1)", "1 - 4/n"),
    Kind("E8", "E8", "roots of E8, the best 240 vectors in 8 dimensions", "8", "240", "1/2"),
    Kind("BW16", "BW16", "shortest vectors of the Barnes-Wall lattice", "16", "4,320", "1/2"),
    Kind("Leech", "Leech", "shortest vectors of the Leech lattice, the best there are", "24", "196,560", "1/2"),
    Kind("Golay", "Golay:24", "signs of the extended Golay code", "24", "4,096", "1/3"),
    Kind("Kerdock", "Kerdock:64", "signs of the Kerdock code", "n = 4^j", "n^2", "1/sqrt(n)"),
    Kind("eBCH32", "eBCH(32,16)", "signs of an extended BCH code", "32", "2^k", "1 - 2d/n"),
    Kind("eBCH64", "eBCH(64,24)", "signs of an extended BCH code", "64", "2^k", "1 - 2d/n"),
    Kind(None, "RM(2,5)", "signs of a Reed-Muller code", "n = 2^m", "2^k", "1 - 2^(1-r)"),
    Kind(None, "weyl:E6[1,0,0,0,0,0]", "orbit of a weight of any root system", "rank", "", ""),
    Kind(None, "roots:F4", "all roots of any root system, at one norm", "rank", "", ""),
    Kind(None, "perm[2,1,0^6]", "permutations of any base vector; also signed[...], even[...]", "any n", "", ""),
    Kind(None, "V22:8^8", "products: blocks of coordinates, ^ repeats one, x joins two", "sum", "product", ""),
)

#: The lengths there are of Kerdock codes, and the dimensions of extended BCH codes by length.
_KERDOCK = (16, 64, 256, 1024)
_BCH = {32: (6, 11, 16, 21, 26), 64: (7, 10, 16, 18, 24, 30, 36, 39, 45, 51, 57)}

#: The names a plan knows beside the growing families, with the member for a number of classes (None: too few vectors).
_OTHERS: dict[str, Callable[[int], VectorSystem | None]] = {
    "simplex": lambda n_classes: _simplex(max(n_classes - 1, 2)),
    "orthoplex": lambda n_classes: _orthoplex(max(-(-n_classes // 2), 2)),
    "hypercube": lambda n_classes: hypercube(max((n_classes - 1).bit_length(), 2)),
    "halfcube": lambda n_classes: half_cube(max((n_classes - 1).bit_length() + 1, 3)),
    "E8": lambda n_classes: _if_room(E8(), n_classes),
    "BW16": lambda n_classes: _if_room(BW16(), n_classes),
    "Leech": lambda n_classes: _if_room(Leech(), n_classes),
    "Golay": lambda n_classes: _if_room(golay(), n_classes),
    "Kerdock": lambda n_classes: next((kerdock(n) for n in _KERDOCK if n * n >= n_classes), None),
    "eBCH32": lambda n_classes: _bch(32, n_classes),
    "eBCH64": lambda n_classes: _bch(64, n_classes),
}

#: Of each of `_OTHERS` its members, or the one of a given dimension.
_MEMBERS: dict[str, Callable[[int], list[VectorSystem]]] = {
    "simplex": lambda dim: [_simplex(dim)] if dim >= 2 else [],
    "orthoplex": lambda dim: [_orthoplex(dim)] if dim >= 2 else [],
    "hypercube": lambda dim: [hypercube(dim)] if dim >= 2 else [],
    "halfcube": lambda dim: [half_cube(dim)] if dim >= 3 else [],
    "E8": lambda dim: [E8()],
    "BW16": lambda dim: [BW16()],
    "Leech": lambda dim: [Leech()],
    "Golay": lambda dim: [golay()],
    "Kerdock": lambda dim: [kerdock(n) for n in _KERDOCK],
    "eBCH32": lambda dim: [extended_bch(32, k) for k in _BCH[32]],
    "eBCH64": lambda dim: [extended_bch(64, k) for k in _BCH[64]],
}

#: The names of `_OTHERS`: systems of fixed or few sizes.
OTHERS = tuple(_OTHERS)


def candidate(name: str, n_classes: int) -> VectorSystem | None:
    """The member of a kind that n_classes need: of a family the smallest; None where the kind has no member so large.

    Raises `ValueError` for an unknown name or fewer than one class.

    >>> candidate("Kerdock", 5000).spec, candidate("E8", 241), candidate("V22", 600_000).spec
    ('Kerdock:256', None, 'V22:41')
    """
    if n_classes < 1:
        raise ValueError(f"n_classes is a positive number, got {n_classes}")
    if name in _OTHERS:
        return _OTHERS[name](n_classes)
    check_name(name)
    return smallest(name, n_classes)


def check_name(name: str) -> None:
    """Raise `ValueError` for a name that no kind has."""
    if name in _OTHERS:
        return
    try:
        family(name)
    except ValueError as error:
        if "no family is called" not in str(error):
            raise
        raise ValueError(f"{error}; or {', '.join(OTHERS)}") from None


def members_within(name: str, dim: int) -> list[VectorSystem]:
    """The largest member of a kind with at most `dim` dimensions, and of a kind of few sizes all of them.

    >>> [system.spec for system in (*members_within("dense", 15), *members_within("Kerdock", 300))]
    ['V33:12', 'Kerdock:16', 'Kerdock:64', 'Kerdock:256']
    """
    if name in _OTHERS:
        return [system for system in _MEMBERS[name](dim) if system.dim <= dim]
    construct, least, step = family(name)
    return [construct(dim - (dim - least) % step)] if dim >= least else []


def _if_room(system: VectorSystem, n_classes: int) -> VectorSystem | None:
    return system if system.size >= n_classes else None


def _bch(n: int, n_classes: int) -> VectorSystem | None:
    bits = (n_classes - 1).bit_length()
    return next((extended_bch(n, k) for k in _BCH[n] if k >= bits), None)
