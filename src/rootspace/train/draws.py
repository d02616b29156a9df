"""Random numbers for samples of a batch that several processes share: each process draws what the whole batch would."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

#: Many numbers a sample are drawn for so many samples at a time, so that a process need not draw those of all others.
BLOCK = 128


@dataclass(frozen=True)
class Draws:
    """Draws for the samples from `first` on, `own` of them, in a batch of `of`.

    The draws of a sample depend on the generator and on its place in the batch, not on which samples are its process's
    own. The generator must be in the same state in all processes; it stays so until `normal`.

    >>> whole, part = (Draws(torch.Generator().manual_seed(5), *place) for place in ((0, 4, 4), (1, 2, 4)))
    >>> torch.equal(whole.uniform()[1:3], part.uniform())
    True
    """

    generator: torch.Generator
    first: int
    own: int
    of: int

    def uniform(self, *shape: int) -> Tensor:
        """(own, *shape) float32, uniform in [0, 1); of few numbers a sample, because those of all samples are drawn."""
        drawn = torch.rand(self.of, *shape, generator=self.generator, device=self.generator.device)
        return drawn[self.first : self.first + self.own]

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `like` (own, ...); the last draw, because generators part here."""
        seed, parts = self.generator.initial_seed(), []
        for block in range(self.first // BLOCK, -(-(self.first + self.own) // BLOCK)):
            start = block * BLOCK
            if block:
                self.generator.manual_seed(mixed(seed, block))
            drawn = like.new_empty(min(BLOCK, self.of - start), *like.shape[1:]).normal_(generator=self.generator)
            parts.append(drawn[max(0, self.first - start) : self.first + self.own - start])
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def mixed(*parts: object) -> int:
    """A seed of 63 bits from any parts: neighbouring steps must not get related generators."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
