"""Accuracy and predictions of an embedder with a classifier that names the nearest classes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rootspace.errors import InputError
from rootspace.evaluate.counts import ClassCounts
from rootspace.evaluate.embed import Embed, Images, Progress, as_tensor, device_of, stream
from rootspace.evaluate.processes import Processes


class Classifier(Protocol):
    """Anything that names the nearest classes: an `Assignment`, or the baseline `LinearHead`."""

    n_classes: int

    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """The k best classes of embeddings (B, dim): (scores (B, k), labels (B, k)), best first."""
        ...


@dataclass(frozen=True)
class Accuracy:
    """Shares, in [0, 1], of samples whose class is among the best k.

    `top[k]` for every k asked. The others are means over classes, so that frequent classes do not drown rare ones:
    `macro` of the top-1 share within each of the `n_classes` classes that have samples; `macro_precision` (right
    guesses of all guesses of a class, 0 for a class never guessed) and `macro_f1` over the classes that have samples
    or are guessed. `seconds` is wall time with reading and decoding.
    """

    top: dict[int, float]
    macro: float
    macro_precision: float
    macro_f1: float
    n: int
    n_classes: int
    seconds: float

    @property
    def top1(self) -> float:
        """Share of samples whose best class is the true one."""
        return self.top[1]

    @property
    def images_per_second(self) -> float:
        """Images read, embedded and decoded in one second."""
        return self.n / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Predictions:
    """The best classes of every sample: `scores` and `labels` are (N, k), best first; `truth` is (N,).

    `complete` says that k is the number of classes: every class was named.
    """

    truth: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    scores: np.ndarray = field(repr=False)
    seconds: float = 0.0
    complete: bool = False

    @property
    def right(self) -> np.ndarray:
        """Boolean (N,): is the best class the true one."""
        return self.labels[:, 0] == self.truth

    def accuracy(self, k: Iterable[int] = (1, 5)) -> Accuracy:
        """The same numbers that `accuracy` gives; k above the number of guesses kept, where those are not all
        classes, is an `InputError`.
        """
        ks = _checked(k)
        if max(ks) > self.labels.shape[1] and not self.complete:
            raise InputError(f"accuracy: expected k up to {self.labels.shape[1]} guesses kept, got {max(ks)}")
        counter = _Counter(ks, int(self.truth.max(initial=0)) + 1)
        counter.add(self.truth, self.labels)
        return counter.result(self.seconds)


@dataclass(frozen=True)
class ConfusedPair:
    """`count` samples of class `true`, out of its `total`, were taken for class `predicted`."""

    true: int
    predicted: int
    count: int
    total: int


def accuracy(
    embed: Embed,
    classifier: Classifier,
    image_set: Images,
    k: Iterable[int] = (1, 5),
    batch_size: int = 512,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    collective: bool = False,
    autocast: torch.dtype | None = None,
) -> Accuracy:
    """Top-k accuracy of `classifier.nearest(embed(images))` over the set; memory for one batch, and for counts of
    the classes that occur.

    `embed` maps standardised images (B, C, H, W) to embeddings; the classifier must be on the same device. A
    k above the number of classes counts as the number of classes. Raises `InputError` for an empty set, a k
    below 1, and embeddings that are NaN or infinite. `autocast`: the precision to embed in, as of `embed_all`.

    With `collective`, every process of `torch.distributed`'s default group makes this call with its own part of the
    samples (`images.select(own_part(len(images)))`), which may be empty, and gets the numbers of all parts
    together; an error in one is an error in all. Without a process group it changes nothing.
    """
    ks = _checked(k)
    started = time.perf_counter()
    processes = Processes.of(collective)
    counter = _Counter(ks, _n_classes(classifier, image_set))
    keep = min(max(ks), counter.n_classes)
    with processes.together():
        truth = np.asarray(image_set.labels)
        parts = stream(embed, image_set, batch_size=batch_size, device=device, progress=progress, autocast=autocast)
        for start, embeddings in parts if len(truth) or processes.count == 1 else ():
            with torch.inference_mode():
                _, labels = classifier.nearest(embeddings, keep)
            counter.add(truth[start : start + len(embeddings)], labels.cpu().numpy())
    counter.combine(processes)
    return counter.result(time.perf_counter() - started)


def predict_all(
    embed: Embed,
    classifier: Classifier,
    image_set: Images,
    k: int = 5,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    autocast: torch.dtype | None = None,
) -> Predictions:
    """The k best classes of every image, in the set's order; memory of order N k. Autocast, errors: as `accuracy`."""
    started = time.perf_counter()
    n_classes = _n_classes(classifier, image_set)
    keep = min(max(_checked([k])), n_classes)
    total = len(image_set)
    labels, scores = np.empty((total, keep), np.int64), np.empty((total, keep), np.float32)
    parts = stream(embed, image_set, batch_size=batch_size, device=device, progress=progress, autocast=autocast)
    for start, embeddings in parts:
        with torch.inference_mode():
            found, nearest = classifier.nearest(embeddings, keep)
        labels[start : start + len(embeddings)] = nearest.cpu().numpy()
        scores[start : start + len(embeddings)] = found.float().cpu().numpy()
    seconds = time.perf_counter() - started
    truth = np.array(image_set.labels, dtype=np.int64)
    return Predictions(truth, labels, scores, seconds, complete=keep == n_classes)


def predict_embedded(
    embeddings: np.ndarray | Tensor, labels: np.ndarray, classifier: Classifier, k: int = 5, chunk: int = 4096
) -> Predictions:
    """The k best classes of embeddings (N, dim) of samples with labels (N,): what `predict_all` gives of images."""
    started = time.perf_counter()
    truth = np.asarray(labels, dtype=np.int64)
    keep, device, parts = min(k, classifier.n_classes), device_of(classifier), []
    for start in range(0, len(truth), chunk):
        part = as_tensor(embeddings[start : start + chunk]).float().to(device)
        with torch.inference_mode():
            scores, found = classifier.nearest(part, keep)
        parts.append((scores.float().cpu().numpy(), found.cpu().numpy()))
    best, named = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    return Predictions(truth, named, best, time.perf_counter() - started, complete=keep == classifier.n_classes)


def confused_pairs(truth: np.ndarray, predicted: np.ndarray, limit: int = 10) -> tuple[ConfusedPair, ...]:
    """The (true, predicted) pairs of different classes that occur most, most frequent first.

    `truth` and `predicted` are (N,) class ids; memory is of order N whatever the number of classes.

    >>> confused_pairs(np.array([0, 0, 0, 1, 2]), np.array([1, 1, 0, 1, 0]))[0]
    ConfusedPair(true=0, predicted=1, count=2, total=3)
    """
    wrong = truth != predicted
    pairs, counts = np.unique(np.stack([truth[wrong], predicted[wrong]], 1), axis=0, return_counts=True)
    classes, samples = np.unique(truth, return_counts=True)
    totals = samples[np.searchsorted(classes, pairs[:, 0])]
    # by count, then by share of the class, then by id: a stable order whatever the order of the samples
    order = np.lexsort((pairs[:, 1], pairs[:, 0], totals, -counts))[:limit]
    return tuple(ConfusedPair(int(pairs[i, 0]), int(pairs[i, 1]), int(counts[i]), int(totals[i])) for i in order)


class _Counter:
    """Hits per k, and the counts of the classes that occur."""

    def __init__(self, ks: tuple[int, ...], n_classes: int) -> None:
        self.ks, self.n_classes = ks, n_classes
        self.hits = [0] * len(ks)
        self.classes = ClassCounts()

    def add(self, truth: np.ndarray, labels: np.ndarray) -> None:
        if len(truth) and not 0 <= truth.min() <= truth.max() < self.n_classes:
            raise InputError(
                f"labels: expected class ids from 0 to {self.n_classes - 1}, "
                f"got {truth.min()} to {truth.max()}; is this the data set the model was trained for?"
            )
        found = labels == truth[:, None]
        for at, k in enumerate(self.ks):
            self.hits[at] += int(found[:, :k].any(axis=1).sum())
        self.classes.add(truth, labels[:, 0])

    def combine(self, processes: Processes) -> None:
        self.hits = processes.totals(self.hits)
        self.classes.combine(processes)

    def result(self, seconds: float) -> Accuracy:
        _, samples, guesses, right = self.classes.columns()
        n, present = int(samples.sum()), samples > 0
        if n == 0:
            raise InputError("accuracy: expected at least one sample, got an empty set; check the split or folder")
        return Accuracy(
            top={k: hits / n for k, hits in zip(self.ks, self.hits, strict=True)},
            macro=float((right[present] / samples[present]).mean()),
            macro_precision=float((right / np.maximum(guesses, 1)).mean()),
            macro_f1=float((2 * right / (samples + guesses)).mean()),
            n=n,
            n_classes=int(present.sum()),
            seconds=seconds,
        )


def _checked(k: Iterable[int]) -> tuple[int, ...]:
    ks = tuple(sorted({int(one) for one in k}))
    if not ks or ks[0] < 1:
        raise InputError(f"accuracy: expected k of at least 1, got {list(ks)}")
    return ks


def _n_classes(classifier: Classifier, image_set: Images) -> int:
    known = getattr(classifier, "n_classes", None)
    return int(known) if known is not None else int(image_set.n_classes)
