"""Reading a system from its spec string: `parse(system.spec) == system`.

spec   = factor { " x " factor }                a product of blocks
factor = system [ "^" repeats ]
system = "V22:41"           V(41, 2, 2)         "V16,16:64"   V(64, 16, 16)
       | "A:32"             A(32)               "D:16"        D(16)
       | "W3:35"            weight(35, 3)       "dense:64"    dense(64)
       | "perm[2,1^3,0^4]"  permutations of a base vector; also "signed[...]", "even[...]"
"""

from __future__ import annotations

import re
from fractions import Fraction

from rootspace.systems.base import VectorSystem
from rootspace.systems.families import A, D, V, dense, orbit, product, weight

_NAMED = re.compile(r"(V(\d+),(\d+)|V(\d)(\d)|W(\d+)|A|D|dense):(\d+)")
_BASE = re.compile(r"(perm|signed|even)\[([^\]]*)\]")
_LEVEL = re.compile(r"\s*(-?\d+(?:/\d+|\.\d+)?)(?:\^(\d+))?\s*")
_REPEAT = re.compile(r"\^(\d+)")
_TIMES = re.compile(r"\s+x\s+")

#: Dimensions above this are refused: a typing slip should not take all memory.
MAX_DIM = 1_000_000


class SpecError(ValueError):
    """A spec that does not parse; the message shows the place."""

    def __init__(self, text: str, position: int, expected: str) -> None:
        found = repr(text[position : position + 12]) if position < len(text) else "the end"
        super().__init__(f"cannot read system {text!r} at character {position + 1}: expected {expected}, found {found}")
        self.position = position


def parse(text: str) -> VectorSystem:
    """Build the system a spec describes; raises `SpecError` naming the place where reading stopped.

    >>> parse("V22:41") == V(41, 2, 2)
    True
    >>> parse("V22:8^2 x perm[2,0^3]").spec
    'V22:8^2 x perm[2,0^3]'
    """
    factors: list[VectorSystem] = []
    position = 0
    while True:
        system, end = _system(text, position)
        repeats = 1
        if match := _REPEAT.match(text, end):
            repeats = int(match[1])
            if not 1 <= repeats * system.dim <= MAX_DIM:
                raise SpecError(text, end + 1, f"a number of repeats between 1 and {MAX_DIM // system.dim}")
            end = match.end()
        factors += [system] * repeats
        if end == len(text):
            return product(*factors)
        match = _TIMES.match(text, end)
        if match is None:
            raise SpecError(text, end, "'^', ' x ' or the end")
        position = match.end()


def _system(text: str, position: int) -> tuple[VectorSystem, int]:
    """Read one system at `position`; return it and where it ends."""
    try:
        if match := _NAMED.match(text, position):
            return _named(text, match), match.end()
        if match := _BASE.match(text, position):
            return orbit(_levels(text, match), {"perm": "permutations"}.get(match[1], match[1])), match.end()
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(text, position, f"a system that exists ({error})") from None
    raise SpecError(
        text,
        position,
        "a system such as V22:41, V16,16:64, A:32, D:16, W3:35, dense:64, perm[2,1,0^6], signed[2,1,0], even[1^8]",
    )


def _named(text: str, match: re.Match[str]) -> VectorSystem:
    n = int(match[7])
    if n > MAX_DIM:
        raise SpecError(text, match.start(7), f"a dimension up to {MAX_DIM}")
    if match[2]:
        return V(n, int(match[2]), int(match[3]))
    if match[4]:
        return V(n, int(match[4]), int(match[5]))
    if match[6]:
        return weight(n, int(match[6]))
    return {"A": A, "D": D, "dense": dense}[match[1]](n)


def _levels(text: str, match: re.Match[str]) -> list[Fraction]:
    base: list[Fraction] = []
    position = match.start(2)
    for part in match[2].split(","):
        level = _LEVEL.fullmatch(part)
        if level is None:
            raise SpecError(text, position, "a level such as 1, -1/2 or 0^6")
        repeats = int(level[2] or 1)
        if len(base) + repeats > MAX_DIM:
            raise SpecError(text, position, f"at most {MAX_DIM} coordinates")
        try:
            base += [Fraction(level[1])] * repeats
        except ZeroDivisionError:
            raise SpecError(text, position, "a level that is not divided by zero") from None
        position += len(part) + 1
    return base
