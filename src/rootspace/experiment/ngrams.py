"""What texts have in common, seen without training: which bytes or tokens stand in a row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rootspace.data import text_ids

#: Dimensions that n-grams are hashed into.
FEATURES = 512


def ngram_features(texts: Tensor) -> Tensor:
    """Hashed signed counts of the 1-, 2- and 3-grams of bytes or tokens, over the root of the length.

    texts: (B, C, 1, L) in [-1, 1], as `to_tensor` gives them, to (B, 512). A text's start and end count as a 0, so that
    "ab" at the start differs from "ab" within.
    """
    rows = text_ids(texts)
    lengths = (rows > 0).sum(dim=1, keepdim=True).clamp(min=1)
    padded = F.pad(rows, (1, 1))
    counts = torch.zeros(len(rows), FEATURES, device=texts.device)
    for n in (1, 2, 3):
        grams = padded.unfold(1, n, 1)
        # one 0 in a gram is an end, more is padding
        real = (grams > 0).sum(dim=-1) >= max(1, n - 1)
        mixed = _mix((_bytes_in_a_row if texts.shape[1] == 1 else _tokens_in_a_row)(grams) + (n << 24))
        sign = ((mixed >> 16) & 1) * 2 - 1
        counts.scatter_add_(1, mixed % FEATURES, (sign * real).float())
    return counts / lengths.sqrt()


def _bytes_in_a_row(grams: Tensor) -> Tensor:
    """A number below 2^24 for each gram (..., n) of up to three bytes: its own."""
    return (grams << (8 * torch.arange(grams.shape[-1], device=grams.device))).sum(dim=-1)


def _tokens_in_a_row(grams: Tensor) -> Tensor:
    """A number below 2^24 for each gram (..., n) of numbers below 2^24: a hash."""
    code = grams[..., 0]
    for place in range(1, grams.shape[-1]):
        code = _mix(code + (1 << 24)) & 0xFFFFFF ^ grams[..., place]
    return code


def _mix(code: Tensor) -> Tensor:
    """A fixed hash of integers below 2^26 to integers below 2^32; no product leaves int64."""
    low = 0xFFFFFFFF
    code = (code * 0x9E3779B1) & low
    code = ((code ^ (code >> 15)) * 0x2C1B3C6D) & low
    code = ((code ^ (code >> 12)) * 0x297A2D39) & low
    return code ^ (code >> 15)
