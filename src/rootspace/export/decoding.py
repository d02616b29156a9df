"""Modules that find the nearest classes of unit embeddings, made of operations that every runtime has.

`Compared` holds all classes' vectors and compares; `Decoded` holds none: it finds the nearest vectors of the system
by their structure, numbers them, and undoes the shuffle, in int64 throughout. Both are exact.
"""

from __future__ import annotations

from math import comb, log

import torch
from torch import Tensor, nn

from rootspace.assign import Assignment, ShuffledAssignment, TableAssignment
from rootspace.assign.codes import decode, encode, stored_as_index
from rootspace.errors import InputError
from rootspace.export.words import nearest_words
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX
from rootspace.systems.derived.mapped import Mapped
from rootspace.systems.derived.product import Product
from rootspace.systems.orbits.orbit import Orbit
from rootspace.systems.orbits.signed import EvenSignedOrbit, SignedOrbit

#: Up to this many classes their vectors are stored in the graph and compared, which takes the fewest steps.
DECODE_ABOVE = 8192

#: Classes compared at a time: the scores of a batch of B images with them take 4 B times this many bytes.
BLOCK = 2**16

#: Vectors of the system looked at for each image, at most; where more are needed, vectors are stored.
MOST_CANDIDATES = 128

#: An image whose classes are not all among the vectors looked at may come once in this many images.
ONCE_IN = 1e12


def decoder(assignment: Assignment, k: int, compared: bool = False) -> Compared | Decoded:
    """What maps unit embeddings (B, n) to the k best cosines (B, k) and labels (B, k), int64.

    Nothing is stored for a class where the assignment is a shuffle, the system an orbit (or in other coordinates, or
    a product of orbits) and much of it in use, unless all classes are to be `compared`; otherwise a byte a coordinate
    is. Raises `InputError` while the classes' vectors are moving.
    """
    if isinstance(assignment, TableAssignment) and assignment.released is not None:
        raise InputError("the classes' vectors are still moving: call settle() on the assignment before exporting")
    if isinstance(assignment, ShuffledAssignment) and assignment.n_classes > DECODE_ABOVE and not compared:
        width = candidates(assignment.system.size, assignment.n_classes, k)
        searched = None if width is None else _search(assignment.system, width)
        # the longest walk is found here, before tracing: it is the number of steps in the graph
        if searched is not None and assignment.shuffle._longest_walk is not None:
            return Decoded(assignment, searched, k)
    return Compared(assignment, k)


def candidates(size: int, n_classes: int, k: int) -> int | None:
    """How many nearest vectors to look at, so that k of them are in use: None if more than `MOST_CANDIDATES`.

    With size - n_classes + k of them that is certain. With fewer, each is in use with the share n_classes / size of
    the vectors, whichever the embedding, and the number is taken at which fewer than k in use are less likely than
    one in `ONCE_IN`.

    >>> candidates(607_620, 600_000, 5), candidates(607_620, 607_620, 5), candidates(607_620, 10_000, 5)
    (12, 5, None)
    """
    certain = size - n_classes + k
    used = n_classes / size
    for width in range(k, min(certain, MOST_CANDIDATES + 1)):
        # the binomial distribution, which a draw without replacement is more concentrated than
        few = sum(comb(width, j) * used**j * (1 - used) ** (width - j) for j in range(k))
        if few == 0 or log(few) < -log(ONCE_IN):
            return width
    return certain if certain <= MOST_CANDIDATES else None


# ---------------------------------------------------------------------- every class compared


class Compared(nn.Module):
    """All class vectors as codes of one byte a coordinate (as float32 where that is too little), compared in blocks."""

    letters: Tensor

    def __init__(self, assignment: Assignment, k: int) -> None:
        super().__init__()
        system = assignment.system
        self.k, self.norm, self.n_classes, self.blocks = k, system.norm, assignment.n_classes, 0
        self.system, self.coded = system, not stored_as_index(system)
        letters = [float(value) for value in system.alphabet] if self.coded else []
        self.register_buffer("letters", torch.tensor(letters))
        for start in range(0, assignment.n_classes, BLOCK):
            vectors = assignment.vectors(torch.arange(start, min(start + BLOCK, assignment.n_classes)))
            self.register_buffer(f"codes{self.blocks}", encode(system, vectors) if self.coded else vectors)
            self.blocks += 1

    def cosines(self, unit: Tensor, block: int) -> Tensor:
        """(B, n) -> the cosines with one block of classes."""
        return unit @ self._decoded(self.get_buffer(f"codes{block}")).T / self.norm

    def vectors(self, labels: Tensor) -> Tensor:
        """The vectors of classes: int64 (B,) -> (B, n)."""
        parts = [self.get_buffer(f"codes{block}") for block in range(self.blocks)]
        codes = parts[0][labels.clamp(max=len(parts[0]) - 1)]
        for block in range(1, self.blocks):
            place = labels - block * BLOCK
            codes = torch.where(place[:, None] >= 0, parts[block][place.clamp(0, len(parts[block]) - 1)], codes)
        return self._decoded(codes)

    def log_sum(self, embeddings: Tensor, scale: float) -> Tensor:
        """log of the sum over all classes of exp(scale cosine): unit embeddings (B, n) -> (B,)."""
        sums = [torch.logsumexp(scale * self.cosines(embeddings, block), dim=1) for block in range(self.blocks)]
        return torch.logsumexp(torch.stack(sums, dim=1), dim=1)

    def _decoded(self, codes: Tensor) -> Tensor:
        return decode(self.system, codes, self.letters) if self.coded else codes

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        best, labels = self.cosines(unit, 0).topk(min(self.k, self.n_classes, BLOCK), dim=1)
        for block in range(1, self.blocks):
            scores, place = self.cosines(unit, block).topk(min(self.k, self.n_classes - block * BLOCK), dim=1)
            best, order = torch.cat([best, scores], dim=1).topk(self.k, dim=1)
            labels = torch.cat([labels, place + block * BLOCK], dim=1).gather(1, order)
        return best, labels


# ---------------------------------------------------------------------- the nearest vectors, by their structure


class Decoded(nn.Module):
    """The nearest vectors of the system, the numbers of their classes, and of these the first k in use.

    Where fewer than k of the vectors looked at are in use, labels are -1 and their cosines NaN.
    """

    def __init__(self, assignment: ShuffledAssignment, nearest: _Nearest, k: int) -> None:
        super().__init__()
        self.nearest, self.shuffle, self.k = nearest, assignment.shuffle, k
        self.n_classes, self.norm = assignment.n_classes, assignment.system.norm

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        values, index = self.nearest(unit)
        classes = self.shuffle.inverse(index)
        width = self.nearest.width
        places = torch.arange(width, device=unit.device)
        # those in use, in order of nearness: small numbers, exact as integers
        order = torch.where(classes < self.n_classes, places, places + width)
        order, place = order.topk(self.k, dim=1, largest=False)
        missing = order >= width
        scores = (values / self.norm).gather(1, place).masked_fill(missing, float("nan"))
        return scores, classes.gather(1, place).masked_fill(missing, -1)


class _Nearest(nn.Module):
    """Unit embeddings (B, n) -> the `width` largest inner products (B, width), descending, and int64 indices."""

    width: int


class _OfOrbit(_Nearest):
    words: Tensor
    losses: Tensor
    places: Tensor

    def __init__(self, orbit: Orbit, words: Tensor, width: int) -> None:
        super().__init__()
        self.orbit, self.width = orbit, width
        differing = (words != words[0]).any(dim=0)
        self.register_buffer("words", words.float())
        self.register_buffer("places", differing.nonzero()[:, 0])
        self.register_buffer("losses", (words[0] - words)[:, differing].float().T.contiguous())

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        signs = self._signs(unit)
        standard, order = (unit if signs is None else unit * signs).topk(self.orbit.dim, dim=1)
        # differences from the nearest word are small, so that equally near words get equal values
        losses, pick = (standard[:, self.places] @ self.losses).topk(self.width, dim=1, largest=False)
        values = (standard * self.words[0]).sum(1, keepdim=True) - losses
        words = self.words[pick]
        vectors = torch.zeros_like(words).scatter(2, order[:, None].expand_as(words), words)
        if signs is not None:
            vectors = vectors * signs[:, None]
        return values, self.orbit._rank(vectors.flatten(0, 1)).reshape(values.shape)

    def _signs(self, unit: Tensor) -> Tensor | None:
        """What makes an embedding standard, but for its order: 1 or -1 for each coordinate, or None for no change."""
        if not isinstance(self.orbit, SignedOrbit):
            return None
        signs = torch.where(unit < 0, -1.0, 1.0)
        if not isinstance(self.orbit, EvenSignedOrbit):
            return signs
        # signs must have the system's parity: the cheapest to change is that of the smallest coordinate
        wrong = ((unit < 0).sum(1, keepdim=True) % 2 == 1) != self.orbit.odd
        smallest = torch.arange(self.orbit.dim, device=unit.device) == unit.abs().argmin(1, keepdim=True)
        return torch.where(wrong & smallest, -signs, signs)


class _OfMapped(_Nearest):
    def __init__(self, mapped: Mapped, inner: _Nearest) -> None:
        super().__init__()
        self.mapped, self.inner, self.width = mapped, inner, inner.width

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.inner(self.mapped._into(unit))
        return found


class _OfProduct(_Nearest):
    def __init__(self, product: Product, factors: list[_Nearest], width: int) -> None:
        super().__init__()
        self.product, self.width, self.factors = product, width, nn.ModuleList(factors)

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        # the best of a sum of independent choices are among the sums of the best of each
        values = unit.new_zeros(unit.shape[0], 1)
        index = torch.zeros_like(values, dtype=torch.int64)
        systems = self.product._factors
        parts = unit.split([system.dim for system in systems], dim=1)
        for system, factor, part in zip(systems, self.factors, parts, strict=True):
            found, digits = factor(part)
            sums = (values[:, :, None] + found[:, None]).flatten(1)
            numbers = (index[:, :, None] * system.size + digits[:, None]).flatten(1)
            values, pick = sums.topk(min(self.width, sums.shape[1]), dim=1)
            index = numbers.gather(1, pick)
        return values, index


def _search(system: VectorSystem, width: int) -> _Nearest | None:
    """The search for the `width` nearest vectors, or None where it has no small graph."""
    width = min(width, system.size)
    if system.size > INT64_MAX:
        return None
    if isinstance(system, Orbit):
        words = nearest_words(system, width)
        return None if words is None else _OfOrbit(system, torch.from_numpy(words), width)
    if isinstance(system, Mapped):
        inner = _search(system.inner, width)
        return None if inner is None else _OfMapped(system, inner)
    if isinstance(system, Product):
        factors = [_search(factor, width) for factor in system._factors]
        return _OfProduct(system, [f for f in factors if f is not None], width) if None not in factors else None
    return None
