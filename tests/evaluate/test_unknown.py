from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rootspace.errors import InputError
from rootspace.evaluate import auroc, rejection, rejections

scores = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=30)


@given(known=scores, unknown=scores)
def test_auroc_equals_counting_all_pairs(known, unknown):
    pairs = [(a > b) + 0.5 * (a == b) for a in known for b in unknown]
    assert auroc(np.array(known), np.array(unknown)) == pytest.approx(np.mean(pairs))


@given(known=scores, unknown=scores, rate=st.floats(0, 0.99))
def test_threshold_is_the_highest_that_keeps_the_rate(known, unknown, rate):
    a, b = np.array(known), np.array(unknown)
    found = rejection(a, b, rate)
    assert found.false_rejection_rate == np.mean(a < found.threshold) <= rate + 1e-9
    assert found.unknown_rejected == np.mean(b < found.threshold)
    higher = a[a > found.threshold]
    if len(higher):
        assert np.mean(a < higher.min()) > rate - 1e-9
    assert (found.n_known, found.n_unknown) == (len(a), len(b))


def test_tensors_and_perfect_separation():
    found = rejection(torch.tensor([0.9, 0.8]), torch.tensor([0.1]), 0.0)
    assert found.auroc == 1.0
    assert found.threshold == pytest.approx(0.8)
    assert found.unknown_rejected == 1.0


def test_bad_input():
    good = np.array([1.0])
    with pytest.raises(InputError, match="at least one"):
        rejection(good[:0], good)
    with pytest.raises(InputError, match="at least one"):
        rejection(good, good[:0])
    with pytest.raises(InputError, match="NaN"):
        rejection(np.array([np.nan]), good)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        rejection(good, good, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_that_of_torchmetrics(seed):
    try:
        from torchmetrics.functional.classification import binary_auroc
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision made for another torch
        pytest.skip(f"torchmetrics cannot be imported: {error}")
    generator = torch.Generator().manual_seed(seed)
    known = torch.randint(2, 12, (40,), generator=generator) / 12  # ties, within a kind and between both
    unknown = torch.randint(0, 9, (25,), generator=generator) / 12
    truth = torch.cat([torch.ones(40), torch.zeros(25)]).long()
    assert auroc(known, unknown) == pytest.approx(float(binary_auroc(torch.cat([known, unknown]), truth)), abs=1e-6)


def test_several_scores():
    known = {"one": np.array([0.9, 0.8]), "other": torch.tensor([0.2, 0.4])}
    unknown = {"other": torch.tensor([0.3]), "one": np.array([0.1])}
    found = rejections(known, unknown, 0.5)
    assert {name: one.auroc for name, one in found.items()} == {"one": 1.0, "other": 0.5}
    assert found["other"] == rejection(known["other"], unknown["other"], 0.5)
    with pytest.raises(InputError, match="the same names"):
        rejections(known, {"one": np.array([0.1])})
