"""Vector systems: finite sets of directions with exact counting, indexing, decoding and summation."""

from rootspace.systems.base import VectorSystem
from rootspace.systems.families import A, D, V, dense, family, n_min, orbit, product, smallest, weight
from rootspace.systems.permutation import PermutationOrbit
from rootspace.systems.planner import FAMILIES, Option, plan, readable_size
from rootspace.systems.product import Product
from rootspace.systems.signed import EvenSignedOrbit, SignedOrbit
from rootspace.systems.spec import SpecError, parse
from rootspace.systems.table import Table

__all__ = [
    "FAMILIES",
    "A",
    "D",
    "EvenSignedOrbit",
    "Option",
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
    "plan",
    "product",
    "readable_size",
    "smallest",
    "weight",
]
