"""Against another implementation of the same measures, on cases small enough for its matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rootspace.evaluate import Predictions, retrieval
from rootspace.evaluate.counts import ClassCounts

try:
    from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP
except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision made for another torch
    pytest.skip(f"torchmetrics cannot be imported: {error}", allow_module_level=True)

CLASSES = 12


def guesses(scores: torch.Tensor, truth: torch.Tensor) -> Predictions:
    best = scores.topk(CLASSES, dim=1)
    return Predictions(truth.numpy(), best.indices.numpy(), best.values.numpy(), complete=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("present", [CLASSES, 5])
def test_accuracy_precision_and_f1(seed, present):
    """With `present` below CLASSES some classes have no sample, and some of these are guessed."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(present, (80,), generator=generator)
    scores = torch.randn(80, CLASSES, generator=generator)
    scores[torch.arange(80), truth] += 1.2
    found = guesses(scores, truth).accuracy((1, 3))
    for k in (1, 3):
        theirs = MulticlassAccuracy(CLASSES, average="micro", top_k=k)(scores, truth)
        assert found.top[k] == pytest.approx(theirs.item())
    each = MulticlassAccuracy(CLASSES, average=None)(scores, truth)
    assert found.macro == pytest.approx(each[truth.unique()].mean().item())
    guessed = set(scores.argmax(1).tolist())
    if guessed <= set(truth.tolist()):
        assert found.macro == pytest.approx(MulticlassAccuracy(CLASSES, average="macro")(scores, truth).item())
    else:
        assert present < CLASSES
    assert found.macro_precision == pytest.approx(MulticlassPrecision(CLASSES, average="macro")(scores, truth).item())
    assert found.macro_f1 == pytest.approx(MulticlassF1Score(CLASSES, average="macro")(scores, truth).item())
    assert (found.n, found.n_classes) == (80, len(truth.unique()))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_retrieval(seed, ties):
    random = np.random.default_rng(seed)
    x = random.integers(-2, 3, (70, 3)).astype(np.float32) if ties else random.normal(size=(70, 5)).astype(np.float32)
    labels = random.integers(0, 25, 70)  # some classes have one sample: nothing to find
    found = retrieval(x, labels, (1, 4), query_chunk=9, gallery_chunk=16)
    unit = x.astype(np.float64) / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    good = (labels[:, None] == labels) & ~np.eye(70, dtype=bool)
    off = ~np.eye(70, dtype=bool)
    # what is relevant stands a hair lower: ties are then no ties, and are lost by it; and torchmetrics takes what
    # scores 0 or less for irrelevant
    scores = torch.from_numpy(2 + unit @ unit.T - 1e-6 * good)[torch.from_numpy(off)]
    target = torch.from_numpy(good[off])
    queries = torch.arange(70).repeat_interleave(69)
    skip = {"empty_target_action": "skip"}
    precision = RetrievalMAP(**skip)(scores, target, indexes=queries)
    assert found.mean_average_precision == pytest.approx(precision.item(), abs=1e-6)
    for k in (1, 4):
        hit = RetrievalHitRate(top_k=k, **skip)(scores, target, indexes=queries)
        assert found.recall[k] == pytest.approx(hit.item(), abs=1e-6)
    assert found.n == good.any(1).sum() < 70


def test_counts_are_those_of_a_confusion_matrix_however_often_they_are_merged(monkeypatch):
    monkeypatch.setattr("rootspace.evaluate.counts.WAITING", 10)
    random = np.random.default_rng(0)
    truth, guess = random.integers(0, CLASSES - 2, 500), random.integers(1, CLASSES, 500)
    matrix = np.zeros((CLASSES, CLASSES), int)
    np.add.at(matrix, (truth, guess), 1)
    counts = ClassCounts()
    for start in range(0, 500, 7):
        counts.add(truth[start : start + 7], guess[start : start + 7])
    ids, samples, guesses, right = counts.columns()
    assert ids.tolist() == list(range(CLASSES))
    assert np.array_equal(samples, matrix.sum(1))
    assert np.array_equal(guesses, matrix.sum(0))
    assert np.array_equal(right, matrix.diagonal())
