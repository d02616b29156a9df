"""Reading a system from its spec string: `parse(system.spec) == system`.

spec   = factor { " x " factor }                a product of blocks
factor = system [ "^" repeats ]
system = "V22:41"           V(41, 2, 2)         "V16,16:64"   V(64, 16, 16)
       | "A:32"             A(32)               "D:16"        D(16)         "B:8", "C:8"   B(8), C(8)
       | "W3:35"            weight(35, 3)       "dense:64"    dense(64)    "graded:64"   graded(64); graded4, graded16
       | "perm[2,1^3,0^4]"  permutations of a base vector; also "signed[...]", "even[...]"
       | "weyl:E6[1,0,0,0,0,0]"                 weyl_orbit("E6", ...)       "roots:F4"     root_system("F4")
       | "interpolated:8,2"                     interpolated_A(8, 2)
       | "random:1000,16,3"                     random_directions(1000, 16, 3)
       | "hadamard_rows:16"                     hadamard_rows(16)
       | "union(" spec { ", " spec } ")"
       | "flat(" spec ")" | "centred(" spec ")" | "scaled(" spec ", " squared norm ")"
       | "embedded(" spec ", " dim ")" | "perturbed(" spec ", " amount ", " key ")"
       | a name of `rootspace.systems.classical.NAMED`, such as "E8" or "RM(1,5)"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial

from rootspace.systems.base import VectorSystem
from rootspace.systems.baselines import hadamard_rows, random_directions
from rootspace.systems.classical import read_named
from rootspace.systems.derived.extended import interpolated_A
from rootspace.systems.derived.mapped import embedded, flat, scaled
from rootspace.systems.derived.perturbed import perturbed
from rootspace.systems.derived.union import union
from rootspace.systems.families import A, B, C, D, V, dense, graded, orbit, product, weight
from rootspace.systems.orbits.optimal import centred
from rootspace.systems.orbits.weyl import root_system, weyl_orbit

_NAMED = re.compile(r"(V(\d+),(\d+)|V(\d)(\d)|W(\d+)|A|B|C|D|dense|graded(?:4|16)?):(\d+)")
_BASE = re.compile(r"(perm|signed|even)\[([^\]]*)\]")
_WEYL = re.compile(r"weyl:([A-G]\d+)\[(-?\d+(?:,-?\d+)*)\]|roots:([A-G]\d+)")
_NUMBERED = re.compile(r"(interpolated|random|hadamard_rows):(\d+(?:,\d+)*)")
_FUNCTION = re.compile(r"(union|flat|centred|scaled|embedded|perturbed)\(")
_DIMENSION = re.compile(r"\w+:(\d+)")
_LEVEL = re.compile(r"\s*(-?\d+(?:/\d+|\.\d+)?)(?:\^(\d+))?\s*")
_NUMBER = re.compile(r"\d+(?:/[1-9]\d*|\.\d+)?")
_REPEAT = re.compile(r"\^(\d+)")
_TIMES = re.compile(r"\s+x\s+")
_COMMA = re.compile(r"\s*,\s*")

#: Dimensions above this are refused: a typing slip should not take all memory.
MAX_DIM = 1_000_000

#: Functions in a spec may be nested this deep.
MAX_DEPTH = 20

#: The functions with one system: constructor and how many numbers follow the system.
_FUNCTIONS: dict[str, tuple[Callable[..., VectorSystem], int]] = {
    "flat": (flat, 0),
    "centred": (centred, 0),
    "scaled": (scaled, 1),
    "embedded": (lambda system, dim: embedded(system, _integer(dim, MAX_DIM)), 1),
    "perturbed": (lambda system, amount, key: perturbed(system, amount, _integer(key)), 2),
}


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
    >>> parse("flat(V11:5)").dim, parse("union(W2:8, even[1/2^8])").size
    (4, 240)
    """
    system, end = _product(text, 0, 0)
    if end < len(text):
        raise SpecError(text, end, "'^', ' x ' or the end")
    return system


def _product(text: str, position: int, depth: int) -> tuple[VectorSystem, int]:
    """Read a product of blocks at `position`; return it and where it ends."""
    factors: list[VectorSystem] = []
    while True:
        system, end = _system(text, position, depth)
        repeats = 1
        if match := _REPEAT.match(text, end):
            repeats = int(match[1])
            if not 1 <= repeats * system.dim <= MAX_DIM:
                raise SpecError(text, end + 1, f"a number of repeats between 1 and {MAX_DIM // system.dim}")
            end = match.end()
        factors += [system] * repeats
        match = _TIMES.match(text, end)
        if match is None:
            return product(*factors), end
        position = match.end()


def _system(text: str, position: int, depth: int) -> tuple[VectorSystem, int]:
    """Read one system at `position`; return it and where it ends."""
    if (match := _DIMENSION.match(text, position)) and int(match[1]) > MAX_DIM:
        raise SpecError(text, match.start(1), f"a dimension up to {MAX_DIM}")
    try:
        if match := _NAMED.match(text, position):
            return _named(match), match.end()
        if match := _BASE.match(text, position):
            return orbit(_levels(text, match), {"perm": "permutations"}.get(match[1], match[1])), match.end()
        if match := _WEYL.match(text, position):
            return _weyl(match), match.end()
        if match := _NUMBERED.match(text, position):
            return _numbered(text, match), match.end()
        if match := _FUNCTION.match(text, position):
            if depth == MAX_DEPTH:
                raise SpecError(text, position, f"functions nested at most {MAX_DEPTH} deep")
            return _function(text, match, depth + 1)
        if found := read_named(text, position):
            return found
    except SpecError:
        raise
    except (ValueError, NotImplementedError, OverflowError) as error:
        raise SpecError(text, position, f"a system that exists ({error})") from None
    raise SpecError(
        text,
        position,
        "a system such as V22:41, V16,16:64, A:32, D:16, W3:35, dense:64, graded:64, "
        "perm[2,1,0^6], signed[2,1,0], even[1^8]",
    )


def _named(match: re.Match[str]) -> VectorSystem:
    n = int(match[7])
    if match[2]:
        return V(n, int(match[2]), int(match[3]))
    if match[4]:
        return V(n, int(match[4]), int(match[5]))
    if match[6]:
        return weight(n, int(match[6]))
    constructors: dict[str, Callable[[int], VectorSystem]] = {
        "A": A,
        "B": B,
        "C": C,
        "D": D,
        "dense": dense,
        "graded": graded,
        "graded4": partial(graded, levels=4),
        "graded16": partial(graded, levels=16),
    }
    return constructors[match[1]](n)


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


def _weyl(match: re.Match[str]) -> VectorSystem:
    if match[3]:
        if int(match[3][1:]) > MAX_DIM:
            raise ValueError(f"a rank is at most {MAX_DIM}")
        return root_system(match[3])
    return weyl_orbit(match[1], [int(value) for value in match[2].split(",")])


def _numbered(text: str, match: re.Match[str]) -> VectorSystem:
    numbers = [int(value) for value in match[2].split(",")]
    constructors: dict[str, tuple[Callable[..., VectorSystem], int]] = {
        "interpolated": (interpolated_A, 2),
        "random": (random_directions, 3),
        "hadamard_rows": (hadamard_rows, 1),
    }
    construct, wanted = constructors[match[1]]
    if len(numbers) != wanted:
        raise SpecError(text, match.start(2), f"{wanted} numbers")
    return construct(*numbers)


def _function(text: str, match: re.Match[str], depth: int) -> tuple[VectorSystem, int]:
    """Read the arguments of a function, whose name and '(' are matched."""
    name, position = match[1], match.end()
    system, position = _product(text, position, depth)
    systems, numbers = [system], []
    while comma := _COMMA.match(text, position):
        position = comma.end()
        if name == "union":
            system, position = _product(text, position, depth)
            systems.append(system)
        else:
            number = _NUMBER.match(text, position)
            if number is None:
                raise SpecError(text, position, "a number such as 12, 0.1 or 1/10")
            numbers.append(Fraction(number[0]))
            position = number.end()
    construct, wanted = _FUNCTIONS.get(name, (union, 0))
    if not text.startswith(")", position) or len(numbers) != wanted:
        raise SpecError(text, position, f"')' after {wanted} numbers" if wanted else "', ' or ')'")
    return construct(*systems, *numbers), position + 1


def _integer(number: Fraction, most: int = 2**63 - 1) -> int:
    if number.denominator != 1 or number > most:
        raise ValueError(f"{number} is not an integer up to {most}")
    return int(number)
