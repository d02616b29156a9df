"""How far probabilities can be trusted: when a model says 80 %, is it right in 80 of 100 cases?

The probability of the best class is its share in the softmax over all classes in use. A temperature, one number fitted
on images kept apart, divides the logits (C. Guo et al., "On calibration of modern neural networks", arXiv 1706.04599).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace.assign import Assignment
from rootspace.errors import InputError
from rootspace.evaluate.embed import as_tensor, check_embeddings, check_finite, device_of

BINS = 15
UNIT = 1 << 32  # of the integers that probabilities are summed as, so that the order of samples does not matter

#: A temperature is looked for from this factor below 1 to this factor above, to a relative precision of 10^-4.
REACH, PRECISION = 32.0, 1e-4

#: Samples that a temperature is fitted on, at most: each is compared with all classes two dozen times.
FITTED = 4096


@dataclass(frozen=True)
class Calibration:
    """Samples by the probability of their best class, in bins of equal width over [0, 1].

    `counts[i]` samples fell into bin i; `confidence[i]` is their mean probability and `accuracy[i]` the share that is
    right, both 0 where the bin is empty. `error` is the expected calibration error: the mean over samples of the
    difference of the two in their bin. `n` is the number of samples.
    """

    counts: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    error: float
    n: int


@dataclass(frozen=True)
class Reliability:
    """How far a model's probabilities can be trusted on held-out images: at its own `scale`, and at a temperature.

    `before` has the probabilities of the softmax at `scale`, `after` those at `scale` / `temperature`, which was fitted
    on `n_fitted` images kept apart; both None where there were none.
    """

    scale: float
    before: Calibration
    temperature: float | None = None
    after: Calibration | None = None
    n_fitted: int = 0


def calibration(
    probabilities: np.ndarray | Tensor, right: np.ndarray | Tensor, bins: int = BINS, chunk: int = 1 << 16
) -> Calibration:
    """Probabilities of the best class (N,) in [0, 1], by bin, against whether it is the true one (N,) bool.

    A bin holds its upper edge, the first also 0. Works chunk by chunk. Raises `InputError` for an empty set, shapes
    that do not fit, probabilities outside [0, 1] or NaN, and less than one bin.

    >>> found = calibration(np.array([0.9, 0.8, 0.3]), np.array([True, False, False]), bins=2)
    >>> found.counts, [round(value, 3) for value in (*found.confidence, *found.accuracy, found.error)]
    ((1, 2), [0.3, 0.85, 0.0, 0.5, 0.333])
    """
    if bins < 1:
        raise InputError(f"calibration: expected at least one bin, got {bins}")
    if probabilities.ndim != 1 or right.shape != probabilities.shape:
        raise InputError(
            f"calibration: expected probabilities (N,) and right (N,), "
            f"got {tuple(probabilities.shape)} and {tuple(right.shape)}"
        )
    if not len(probabilities):
        raise InputError("calibration: expected at least one sample, got an empty set")
    edges = np.linspace(0.0, 1.0, bins + 1)
    counts, hits, sums = (np.zeros(bins, np.int64) for _ in range(3))
    for start in range(0, len(probabilities), chunk):
        values = as_tensor(probabilities[start : start + chunk]).cpu().double().numpy()
        true = as_tensor(right[start : start + chunk]).cpu().bool().numpy()
        if not ((values >= 0) & (values <= 1)).all():
            raise InputError("calibration: expected probabilities in [0, 1], got others or NaN")
        place = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
        counts += np.bincount(place, minlength=bins)
        hits += np.bincount(place[true], minlength=bins)
        np.add.at(sums, place, (values * UNIT).round().astype(np.int64))
    some, n = np.maximum(counts, 1), int(counts.sum())
    confidence, accuracy = sums / UNIT / some, hits / some
    error = float((counts * np.abs(confidence - accuracy)).sum() / n)
    return Calibration(tuple(counts.tolist()), tuple(confidence.tolist()), tuple(accuracy.tolist()), error, n)


def calibration_error(probabilities: np.ndarray | Tensor, right: np.ndarray | Tensor, bins: int = BINS) -> float:
    """The expected calibration error, in [0, 1], of probabilities (N,) of answers that are `right` or not (N,).

    Errors as `calibration`.

    >>> calibration_error(np.array([1.0, 1.0, 1.0, 1.0]), np.array([True, True, True, False]))
    0.25
    """
    return calibration(probabilities, right, bins).error


def best_probabilities(
    embeddings: np.ndarray | Tensor,
    assignment: Assignment,
    scale: float,
    chunk: int = 4096,
    cosines: np.ndarray | Tensor | None = None,
) -> np.ndarray:
    """The share of the nearest class in the softmax over all classes at `scale`: (N, dim) -> float32 (N,).

    Exact, with memory for a chunk and a block of classes. cosines: those of the nearest class (N,), where they are
    known, as in `Predictions.scores`; else it is looked for. Raises `InputError` for NaN or infinity, and a scale that
    is not positive.
    """
    if not scale > 0:
        raise InputError(f"scale: expected a positive number, got {scale}")
    device, found = device_of(assignment), np.empty(len(embeddings), np.float32)
    for start in range(0, len(embeddings), chunk):
        part = as_tensor(embeddings[start : start + chunk]).float().to(device)
        check_finite(part, first=start)
        if cosines is None:
            best = assignment.nearest(part)[0][:, 0]
        else:
            best = as_tensor(cosines[start : start + chunk]).float().to(device)
        logarithms = scale * best - assignment.log_sum(part, scale)
        # rounding may take it a hair above 1
        found[start : start + len(part)] = logarithms.clamp(max=0).exp().cpu().numpy()
    return found


def spread(n: int, most: int) -> np.ndarray:
    """At most so many of n positions, evenly spaced, ascending.

    >>> spread(9, 3).tolist()
    [0, 4, 8]
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def fit_temperature(
    embeddings: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    assignment: Assignment,
    scale: float,
    most: int = FITTED,
    chunk: int = 1024,
) -> float:
    """The temperature T at which the softmax at `scale` / T gives the labels (N,) of embeddings (N, dim) the smallest
    negative log likelihood; between 1/32 and 32.

    In 1 / T the likelihood is concave, so a search that narrows the interval finds the optimum. Of more than `most`
    samples that many are taken, evenly spaced. Where every sample is right by far, the lower end is the answer. Raises
    `InputError` for an empty set, and for what does not fit together.
    """
    check_embeddings(embeddings, labels, "temperature")
    if not scale > 0:
        raise InputError(f"scale: expected a positive number, got {scale}")
    chosen = spread(len(labels), most)
    device = device_of(assignment)
    unit = normalize(as_tensor(embeddings[chosen]).float().to(device), dim=1)
    check_finite(unit)
    truth = as_tensor(labels[chosen]).to(device)
    if int(truth.min()) < 0 or int(truth.max()) >= assignment.n_classes:
        raise InputError(
            f"labels: expected class ids from 0 to {assignment.n_classes - 1}, got {int(truth.min())} to "
            f"{int(truth.max())}"
        )
    parts = [
        (part, _own(part, own, assignment)) for part, own in zip(unit.split(chunk), truth.split(chunk), strict=True)
    ]

    @torch.no_grad()
    def loss(log_temperature: float) -> float:
        sharp = scale / math.exp(log_temperature)
        return sum(float((assignment.log_sum(part, sharp) - sharp * own).double().sum()) for part, own in parts)

    return math.exp(_lowest(loss, -math.log(REACH), math.log(REACH), PRECISION))


def _own(unit: Tensor, labels: Tensor, assignment: Assignment) -> Tensor:
    """Cosines (B,) of unit embeddings to their own class's vector."""
    return (unit * assignment.vectors(labels).to(unit)).sum(1) / assignment.system.norm


def _lowest(function: Callable[[float], float], low: float, high: float, precision: float) -> float:
    """Where a function that falls and then rises is lowest: golden section."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > precision:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2
