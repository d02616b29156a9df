"""What the benchmark of databases counts."""

from types import SimpleNamespace

import numpy as np
import pytest

import retrieval
from plot_retrieval import front
from retrieval_models import Characters, Embedded, NestedHead, unit


@pytest.fixture
def sides():
    random = np.random.default_rng(0)
    centres = unit(random.standard_normal((6, 16)))
    labels = {"train": np.arange(6).repeat(20), "b": np.arange(6), "q": np.arange(6).repeat(10)}
    vectors = {
        part: unit(centres[numbers] + 0.02 * random.standard_normal((len(numbers), 16)))
        for part, numbers in labels.items()
    }
    data = Characters(known=4, new=2)
    # in the place of the typefaces of this machine
    data.__dict__["task"] = SimpleNamespace(tuning={"b": None}, untouched={"q": None})
    return retrieval.Sides(Embedded(vectors, labels, 1.0), data)


def test_recall_tells_trained_classes_from_new_ones(sides):
    rows = np.zeros((30, 10), dtype=np.int64)  # row 0 is of class 0: right for the first five queries of thirty
    assert sides.recall(rows) == {
        "recall@1, trained": 0.25,
        "recall@10, trained": 0.25,
        "recall@1, new": 0.0,
        "recall@10, new": 0.0,
    }
    assert set(sides.recall(np.full((30, 10), -1)).values()) == {0.0}
    assert set(sides.recall(retrieval.exact(sides.items, sides.queries)).values()) == {1.0}


def test_forms_that_are_short_find_nearly_the_same(sides):
    np.testing.assert_allclose(retrieval.int8(sides.items), sides.items, atol=0.005)
    near, size = retrieval.as_system_vectors("graded:16", sides.items)
    assert size == 6
    assert (near * sides.items).sum(1).min() > 0.8
    assert sides.recall(retrieval.exact_signs(sides.items, sides.queries))["recall@10, new"] > 0.9


@pytest.mark.filterwarnings("ignore")
def test_databases_are_measured_alike(sides):
    best = retrieval.exact(sides.items, sides.queries)
    wanted = {"FAISS Flat", "SystemIndex float32, 256 probes"}
    sides.queries, sides.asked, sides.known = (np.repeat(x, 10, 0) for x in (sides.queries, sides.asked, sides.known))
    best = np.repeat(best, 10, 0)
    for name, build in retrieval.databases(sides.items, None):
        if name in wanted:
            found = retrieval.timed(build, sides, best)
            assert found["recall@1, new"] == 1.0
            assert found["agreement@10"] > 0.99
            assert found["bytes"] >= 64
            assert found["queries_per_second"] > 0


def test_the_nested_loss_learns_each_prefix():
    import torch

    head = NestedHead((2, 4), 3)
    embeddings = torch.randn(5, 4, requires_grad=True)
    loss = head(embeddings, torch.tensor([0, 1, 2, 0, 1]))
    parts = [one(embeddings[:, : one.dim], torch.tensor([0, 1, 2, 0, 1])) for one in head.heads]
    torch.testing.assert_close(loss, (parts[0] + parts[1]) / 2)
    assert head.nearest(embeddings, 2)[1].shape == (5, 2)


def test_front():
    assert front([(4, 1.0), (2, 0.5), (8, 0.9), (2, 0.7)]) == [(2, 0.7), (4, 1.0)]
