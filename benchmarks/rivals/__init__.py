"""What a user would take instead of rootspace, and rootspace's own losses, all with one interface.

Each is a module `loss(embeddings (B, n), labels (B,)) -> scalar` with `nearest(embeddings, k) -> (scores, labels)`,
both (..., k), best first, with `n_classes` and `dim`, so that `rootspace.train.fit` trains any of them.

    >>> loss = build("arcface", n_classes=1000, dim=128, seed=0, scale=32.0)

`RIVALS` lists them. `nearest` never holds more than `common.SCORE_ELEMENTS` scores at a time (the adaptive softmax: or
one query's, where the classes are more than that).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rivals import own
from rivals.bits import BitCodes
from rivals.fixed import equiangular_softmax, random_softmax
from rivals.learned import AdaptiveSoftmax, Linear, arcface, cosface, normalised_softmax
from rivals.sampled import PartialSoftmax

__all__ = ["RIVALS", "Rival", "build"]


@dataclass(frozen=True)
class Rival:
    """How a method is made, what it is, where it comes from.

    make: (n_classes, dim, seed, and options of the method's own) -> the loss. Tight systems choose their own dim.
    optimiser: what its parameters need: "adamw" (any dense one), "sparse_adam" (gradients are sparse), "none".
    """

    make: Callable[..., nn.Module]
    about: str
    source: str
    optimiser: str = "none"


RIVALS: dict[str, Rival] = {
    "linear": Rival(
        lambda n_classes, dim, seed, **options: Linear(dim, n_classes, **options),
        "a learned linear layer with cross-entropy",
        "rootspace.losses.LinearHead",
        "adamw",
    ),
    "arcface": Rival(
        arcface,
        "learned directions, additive angular margin; margin 28.6 degrees (0.5), scale 64, as published",
        "Deng et al., arXiv 1801.07698; pytorch-metric-learning ArcFaceLoss",
        "adamw",
    ),
    "cosface": Rival(
        cosface,
        "learned directions, additive cosine margin; margin 0.35, scale 64, as published",
        "Wang et al., arXiv 1801.09414; pytorch-metric-learning CosFaceLoss",
        "adamw",
    ),
    "normalised softmax": Rival(
        normalised_softmax,
        "learned directions, no margin; scale 20 (temperature 0.05), the published one",
        "Zhai and Wu, arXiv 1811.12649; pytorch-metric-learning NormalizedSoftmaxLoss",
        "adamw",
    ),
    "partial fc": Rival(
        lambda n_classes, dim, seed, **options: PartialSoftmax(n_classes, dim, seed, **options),
        "learned directions, cosine softmax with margin 0.4 and scale 64 over the batch's classes and a uniform "
        "sample, a tenth of all; the gradient is dense, so AdamW decays and moves all rows at every step",
        "An et al., CVPR 2022, arXiv 2203.15565",
        "adamw",
    ),
    "partial fc, sparse": Rival(
        lambda n_classes, dim, seed, **options: PartialSoftmax(n_classes, dim, seed, sparse=True, **options),
        "the same with sparse gradients: the optimiser touches the sampled rows only, and has to be SparseAdam or SGD",
        "An et al., CVPR 2022, arXiv 2203.15565",
        "sparse_adam",
    ),
    "adaptive softmax": Rival(
        lambda n_classes, dim, seed, **options: AdaptiveSoftmax(n_classes, dim, **options),
        "a learned head for the most frequent 5 % of the classes, smaller layers for the next 15 % and the last 80 %, "
        "of a quarter and a sixteenth of the dimensions",
        "Grave et al., arXiv 1609.04309; torch.nn.AdaptiveLogSoftmaxWithLoss",
        "adamw",
    ),
    "random vectors": Rival(
        random_softmax,
        "fixed random directions, cosine softmax over all classes, scale 16",
        "the simplest predefined vectors",
    ),
    "equiangular": Rival(
        equiangular_softmax,
        "fixed directions of small largest |cosine|, optimised up to 20,000 classes and random beyond; cosine softmax "
        "over all classes, temperature 0.07",
        "Shen, Sun and Wei, CVPR 2023, arXiv 2303.11637 (Equiangular Basis Vectors)",
    ),
    "bits": Rival(
        lambda n_classes, dim, seed, **options: BitCodes(n_classes, dim, seed, **options),
        "a code of n bits a class (a Hadamard row or its opposite up to 2n classes, pseudo-random beyond), binary "
        "cross-entropy of each bit, decoding to the nearest code",
        "Dietterich and Bakiri, JAIR 2 (1995); Yang et al., AAAI 2015",
    ),
    "paper": Rival(
        own.paper,
        "cosine loss to shuffled vectors of V22 at n_min",
        "Gabdullin, arXiv 2512.07509; rootspace.losses.CosineLoss",
    ),
    "system softmax": Rival(
        own.system_softmax,
        "softmax over every vector of V22 at n_min, shuffled; scale 32",
        "rootspace.losses.SystemSoftmax",
    ),
    "class softmax": Rival(
        own.class_softmax,
        "softmax over all classes, among random vectors of graded:n; scale 24, margin 0.1",
        "rootspace.losses.ClassSoftmax",
    ),
    "neighbour softmax": Rival(
        own.neighbour_softmax,
        "softmax over the batch's classes and the 16 nearest of each, among random vectors of graded:n; scale 24, "
        "margin 0.1",
        "rootspace.losses.NeighbourSoftmax",
    ),
    "batch softmax": Rival(
        own.batch_softmax,
        "softmax over the batch's classes, shuffled vectors of V22 at n_min; scale 32",
        "rootspace.losses.BatchSoftmax",
    ),
}


def build(name: str, n_classes: int, dim: int, seed: int = 0, **options: Any) -> nn.Module:
    """The loss of that name, ready to train; the same seed gives the same start, and torch's own generator stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss: nn.Module = RIVALS[name].make(n_classes, dim, seed, **options)
    return loss
