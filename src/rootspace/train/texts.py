"""Random changes to a batch of texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rootspace.data.texts import HIDDEN
from rootspace.errors import InputError
from rootspace.train.draws import Draws


@dataclass(frozen=True)
class HideText:
    """Each byte, or each whole token, of texts (B, C, 1, L) in [-1, 1] is hidden with probability `rate`.

    A hidden byte becomes 0xFF, which UTF-8 never uses, a hidden token 0xFFFFFF, which is none. Padding stays. What a
    call does depends on its generator only, and on the texts' places in the batch.

    >>> texts = torch.full((1, 1, 1, 1000), 0.5)
    >>> hidden = HideText(rate=0.5)(texts, torch.Generator().manual_seed(0)) == 1
    >>> bool(0.4 < hidden.float().mean() < 0.6)
    True
    """

    rate: float = 0.05

    def __post_init__(self) -> None:
        if not isinstance(self.rate, (int, float)) or not 0 <= self.rate < 1:
            raise InputError(f"augment rate: expected a share in [0, 1), got {self.rate!r}")

    @torch.no_grad()
    def __call__(self, texts: Tensor, generator: torch.Generator, first: int = 0, of: int | None = None) -> Tensor:
        """Changed texts; `generator` must live on their device. first, of: as of `Augment`."""
        draws = Draws(generator, first, len(texts), len(texts) if of is None else of)
        drawn = draws.uniform(1, *texts.shape[2:]) < self.rate
        real = (texts > -1).any(dim=1, keepdim=True)
        return texts.masked_fill(drawn & real, HIDDEN / 127.5 - 1)
