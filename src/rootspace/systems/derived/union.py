"""Unions of disjoint systems of one norm and one dimension.

The softmax over a union is a mixture of the parts' softmaxes: partitions add, the nearest vector is the best
of the parts' nearest, and a draw first draws a part. Every operation costs the sum of what it costs the parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem
from rootspace.systems.derived.mapped import Embedded, Flat, embedded, flat, scaled
from rootspace.systems.derived.mutual import mutual_cosine, mutual_counts, mutual_mcs


@dataclass(frozen=True)
class Union(VectorSystem):
    """The vectors of all parts; index = the sizes of the parts before + the index in the part.

    parts: disjoint systems. name: the spec, where a constructor has a shorter one; of no meaning otherwise.
    Build it with `union`, which checks that the parts are disjoint.
    """

    parts: tuple[VectorSystem, ...]
    name: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.parts) < 2 or any(isinstance(part, Union) for part in self.parts):
            raise ValueError("a union needs at least two parts, none of them a union")
        for what, values in (
            ("dimension", {part.dim for part in self.parts}),
            ("squared norm", {part.squared_norm for part in self.parts}),
        ):
            if len(values) > 1:
                raise ValueError(
                    f"the parts of a union have one {what}, got {', '.join(map(str, sorted(values)))}: "
                    "scaled brings a system to a norm, embedded to a dimension"
                )

    @property
    def dim(self) -> int:
        return self.parts[0].dim

    @cached_property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def squared_norm(self) -> Fraction:
        return self.parts[0].squared_norm

    @property
    def spec(self) -> str:
        return self.name or f"union({', '.join(part.spec for part in self.parts)})"

    @cached_property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(sorted({value for part in self.parts for value in part.alphabet}, reverse=True))

    @cached_property
    def max_cosine(self) -> float:
        within = [part.max_cosine for part in self.parts]
        return max([*within, *(mutual_cosine(a, b) for a, b in combinations(self.parts, 2))])

    @cached_property
    def mcs(self) -> float:
        within = [part.mcs for part in self.parts]
        return max([*within, *(mutual_mcs(a, b) for a, b in combinations(self.parts, 2))])

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        pairs: dict[Fraction, Fraction] = {}
        for part in self.parts:
            for cosine, count in part.cosine_spectrum().items():
                pairs[cosine] = pairs.get(cosine, Fraction(0)) + count * part.size
        for a, b in combinations(self.parts, 2):
            for cosine, number in mutual_counts(a, b).items():
                pairs[cosine] = pairs.get(cosine, Fraction(0)) + 2 * number
        return {cosine: pairs[cosine] / self.size for cosine in sorted(pairs, reverse=True)}

    def _centroid(self) -> tuple[Fraction, ...]:
        weighted = [[value * part.size for value in part.centroid()] for part in self.parts]
        return tuple(sum(column, Fraction(0)) / self.size for column in zip(*weighted, strict=True))

    # indices: every part answers for all rows, on a vector of its own where the row is not its; then rows choose

    @cached_property
    def _offsets(self) -> tuple[int, ...]:
        return tuple(sum(part.size for part in self.parts[:i]) for i in range(len(self.parts)))

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        vectors = index.new_zeros((len(index), self.dim), dtype=dtype)
        for part, start in zip(self.parts, self._offsets, strict=True):
            own = (index >= start) & (index - start < part.size)
            vectors = torch.where(own[:, None], part._unrank((index - start).clamp(0, part.size - 1), dtype), vectors)
        return vectors

    def _own(self, vectors: Tensor) -> list[tuple[VectorSystem, int, Tensor, Tensor]]:
        """(part, offset, which rows are its own, those rows with the others replaced by a member)."""
        found = []
        for part, start in zip(self.parts, self._offsets, strict=True):
            inside = part._contains(vectors)
            member = part._unrank(torch.zeros(1, dtype=torch.int64, device=vectors.device), vectors.dtype)
            found.append((part, start, inside, torch.where(inside[:, None], vectors, member)))
        return found

    def _rank(self, vectors: Tensor) -> Tensor:
        index = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
        for part, start, inside, rows in self._own(vectors):
            index = torch.where(inside, start + part._rank(rows), index)
        return index

    def _contains(self, vectors: Tensor) -> Tensor:
        return torch.stack([part._contains(vectors) for part in self.parts]).any(0)

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        row = torch.tensor([[float(value) for value in word]], dtype=torch.float64)
        for part, start in zip(self.parts, self._offsets, strict=True):
            if bool(part._contains(row)):
                return start + part.rank_exact(word)
        raise ValueError(f"not a vector of {self.spec}")

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        place = max(i for i, start in enumerate(self._offsets) if start <= index)
        return self.parts[place].unrank_exact(index - self._offsets[place])

    # searching and summing

    def _nearest(self, x: Tensor) -> Tensor:
        found = torch.stack([part._nearest(x) for part in self.parts], dim=1)
        best = (found * x[:, None]).sum(2).argmax(1)
        return _pick(found, best[:, None])[:, 0]

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        found = [part._nearest_k(x, min(k, part.size)) for part in self.parts]
        values, order = torch.cat([values for values, _ in found], dim=1).topk(k, dim=1)
        return values, _pick(torch.cat([vectors for _, vectors in found], dim=1), order)

    @property
    def has_log_partition(self) -> bool:
        return all(part.has_log_partition for part in self.parts)

    def _log_partition(self, z: Tensor) -> Tensor:
        return torch.logsumexp(torch.stack([part._log_partition(z) for part in self.parts]), dim=0)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        sums = [
            torch.where(inside, part._log_partition_without(z, rows), part._log_partition(z))
            for part, _, inside, rows in self._own(excluded)
        ]
        return torch.logsumexp(torch.stack(sums), dim=0)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        if not (len(z) and k):
            return z.new_empty(len(z), k, self.dim)
        weights = torch.softmax(torch.stack([part._log_partition(z) for part in self.parts], dim=1), dim=1)
        chosen = torch.multinomial(weights, k, replacement=True, generator=generator)
        vectors = z.new_empty(len(z), k, self.dim)
        for place, part in enumerate(self.parts):
            drawn = part._sample_vectors(z, k, generator)
            vectors = torch.where((chosen == place)[..., None], drawn, vectors)
        return vectors


def _pick(vectors: Tensor, order: Tensor) -> Tensor:
    """(B, m, n), int64 (B, k) -> (B, k, n)."""
    return vectors.gather(1, order[..., None].expand(-1, -1, vectors.shape[2]))


def union(*systems: VectorSystem, name: str = "") -> VectorSystem:
    """The union of disjoint systems of one norm and one dimension; unions among them are joined.

    Raises `ValueError` where two systems share a vector, or differ in norm or dimension, and
    `NotImplementedError` where disjointness cannot be checked (see `mutual_cosine`).

    >>> from rootspace.systems import D, orbit
    >>> e8 = union(D(8), orbit([0.5] * 8, "even"))
    >>> e8.size, e8.max_cosine, e8.spec
    (240, 0.5, 'union(W2:8, even[1/2^8])')
    """
    if len(systems) > 1 and all(isinstance(system, Flat) for system in systems):
        return flat(union(*(system.inner for system in systems if isinstance(system, Flat))))
    if len({(s.dim, s.inner.dim) for s in systems if isinstance(s, Embedded)}) == 1 and _all_embedded(systems):
        return embedded(union(*(s.inner for s in systems if isinstance(s, Embedded))), systems[0].dim)
    parts = tuple(part for s in systems for part in (s.parts if isinstance(s, Union) else (s,)))
    if len(parts) == 1:
        return parts[0]
    joined = Union(parts, name)
    for a, b in combinations(parts, 2):
        if mutual_cosine(a, b) == 1.0:
            raise ValueError(f"{a.spec} and {b.spec} share vectors: the parts of a union are disjoint")
    return joined


def _all_embedded(systems: tuple[VectorSystem, ...]) -> bool:
    return len(systems) > 1 and all(isinstance(system, Embedded) for system in systems)


def normalised_union(*systems: VectorSystem) -> VectorSystem:
    """The union of systems of different norms, all brought to the norm of the first.

    >>> from rootspace.systems import D, weight
    >>> normalised_union(D(4), weight(4, 1)).spec
    'union(W2:4, scaled(W1:4, 2))'
    """
    if not systems:
        raise ValueError("a union needs at least one system")
    return union(*(scaled(system, systems[0].squared_norm) for system in systems))
