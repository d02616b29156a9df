"""Which system holds a number of classes: the smallest member of each family, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from rootspace.systems.base import VectorSystem
from rootspace.systems.families import family, smallest

#: The families a plan compares unless told otherwise.
FAMILIES = ("A", "V21", "V22", "V33", "D", "W3", "W4", "dense")


@dataclass(frozen=True)
class Option:
    """One family's smallest system for a number of classes."""

    family: str
    system: VectorSystem
    n_classes: int

    @property
    def fill(self) -> float:
        """The share of the system's vectors that the classes use."""
        return self.n_classes / self.system.size

    @property
    def bits(self) -> float:
        """log2 of the system's size: what it takes to name a class's vector."""
        return self.system.bits

    def to_dict(self) -> dict[str, object]:
        """The option as JSON values; the size is a string, as JSON numbers may lose digits."""
        return {
            "family": self.family,
            "spec": self.system.spec,
            "n_min": self.system.dim,
            "size": str(self.system.size),
            "fill": self.fill,
            "max_cosine": self.system.max_cosine,
            "mcs": self.system.mcs,
            "bits": self.bits,
        }


def plan(n_classes: int, families: Sequence[str] = FAMILIES) -> list[Option]:
    """The smallest system of each family that holds n_classes, smallest dimension first.

    Raises `ValueError` for an unknown family or fewer than one class.

    >>> [(option.system.spec, round(option.fill, 2)) for option in plan(600_000, ["V22", "V21", "A"])]
    [('V22:41', 0.99), ('V21:108', 0.98), ('V11:776', 1.0)]
    """
    for name in families:
        family(name)
    options = [Option(name, smallest(name, n_classes), n_classes) for name in families]
    return sorted(options, key=lambda option: (option.system.dim, option.system.max_cosine))


def readable_size(size: int) -> str:
    """A size for a table: exact with separators up to 10^12, then as a power of ten.

    >>> readable_size(607_620), readable_size(10**30)
    ('607,620', '1.0e30')
    """
    if size < 10**12:
        return f"{size:,}"
    exponent = int(log10(size))
    return f"{size // 10 ** (exponent - 1) / 10:.1f}e{exponent}"
