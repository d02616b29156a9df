"""Telling samples of known classes from samples of classes never seen, by any score that is larger for known ones.

What scores there are: `rootspace.models.signals`; with some samples of other classes at hand, the probability that
`rootspace.models.Detector` makes of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from rootspace.errors import InputError


@dataclass(frozen=True)
class Rejection:
    """Answer "none of the known" where the best score is below `threshold`.

    `auroc`: probability that a known sample scores above an unknown one (ties count half);
    `false_rejection_rate`: the share of known samples that the threshold rejects, at most what was asked for;
    `unknown_rejected`: the share of unknown samples that it rejects.
    """

    threshold: float
    auroc: float
    false_rejection_rate: float
    unknown_rejected: float
    n_known: int
    n_unknown: int


def rejection(
    known_scores: np.ndarray | Tensor,
    unknown_scores: np.ndarray | Tensor,
    false_rejection_rate: float = 0.05,
) -> Rejection:
    """The highest threshold that rejects at most `false_rejection_rate` of the known scores (N,), and how it
    does on the unknown scores (M,).

    Raises `InputError` for empty or NaN scores and for a rate outside [0, 1).

    >>> found = rejection(np.array([0.9, 0.8, 0.7, 0.4]), np.array([0.5, 0.3]), false_rejection_rate=0.25)
    >>> found.threshold, found.auroc, found.false_rejection_rate, found.unknown_rejected
    (0.7, 0.875, 0.25, 1.0)
    """
    if not 0.0 <= false_rejection_rate < 1.0:
        raise InputError(f"false_rejection_rate: expected a share in [0, 1), got {false_rejection_rate}")
    known, unknown = np.sort(_scores(known_scores, "known")), _scores(unknown_scores, "unknown")
    # a hair more than the product: 0.3 * 10 must allow 3, whatever floating point makes of it
    threshold = known[math.floor(false_rejection_rate * len(known) + 1e-9)]
    return Rejection(
        float(threshold),
        auroc(known, unknown),
        float((known < threshold).mean()),
        float((unknown < threshold).mean()),
        len(known),
        len(unknown),
    )


def rejections(
    known: Mapping[str, np.ndarray | Tensor],
    unknown: Mapping[str, np.ndarray | Tensor],
    false_rejection_rate: float = 0.05,
) -> dict[str, Rejection]:
    """`rejection` by each of several scores: name -> (N,) of known and (M,) of unknown samples.

    Raises `InputError` where the names differ, and as `rejection`.

    >>> scores = {"cosine": np.array([0.9, 0.8])}, {"cosine": np.array([0.3])}
    >>> rejections(*scores)["cosine"].auroc
    1.0
    """
    if set(known) != set(unknown):
        raise InputError(f"scores: expected the same names of both kinds, got {sorted(known)} and {sorted(unknown)}")
    return {name: rejection(known[name], unknown[name], false_rejection_rate) for name in known}


def auroc(positive: np.ndarray | Tensor, negative: np.ndarray | Tensor) -> float:
    """Area under the ROC curve, exact: the probability that a positive score exceeds a negative one, ties
    counting half (the Mann-Whitney statistic). O((N + M) log M).

    >>> auroc(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    0.875
    """
    above, below = _scores(positive, "positive"), np.sort(_scores(negative, "negative"))
    wins = np.searchsorted(below, above, side="left").sum(dtype=np.int64)
    not_lost = np.searchsorted(below, above, side="right").sum(dtype=np.int64)
    return float(int(wins) + int(not_lost)) / (2.0 * len(above) * len(below))


def _scores(values: np.ndarray | Tensor, what: str) -> np.ndarray:
    array = values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values, float)
    if array.ndim != 1 or len(array) == 0:
        raise InputError(f"{what} scores: expected at least one, as (N,), got shape {array.shape}")
    if np.isnan(array).any():
        raise InputError(f"{what} scores: expected numbers, got NaN at {int(np.isnan(array).argmax())}")
    return array
