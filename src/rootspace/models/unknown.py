"""Is an image of a class that the model knows? Signals read off its embedding, and two ways to decide by them.

`Threshold` needs images of known classes only. `Detector` weighs all signals, and for that needs some images of
other classes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from rootspace.assign import Assignment
from rootspace.errors import InputError
from rootspace.systems import VectorSystem

#: Name of a signal -> what it says. Larger means: rather of a known class.
SIGNALS = {
    "cosine": "the cosine with the nearest class vector",
    "margin": "its lead over the second nearest class",
    "probability": "the logarithm of the nearest class's share in the softmax over the classes",
    "system": "the same in the softmax over all vectors of the system",
    "unused": "the nearest class's cosine less that of the nearest vector of the system: 0 where that one is in use",
}

#: The loss's scale, where nothing else is known of it: the default of `rootspace train`.
SCALE = 24.0

#: Of the weights of a `Detector`, on signals of variance 1: few examples must not make it sure of itself.
RIDGE = 1e-3


def available(assignment: Assignment) -> tuple[str, ...]:
    """The signals that an assignment gives: "system" only where the system has an exact sum over its vectors."""
    return tuple(name for name in SIGNALS if name != "system" or assignment.system.has_log_partition)


@torch.no_grad()
def signals(
    assignment: Assignment, embeddings: Tensor, names: Sequence[str] | None = None, scale: float = SCALE
) -> dict[str, Tensor]:
    """Signals of embeddings (B, n), by default all that are `available`: name -> float32 (B,).

    scale: the factor from cosines to logits, as in the loss. Costs B x n_classes products of length n, and decoding
    for "unused", which is exact: whether the nearest of all vectors belongs to a class, and how much nearer it is if
    not. Raises `InputError` for a name that is not available.

    >>> from rootspace.assign import shuffled
    >>> from rootspace.systems import V
    >>> classes = shuffled(V(8, 1, 1), n_classes=40)
    >>> every = classes.system.all()
    >>> found = signals(classes, every, ["unused"])["unused"]
    >>> int((found == 0).sum()), int((found < 0).sum())
    (40, 16)
    """
    names = available(assignment) if names is None else names
    for name in names:
        if name not in available(assignment):
            raise InputError(
                f"signal: expected one of {', '.join(available(assignment))} for {assignment.system.spec}, got {name!r}"
            )
    unit = normalize(embeddings.float(), dim=1)
    return signals_of(assignment, unit, *assignment.nearest(unit, min(2, assignment.n_classes)), names, scale)


class Classes(Protocol):
    """What signals need of an assignment, once the nearest classes are found."""

    system: VectorSystem

    def vectors(self, labels: Tensor) -> Tensor: ...

    def log_sum(self, embeddings: Tensor, scale: float) -> Tensor: ...


def signals_of(
    classes: Classes, unit: Tensor, scores: Tensor, labels: Tensor, names: Sequence[str], scale: float
) -> dict[str, Tensor]:
    """`signals` of unit embeddings (B, n) whose nearest classes are known: cosines and labels (B, 2 or more)."""
    best = scores[:, 0]
    found = {}
    for name in names:
        if name == "cosine":
            found[name] = best
        elif name == "margin":
            found[name] = margin_of(scores)
        elif name == "probability":
            found[name] = scale * best - classes.log_sum(unit, scale)
        elif name == "system":
            found[name] = scale * best - classes.system.log_partition(scale * unit / classes.system.norm)
        else:
            nearest = classes.system.nearest(unit)
            used = (nearest == classes.vectors(labels[:, 0])).all(1)
            lead = (best - (unit * nearest).sum(1) / classes.system.norm).clamp(max=0)
            # where the nearest vector is no class's, a lead of nothing is rounding
            found[name] = torch.where(used, 0.0, lead.clamp(max=-1e-7))
    return found


@dataclass(frozen=True)
class Threshold:
    """An image is of a known class where its best cosine is at least `cosine` and leads the second best by at
    least `margin`; of the validation images of known classes, `false_rejection` were (wrongly) refused.

    `n_classes` is how many classes the model had when that was found out, where it is known.
    """

    cosine: float
    margin: float
    false_rejection: float
    n_classes: int | None = None

    def __post_init__(self) -> None:
        for name in ("cosine", "margin", "false_rejection"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not -1 <= value <= 2:
                raise InputError(f"threshold {name}: expected a number, got {value!r}")
        _check_count("threshold", self.n_classes)

    def accepts(self, scores: Tensor) -> Tensor:
        """(..., k) cosines, best first -> (...,) bool.

        >>> Threshold(0.5, 0.1, 0.05).accepts(torch.tensor([[0.9, 0.2], [0.9, 0.85], [0.4, 0.1]])).tolist()
        [True, False, False]
        """
        return (scores[..., 0] >= self.cosine) & (margin_of(scores) >= self.margin)


def choose_threshold(scores: Tensor, false_rejection: float, n_classes: int | None = None) -> Threshold:
    """The strictest threshold that refuses at most a share of images with cosines (N, k), best first.

    >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.2, 0.1]])
    >>> found = choose_threshold(scores, 0.25)
    >>> round(found.cosine, 3), round(found.margin, 3), found.false_rejection
    (0.7, 0.6, 0.25)
    """
    best, margin = scores[:, 0].sort().values, margin_of(scores).sort().values

    def at(quantile: int) -> Threshold:
        cut = Threshold(float(best[quantile]), float(margin[quantile]), 0.0, n_classes)
        refused = 1 - float(cut.accepts(scores).double().mean())
        return Threshold(cut.cosine, cut.margin, round(refused, 9), n_classes)

    low, high = 0, len(scores) - 1  # the share refused grows with the quantile: halve the interval
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if at(middle).false_rejection <= false_rejection else (low, middle - 1)
    return at(low)


def margin_of(scores: Tensor) -> Tensor:
    """The lead of the best of (..., k) cosines over the second: (...)."""
    if scores.shape[-1] < 2:
        return torch.full_like(scores[..., 0], 2.0)  # a single class has no rival: the largest difference
    return scores[..., 0] - scores[..., 1]


@dataclass(frozen=True)
class Detector:
    """The probability that an image is of a known class: logistic regression on signals at `scale`.

    It holds where images of known and of other classes are equally frequent. An image counts as known where its
    probability is at least `cut`, by which `false_rejection` of the known images it was fitted on were refused.
    `n_classes` is how many classes the model had then.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float
    scale: float
    cut: float
    false_rejection: float
    n_classes: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "weights", tuple(self.weights))
        numbers = (*self.weights, self.bias, self.scale, self.cut, self.false_rejection)
        if not all(isinstance(value, (int, float)) and abs(value) < 1e9 for value in numbers):
            raise InputError("detector: expected finite numbers")
        if len(self.names) != len(self.weights) or not set(self.names) <= set(SIGNALS):
            raise InputError(f"detector: expected a weight for each of some of {', '.join(SIGNALS)}, got {self.names}")
        _check_count("detector", self.n_classes)

    def probability(self, found: dict[str, Tensor]) -> Tensor:
        """What `signals` gave, (B,) each -> the probability that the class is known, (B,)."""
        columns = _columns(found, self.names)
        return (columns @ columns.new_tensor(self.weights) + self.bias).sigmoid().float()

    def accepts(self, found: dict[str, Tensor]) -> Tensor:
        """What `signals` gave, (B,) each -> whether the class is known, bool (B,)."""
        return self.probability(found) >= self.cut


def fit_detector(
    known: dict[str, Tensor],
    unknown: dict[str, Tensor],
    false_rejection: float = 0.05,
    scale: float = SCALE,
    n_classes: int | None = None,
) -> Detector:
    """A detector from the signals of images of known classes and of others: (N,) and (M,) under the same names.

    Both kinds weigh the same, however many examples there are (J. Platt's scaling, 1999, of several scores, with a
    ridge). The cut is the highest that refuses at most `false_rejection` of the known ones.

    >>> random = torch.Generator().manual_seed(0)
    >>> draws = torch.randn(2, 2000, generator=random)
    >>> found = fit_detector({"cosine": draws[0] + 1}, {"cosine": draws[1] - 1})
    >>> abs(found.weights[0] - 2) < 0.2, abs(found.bias) < 0.1  # the logit of two normal distributions is 2 x
    (True, True)
    """
    check_share(false_rejection)
    names = tuple(known)
    if set(names) != set(unknown) or not names:
        raise InputError(f"detector: expected the same signals of both kinds, got {list(known)} and {list(unknown)}")
    inside, outside = _columns(known, names), _columns(unknown, names)
    if not (len(inside) and len(outside)):
        raise InputError(f"detector: expected examples of both kinds, got {len(inside)} known, {len(outside)} unknown")
    columns = torch.cat([inside, outside])
    centre, spread = columns.mean(0), columns.std(0, correction=0).clamp_min(1e-12)
    target = torch.cat([columns.new_ones(len(inside)), columns.new_zeros(len(outside))])
    share = torch.where(target > 0, 0.5 / len(inside), 0.5 / len(outside))
    weights = _logistic((columns - centre) / spread, target, share)
    slopes = weights[:-1] / spread
    fitted = Detector(
        names, tuple(slopes.tolist()), float(weights[-1] - slopes @ centre), scale, 0.0, false_rejection, n_classes
    )
    scores = fitted.probability(known).sort().values
    # a hair more than the product: 0.3 * 10 must allow 3, whatever floating point makes of it
    cut = float(scores[int(false_rejection * len(scores) + 1e-9)])
    refused = float((scores < cut).double().mean())
    return Detector(**{**asdict(fitted), "cut": cut, "false_rejection": refused})


def check_share(false_rejection: float) -> None:
    """Raise `InputError` unless it is a share in [0, 1)."""
    if not 0 <= false_rejection < 1:
        raise InputError(f"false_rejection: expected a share in [0, 1), got {false_rejection!r}")


def _logistic(columns: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """Weights and, last, the bias (d + 1,) of a logistic regression on (N, d), samples weighted by `share`."""
    weights = columns.new_zeros(columns.shape[1] + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = columns @ weights[:-1] + weights[-1]
        loss = binary_cross_entropy_with_logits(logits, target, weight=share, reduction="sum")
        loss = loss + RIDGE * weights[:-1].square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return weights.detach()


def _columns(found: dict[str, Tensor], names: Sequence[str]) -> Tensor:
    if missing := [name for name in names if name not in found]:
        raise InputError(f"detector: the signal {missing[0]!r} is missing")
    return torch.stack([found[name].double() for name in names], dim=1)


def _check_count(what: str, n_classes: int | None) -> None:
    if n_classes is not None and (not isinstance(n_classes, int) or isinstance(n_classes, bool) or n_classes < 1):
        raise InputError(f"{what} n_classes: expected a whole number of at least 1, got {n_classes!r}")
