"""Vector systems: finite sets of directions with exact counting, indexing, decoding and summation."""

from rootspace.systems.base import VectorSystem
from rootspace.systems.families import A, D, V, dense, family, n_min, orbit, product, smallest, weight
from rootspace.systems.orbits import EvenSignedOrbit, PermutationOrbit, SignedOrbit
from rootspace.systems.product import Product
from rootspace.systems.spec import SpecError, parse
from rootspace.systems.table import Table

__all__ = [
    "A",
    "D",
    "EvenSignedOrbit",
    "PermutationOrbit",
    "Product",
    "SignedOrbit",
    "SpecError",
    "Table",
    "V",
    "VectorSystem",
    "dense",
    "family",
    "n_min",
    "orbit",
    "parse",
    "product",
    "smallest",
    "weight",
]
