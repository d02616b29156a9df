"""Directions to compare the systems with: random, optimised, equiangular, Hadamard, one-hot.

But for `one_hot`, which is an orbit, these are explicit tables: they hold every vector, and everything about them
is brute force, at a cost and in a memory that grow with their number. That is what the other systems do without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import log, pi

import torch
from torch import Tensor

from rootspace.systems.constants import kept_per_device
from rootspace.systems.derived.keyed import uniform
from rootspace.systems.families import V
from rootspace.systems.listed import Listed
from rootspace.systems.orbits.permutation import PermutationOrbit
from rootspace.systems.table import Table

#: Optimised tables hold an (N, N) matrix of cosines.
OPTIMISED_LIMIT = 8_192

#: Numbers in a random or Hadamard table.
ELEMENT_LIMIT = 2**27


@dataclass(frozen=True)
class _Rebuilt(Listed):
    """A listed system that is made from a few numbers, once for each process."""

    def _build(self) -> Tensor:
        raise NotImplementedError

    @property
    def _table(self) -> Tensor:
        return _rows(self)

    def _like(self, x: Tensor) -> Tensor:
        return _rows_as(x.device, self, x.dtype)


@lru_cache(maxsize=4)
def _rows(system: _Rebuilt) -> Tensor:
    return system._build()


@kept_per_device
def _rows_as(system: _Rebuilt, dtype: torch.dtype) -> Tensor:
    return _rows(system).to(dtype)


@dataclass(frozen=True)
class RandomDirections(_Rebuilt):
    """Independent directions, uniform on the unit sphere: an explicit table, made from its key.

    >>> RandomDirections(1000, 16, key=3).spec
    'random:1000,16,3'
    """

    count: int
    coordinates: int
    key: int = 0

    def __post_init__(self) -> None:
        if self.count < 2 or self.coordinates < 2 or not 0 <= self.key < 2**63:
            raise ValueError(
                "random directions need at least 2 vectors of 2 coordinates and a key in [0, 2^63), "
                f"got {self.count}, {self.coordinates}, {self.key}"
            )
        _check_elements(self.count, self.coordinates)

    @property
    def size(self) -> int:
        return self.count

    @property
    def dim(self) -> int:
        return self.coordinates

    @property
    def squared_norm(self) -> Fraction:
        return Fraction(1)

    @property
    def spec(self) -> str:
        return f"random:{self.count},{self.coordinates},{self.key}"

    def _build(self) -> Tensor:
        # Box and Muller, Ann. Math. Statist. 29 (1958)
        numbers = (uniform(torch.arange(self.count), 2 * self.coordinates, self.key) + 1) / 2
        radius, angle = numbers.split(self.coordinates, dim=1)
        x = (-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * pi * angle)
        return torch.nn.functional.normalize(x, dim=1)


@dataclass(frozen=True)
class HadamardRows(_Rebuilt):
    """The n rows of the Sylvester-Hadamard matrix, n a power of 2: orthogonal, every coordinate 1 or -1.

    An explicit table. It separates as `one_hot` does, with the class spread over all coordinates.
    """

    order: int

    def __post_init__(self) -> None:
        if self.order < 2 or self.order & (self.order - 1):
            raise ValueError(f"a Sylvester-Hadamard matrix has a power of 2 as its order, got {self.order}")
        _check_elements(self.order, self.order)

    @property
    def size(self) -> int:
        return self.order

    @property
    def dim(self) -> int:
        return self.order

    @property
    def squared_norm(self) -> Fraction:
        return Fraction(self.order)

    @property
    def spec(self) -> str:
        return f"hadamard_rows:{self.order}"

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        return {Fraction(1): Fraction(1), Fraction(0): Fraction(self.order - 1)}

    @property
    def max_cosine(self) -> float:
        return 0.0

    @property
    def mcs(self) -> float:
        return 0.0

    def _build(self) -> Tensor:
        rows = torch.ones(1, 1, dtype=torch.float64)
        while len(rows) < self.order:
            rows = torch.cat([torch.cat([rows, rows], 1), torch.cat([rows, -rows], 1)])
        return rows


def random_directions(size: int, dim: int, key: int = 0) -> RandomDirections:
    """`size` independent directions, uniform on the sphere: an explicit table, a function of its key."""
    return RandomDirections(size, dim, key)


def hadamard_rows(n: int) -> HadamardRows:
    """The n orthogonal rows of the Sylvester-Hadamard matrix, n a power of 2: an explicit table."""
    return HadamardRows(n)


def one_hot(n: int) -> PermutationOrbit:
    """The n unit vectors of R^n: V(n, 1, 0), what a classification layer's output is compared with.

    >>> one_hot(10).spec, one_hot(10).max_cosine
    ('V10:10', 0.0)
    """
    return V(n, 1, 0)


def repulsion(size: int, dim: int, steps: int = 500, key: int = 0) -> Table:
    """A spherical code found by optimisation: directions that repel each other, the closest pairs the most.

    An explicit table without a spec: the result depends on the machine's rounding, so it is stored, not rebuilt.
    Gradient descent on a soft maximum of the cosines that gets harder; the result is locally optimal at best.
    Raises `ValueError` for more than `OPTIMISED_LIMIT` vectors.

    >>> round(repulsion(4, 3).max_cosine, 2)  # the tetrahedron
    -0.33
    """
    pairs = log(max(2, size))

    def energy(cosines: Tensor, progress: float) -> Tensor:
        # sharp enough that the soft maximum exceeds the maximum by 0.5 at first and by 0.005 at last
        sharpness = 2 * pairs / (0.5 * 0.01**progress)
        return torch.logsumexp(sharpness * cosines.flatten(), 0) / sharpness

    return Table(_optimised(size, dim, steps, key, energy))


def equiangular_basis(size: int, dim: int, steps: int = 500, key: int = 0) -> Table:
    """Equiangular basis vectors (Shen, Sun and Wei, CVPR 2023, arXiv 2303.11637): all |cosines| made small.

    The largest |cosine| is pushed down by gradient descent, for all pairs at once.
    An explicit table without a spec, as `repulsion`, from which it differs in that opposite vectors repel too;
    its `mcs` says how far it came. Raises `ValueError` for more than `OPTIMISED_LIMIT` vectors.

    >>> round(equiangular_basis(3, 2).mcs, 2)  # three lines at 60 degrees
    0.5
    """
    pairs = log(max(2, size))

    def energy(cosines: Tensor, progress: float) -> Tensor:
        sharpness = 2 * pairs / (0.5 * 0.01**progress)
        flat = cosines.flatten()
        return torch.logsumexp(sharpness * torch.cat([flat, -flat]), 0) / sharpness

    return Table(_optimised(size, dim, steps, key, energy))


def _optimised(size: int, dim: int, steps: int, key: int, energy: Callable[[Tensor, float], Tensor]) -> Tensor:
    """Directions (size, dim) that make an energy of their cosines small, starting from random ones."""
    if size > OPTIMISED_LIMIT:
        raise ValueError(f"optimised codes hold at most {OPTIMISED_LIMIT:,} vectors, got {size:,}")
    if steps < 1:
        raise ValueError(f"steps is a positive number, got {steps}")
    x = RandomDirections(size, dim, key)._build().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.01 ** (step / steps))
    upper = torch.triu_indices(size, size, offset=1)
    for step in range(steps):
        unit = torch.nn.functional.normalize(x, dim=1)
        cosines = (unit @ unit.T)[upper[0], upper[1]]
        optimiser.zero_grad()
        energy(cosines, step / steps).backward()
        optimiser.step()
        schedule.step()
    return torch.nn.functional.normalize(x.detach(), dim=1)


def _check_elements(size: int, dim: int) -> None:
    if size * dim > ELEMENT_LIMIT:
        raise ValueError(f"an explicit table of {size:,} x {dim:,} numbers is above the limit of {ELEMENT_LIMIT:,}")
