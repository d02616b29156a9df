"""Products: blocks of coordinates, each with a system of its own.

The softmax over a product is the product of the blocks' softmaxes: log-partitions add, and the nearest vector
is found block by block. (Blocks of small systems are the product quantisers of vector search.)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem


@dataclass(frozen=True)
class Product(VectorSystem):
    """All concatenations of one vector from each block: sizes multiply, dimensions and squared norms add.

    blocks: (system, how many times it is repeated) pairs, in the order of the coordinates.

    >>> from rootspace.systems import V
    >>> Product(((V(8, 2, 2), 8),)).size == 420**8
    True
    """

    blocks: tuple[tuple[VectorSystem, int], ...]

    def __post_init__(self) -> None:
        if not self.blocks or any(repeat < 1 for _, repeat in self.blocks):
            raise ValueError("a product needs at least one block, each repeated at least once")
        if any(isinstance(system, Product) for system, _ in self.blocks):
            raise ValueError("give the blocks of a nested product in one list")
        if sum(repeat for _, repeat in self.blocks) == 1:
            raise ValueError("a product of one block is that block: use it directly")

    @cached_property
    def dim(self) -> int:
        return sum(system.dim * repeat for system, repeat in self.blocks)

    @cached_property
    def size(self) -> int:
        return prod(system.size**repeat for system, repeat in self.blocks)

    @cached_property
    def squared_norm(self) -> Fraction:
        return sum((system.squared_norm * repeat for system, repeat in self.blocks), Fraction(0))

    @property
    def spec(self) -> str:
        return " x ".join(f"{system.spec}^{repeat}" if repeat > 1 else system.spec for system, repeat in self.blocks)

    @cached_property
    def alphabet(self) -> tuple[Fraction, ...]:
        return tuple(sorted({value for system, _ in self.blocks for value in system.alphabet}, reverse=True))

    @property
    def max_cosine(self) -> float:
        # the closest pair differs in one block
        return max(1 - (1 - s.max_cosine) * float(s.squared_norm / self.squared_norm) for s, _ in self.blocks)

    @cached_property
    def mcs(self) -> float:
        cosines = [abs(cosine) for cosine in self.cosine_spectrum() if abs(cosine) != 1]
        return float(max(cosines, default=Fraction(0)))

    def cosine_spectrum(self) -> dict[Fraction, Fraction]:
        total: dict[Fraction, Fraction] = {Fraction(0): Fraction(1)}
        for system in self._factors:
            spectrum, weight = system.cosine_spectrum(), system.squared_norm / self.squared_norm
            following: dict[Fraction, Fraction] = {}
            for cosine, ways in total.items():
                for other, count in spectrum.items():
                    key = cosine + other * weight
                    following[key] = following.get(key, Fraction(0)) + ways * count
            total = following
        return dict(sorted(total.items(), reverse=True))

    @cached_property
    def _factors(self) -> tuple[VectorSystem, ...]:
        return tuple(system for system, repeat in self.blocks for _ in range(repeat))

    def _split(self, x: Tensor) -> list[tuple[VectorSystem, Tensor]]:
        """Each distinct block with its coordinates as a batch of its own: (B, n) -> [(system, (B, repeat, m))]."""
        parts = x.split([system.dim * repeat for system, repeat in self.blocks], dim=-1)
        return [
            (system, part.reshape(x.shape[0], repeat, system.dim))
            for (system, repeat), part in zip(self.blocks, parts, strict=True)
        ]

    def _centroid(self) -> tuple[Fraction, ...]:
        return tuple(value for system in self._factors for value in system.centroid())

    # index: the blocks' indices are the digits of a mixed radix, the first block's the highest

    def _rank(self, vectors: Tensor) -> Tensor:
        index = torch.zeros(vectors.shape[0], dtype=torch.int64, device=vectors.device)
        for system, parts in self._split(vectors):
            digits = system._rank(parts.reshape(-1, system.dim)).reshape(parts.shape[:2])
            for digit in digits.unbind(1):
                index = index * system.size + digit
        return index

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        parts = []
        for system in reversed(self._factors):
            parts.append(system._unrank(index % system.size, dtype))
            index = index // system.size
        return torch.cat(parts[::-1], dim=1)

    def _contains(self, vectors: Tensor) -> Tensor:
        inside = torch.ones(vectors.shape[0], dtype=torch.bool, device=vectors.device)
        for system, parts in self._split(vectors):
            inside &= system._contains(parts.reshape(-1, system.dim)).reshape(parts.shape[:2]).all(1)
        return inside

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        index, start = 0, 0
        for system in self._factors:
            index = index * system.size + system._rank_exact(word[start : start + system.dim])
            start += system.dim
        return index

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        parts: list[tuple[Fraction, ...]] = []
        for system in reversed(self._factors):
            index, digit = divmod(index, system.size)
            parts.append(system._unrank_exact(digit))
        return tuple(value for part in reversed(parts) for value in part)

    def _nearest(self, x: Tensor) -> Tensor:
        found = [system._nearest(parts.reshape(-1, system.dim)) for system, parts in self._split(x)]
        return torch.cat(
            [v.reshape(x.shape[0], s.dim * r) for v, (s, r) in zip(found, self.blocks, strict=True)], dim=1
        )

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        # the k best of a sum of independent choices are among the sums of the k best of each
        values, vectors = x.new_zeros(x.shape[0], 1), x.new_zeros(x.shape[0], 1, 0)
        for system, parts in self._split(x):
            width = min(k, system.size)
            found, words = system._nearest_k(parts.reshape(-1, system.dim), width)
            found = found.reshape(*parts.shape[:2], width)
            words = words.reshape(*parts.shape[:2], width, system.dim)
            for block in range(parts.shape[1]):
                sums = (values[:, :, None] + found[:, block, None, :]).flatten(1)
                values, pick = sums.topk(min(k, sums.shape[1]), dim=1)
                head = vectors.gather(1, (pick // width)[..., None].expand(-1, -1, vectors.shape[2]))
                tail = words[:, block].gather(1, (pick % width)[..., None].expand(-1, -1, system.dim))
                vectors = torch.cat([head, tail], dim=2)
        return values, vectors

    @property
    def has_log_partition(self) -> bool:
        return all(system.has_log_partition for system, _ in self.blocks)

    def _log_partition(self, z: Tensor) -> Tensor:
        sums = [
            system._log_partition(parts.reshape(-1, system.dim)).reshape(parts.shape[:2]).sum(1)
            for system, parts in self._split(z)
        ]
        return torch.stack(sums).sum(0)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        # a word differs first in some block: all before it are the excluded ones, all after it are free
        pieces = []
        for (system, parts), (_, words) in zip(self._split(z), self._split(excluded), strict=True):
            flat, flat_words = parts.reshape(-1, system.dim), words.reshape(-1, system.dim)
            own = (flat * flat_words).sum(1)
            others = system._log_partition_without(flat, flat_words)
            pieces.append(torch.stack([own, others, system._log_partition(flat)]).reshape(3, *parts.shape[:2]))
        own, others, free = torch.cat(pieces, dim=2)
        before = own.cumsum(1) - own
        after = free.flip(1).cumsum(1).flip(1) - free
        return torch.logsumexp(before + others + after, dim=1)

    def _random(self, k: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
        drawn = [system._random(k * r, generator, like).reshape(k, r * system.dim) for system, r in self.blocks]
        return torch.cat(drawn, dim=1)

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        drawn = [
            system._sample_vectors(parts.reshape(-1, system.dim), k, generator)
            .reshape(*parts.shape[:2], k, system.dim)
            .transpose(1, 2)
            .reshape(z.shape[0], k, parts.shape[1] * system.dim)
            for system, parts in self._split(z)
        ]
        return torch.cat(drawn, dim=2)
