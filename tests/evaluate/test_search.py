from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootspace.errors import InputError
from rootspace.evaluate import retrieval


def oracle(x, labels, ks, gallery=None, gallery_labels=None):
    """Every query against every item in float64, one at a time; ties go to the irrelevant."""
    itself = gallery is None
    if itself:
        gallery, gallery_labels = x, labels
    unit = lambda a: a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)  # noqa: E731
    scores = unit(x.astype(np.float64)) @ unit(gallery.astype(np.float64)).T
    hits, precisions = dict.fromkeys(ks, 0), []
    for i, row in enumerate(scores):
        keep = np.arange(len(row)) != i if itself else np.ones(len(row), bool)
        good = (gallery_labels[keep] == labels[i]).astype(int)
        if not good.any():
            continue
        # relevant ones a hair lower: ties within it are lost by them
        ranked = good[np.lexsort((good, -(row[keep] - 1e-6 * good)))]
        at = np.flatnonzero(ranked) + 1
        precisions.append(np.mean(np.arange(1, len(at) + 1) / at))
        for k in ks:
            hits[k] += at[0] <= k
    n = len(precisions)
    return {k: v / n for k, v in hits.items()}, float(np.mean(precisions)), n


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(3, 60), classes=st.integers(1, 12), dim=st.integers(1, 6),
    query_chunk=st.integers(1, 40), gallery_chunk=st.integers(1, 40), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_equals_brute_force(n, classes, dim, query_chunk, gallery_chunk, seed):
    random = np.random.default_rng(seed)
    # small integers: many exact ties
    x = random.integers(-3, 4, (n, dim)).astype(np.float32)
    labels = random.integers(0, classes, n)
    if np.bincount(labels).max() < 2:
        return
    recall, precision, counted = oracle(x, labels, (1, 2, 7))
    found = retrieval(x, labels, (1, 2, 7), query_chunk=query_chunk, gallery_chunk=gallery_chunk)
    assert found.recall == pytest.approx(recall)
    assert found.mean_average_precision == pytest.approx(precision, abs=1e-6)
    assert (found.n, found.n_skipped) == (counted, n - counted)


@pytest.mark.parametrize("chunks", [(256, 8192), (5, 13)])
def test_separate_gallery_with_uneven_classes(chunks):
    random = np.random.default_rng(3)
    gallery_labels = np.minimum(random.geometric(0.3, 300), 9)
    labels = np.arange(40) % 12  # some have nothing in the gallery
    centres = random.normal(size=(12, 8))
    gallery = (centres[gallery_labels] + random.normal(size=(300, 8))).astype(np.float32)
    x = (centres[labels] + random.normal(size=(40, 8))).astype(np.float32)
    recall, precision, counted = oracle(x, labels, (1, 5), gallery, gallery_labels)
    found = retrieval(
        torch.from_numpy(x), labels, (5, 1), gallery=gallery, gallery_labels=gallery_labels,
        query_chunk=chunks[0], gallery_chunk=chunks[1],
    )  # fmt: skip
    assert found.recall == pytest.approx(recall)
    assert found.mean_average_precision == pytest.approx(precision, abs=1e-6)
    assert found.n == counted
    assert found.n_skipped == 40 - counted > 0


def test_embeddings_that_fell_together_do_not_look_good():
    random = np.random.default_rng(0)
    x = np.tile(random.normal(size=(1, 33)).astype(np.float32), (500, 1))
    found = retrieval(x, np.arange(500) % 100, (1,), query_chunk=64, gallery_chunk=100)
    assert found.recall[1] == 0
    assert found.mean_average_precision < 0.02


def test_length_does_not_matter():
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(80, 4)), np.arange(80) % 5
    stretched = x * random.uniform(0.01, 100, (80, 1))
    assert retrieval(x, labels, (1,)) == retrieval(stretched, labels, (1,))


def test_bad_input():
    x, labels = np.ones((3, 2), np.float32), np.array([0, 0, 1])
    with pytest.raises(InputError, match="k of at least 1"):
        retrieval(x, labels, [0])
    with pytest.raises(InputError, match="empty set"):
        retrieval(x[:0], labels[:0])
    with pytest.raises(InputError, match="at least two samples"):
        retrieval(x, np.arange(3))
    with pytest.raises(InputError, match="together"):
        retrieval(x, labels, gallery=x)
    with pytest.raises(InputError, match="dimension 2"):
        retrieval(x, labels, gallery=np.ones((3, 4)), gallery_labels=labels)
    with pytest.raises(InputError, match="sample 1"):
        retrieval(np.array([[0.0, 1.0], [np.nan, 1.0]]), np.zeros(2, int))
