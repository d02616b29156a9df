"""What a benchmark trains on: real data, split so that what is tuned on is never what is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rootspace.data import ImageSet


@dataclass(frozen=True)
class Task:
    """Training images, and two kinds of held-out sets.

    tuning: sets that learning rates are chosen on. untouched: sets that nothing was chosen on; reported once.
    backbone: makes a fresh network with `feature_dim`; weights drawn from torch's global generator, or pretrained.
    augment: (images (B, C, H, W) in [-1, 1], generator) -> images, or None.
    features: (images (B, C, H, W) in [-1, 1]) -> (B, d), what the class statistics are taken of; None takes
    pooled pixels. about: where the data comes from, for the result file.
    """

    name: str
    train: ImageSet
    tuning: Mapping[str, ImageSet]
    untouched: Mapping[str, ImageSet]
    backbone: Callable[[], nn.Module]
    augment: Callable[..., Tensor] | None
    features: Callable[[Tensor], Tensor] | None
    about: Mapping[str, Any]
