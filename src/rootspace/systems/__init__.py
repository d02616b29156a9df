"""Vector systems: finite sets of directions with exact counting, indexing, decoding and summation."""

from rootspace.systems.base import VectorSystem
from rootspace.systems.baselines import equiangular_basis, hadamard_rows, one_hot, random_directions, repulsion
from rootspace.systems.classical import (
    BW16,
    E8,
    CodeVectors,
    Kerdock,
    Leech,
    MinimalVectors,
    Simplex,
    binary_code,
    extended_bch,
    golay,
    half_cube,
    hypercube,
    kerdock,
    orthoplex,
    reed_muller,
    simplex,
)
from rootspace.systems.derived.extended import extended, extensions, interpolated_A
from rootspace.systems.derived.mapped import embedded, flat, scaled
from rootspace.systems.derived.mutual import mutual_cosine
from rootspace.systems.derived.perturbed import Perturbed, perturbed
from rootspace.systems.derived.product import Product
from rootspace.systems.derived.union import Union, normalised_union, union
from rootspace.systems.families import A, B, C, D, V, dense, family, graded, n_min, orbit, product, smallest, weight
from rootspace.systems.orbits.optimal import centred, optimal_levels, optimal_orbit
from rootspace.systems.orbits.permutation import PermutationOrbit
from rootspace.systems.orbits.signed import EvenSignedOrbit, SignedOrbit
from rootspace.systems.orbits.weyl import root_system, weyl_orbit
from rootspace.systems.planning.bounds import Bounds
from rootspace.systems.planning.planner import FAMILIES, InfeasibleError, Option, plan, readable_size
from rootspace.systems.spec import SpecError, parse
from rootspace.systems.table import Table

__all__ = [
    "BW16",
    "E8",
    "FAMILIES",
    "A",
    "B",
    "Bounds",
    "C",
    "CodeVectors",
    "D",
    "EvenSignedOrbit",
    "InfeasibleError",
    "Kerdock",
    "Leech",
    "MinimalVectors",
    "Option",
    "PermutationOrbit",
    "Perturbed",
    "Product",
    "SignedOrbit",
    "Simplex",
    "SpecError",
    "Table",
    "Union",
    "V",
    "VectorSystem",
    "binary_code",
    "centred",
    "dense",
    "embedded",
    "equiangular_basis",
    "extended",
    "extended_bch",
    "extensions",
    "family",
    "flat",
    "golay",
    "graded",
    "hadamard_rows",
    "half_cube",
    "hypercube",
    "interpolated_A",
    "kerdock",
    "mutual_cosine",
    "n_min",
    "normalised_union",
    "one_hot",
    "optimal_levels",
    "optimal_orbit",
    "orbit",
    "orthoplex",
    "parse",
    "perturbed",
    "plan",
    "product",
    "random_directions",
    "readable_size",
    "reed_muller",
    "repulsion",
    "root_system",
    "scaled",
    "simplex",
    "smallest",
    "union",
    "weight",
    "weyl_orbit",
]
