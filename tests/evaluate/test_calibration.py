"""Calibration: against torchmetrics, brute force, and probabilities of which it is known how true they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from rootspace.assign import by_name, shuffled
from rootspace.errors import InputError
from rootspace.evaluate import best_probabilities, calibration, calibration_error, fit_temperature
from rootspace.losses import ClassSoftmax
from rootspace.systems import V, graded

CLASSES = 30


def noisy(assignment, count, noise, seed=0):
    """Embeddings about the class vectors, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, assignment.n_classes, count)
    unit = normalize(assignment.vectors(torch.from_numpy(labels)), dim=1).numpy()
    return (unit + random.normal(0, noise, unit.shape)).astype(np.float32), labels


@pytest.mark.parametrize("bins", [1, 4, 15])
@pytest.mark.parametrize("seed", range(3))
def test_equals_torchmetrics(bins, seed):
    metrics = pytest.importorskip("torchmetrics.classification")
    generator = torch.Generator().manual_seed(seed)
    scores = torch.softmax(3 * torch.randn(200, 5, generator=generator), dim=1)
    truth = torch.randint(5, (200,), generator=generator)
    best = scores.max(1)
    theirs = metrics.MulticlassCalibrationError(5, n_bins=bins, norm="l1")(scores, truth)
    assert calibration_error(best.values, best.indices == truth, bins) == pytest.approx(theirs.item(), abs=1e-6)
    share, true = scores[:, 0], truth == 0
    theirs = metrics.BinaryCalibrationError(n_bins=bins, norm="l1")(share, true.int())
    # torchmetrics compares the probability with how often the class is there
    assert calibration_error(share.numpy(), true.numpy(), bins) == pytest.approx(theirs.item(), abs=1e-6)


def test_edges_belong_to_the_bin_below_and_every_sample_counts():
    values = np.array([0.0, 0.5, 0.5000001, 1.0, 1.0])
    found = calibration(values, np.array([False, True, True, True, False]), bins=2)
    assert found.counts == (2, 3)
    assert found.accuracy == pytest.approx((0.5, 2 / 3))
    assert found.n == 5


def test_chunks_and_order_do_not_matter():
    random = np.random.default_rng(0)
    values, right = random.random(1000).astype(np.float32), random.random(1000) < 0.7
    order = random.permutation(1000)
    assert calibration(values, right) == calibration(values[order], right[order], chunk=7)


def test_true_probabilities_have_a_small_error_and_exaggerated_ones_a_large_one():
    random = np.random.default_rng(1)
    values = random.uniform(0.2, 1, 200_000)
    right = random.random(200_000) < values
    assert calibration_error(values, right) < 0.005
    assert calibration_error(np.sqrt(values), right) > 0.1


@pytest.mark.parametrize(
    ("values", "right", "bins", "message"),
    [
        ([], [], 15, "at least one sample"),
        ([0.5, 1.5], [1, 0], 15, r"in \[0, 1\]"),
        ([0.5, float("nan")], [1, 0], 15, "NaN"),
        ([-0.1], [1], 15, r"in \[0, 1\]"),
        ([0.5, 0.5], [1], 15, r"got \(2,\) and \(1,\)"),
        ([[0.5]], [[1]], 15, r"probabilities \(N,\)"),
        ([0.5], [1], 0, "at least one bin"),
    ],
)
def test_what_cannot_be_measured(values, right, bins, message):
    with pytest.raises(InputError, match=message):
        calibration_error(np.array(values, float), np.array(right, bool), bins)


@pytest.mark.parametrize(
    "assignment", [shuffled(V(8, 2, 2), CLASSES), by_name(graded(8), list(map(str, range(CLASSES))))]
)
def test_probabilities_are_those_of_the_softmax(assignment, monkeypatch):
    monkeypatch.setattr("rootspace.assign.base.SCORE_ELEMENTS", 64)  # several blocks of classes
    embeddings, _ = noisy(assignment, 50, 0.3)
    found = best_probabilities(embeddings, assignment, 24.0, chunk=7)
    vectors = normalize(assignment.vectors(torch.arange(CLASSES)), dim=1)
    whole = torch.softmax(24.0 * normalize(torch.from_numpy(embeddings), dim=1) @ vectors.T, dim=1)
    np.testing.assert_allclose(found, whole.max(1).values.numpy(), rtol=1e-4)
    cosines = assignment.nearest(torch.from_numpy(embeddings))[0][:, 0].numpy()
    with monkeypatch.context() as patch:
        patch.setattr(assignment, "nearest", None)  # it need not be asked again
        known = best_probabilities(embeddings, assignment, 24.0, chunk=7, cosines=cosines)
    np.testing.assert_allclose(known, found, rtol=1e-5)
    assert best_probabilities(embeddings[:0], assignment, 24.0).shape == (0,)
    with pytest.raises(InputError, match="scale: expected a positive number"):
        best_probabilities(embeddings, assignment, 0.0)
    embeddings[3, 0] = np.nan
    with pytest.raises(InputError, match="sample 3"):
        best_probabilities(embeddings, assignment, 24.0, chunk=2)


def test_the_temperature_is_that_of_the_smallest_loss():
    assignment = shuffled(V(8, 2, 2), CLASSES)
    embeddings, labels = noisy(assignment, 800, 0.35)
    temperature = fit_temperature(embeddings, labels, assignment, scale=24.0, chunk=100)
    x, y = torch.from_numpy(embeddings), torch.from_numpy(labels)

    def loss(scale):
        return ClassSoftmax(assignment, scale=scale)(x, y).item()

    sharp = 24.0 / temperature
    grid = torch.logspace(-1, 1.9, 200).tolist()
    assert loss(sharp) <= min(map(loss, grid)) + 1e-6
    # an independent optimiser comes to the same
    log_scale = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scale], max_iter=100, line_search_fn="strong_wolfe")
    cosines = normalize(x, dim=1) @ normalize(assignment.vectors(torch.arange(CLASSES)), dim=1).T

    def closure():
        optimiser.zero_grad()
        value = cross_entropy(log_scale.exp() * cosines, y)
        value.backward()
        return value

    optimiser.step(closure)
    assert sharp == pytest.approx(log_scale.exp().item(), rel=1e-2)
    # the optimum does not depend on where it is looked for from
    assert 10.0 / fit_temperature(embeddings, labels, assignment, scale=10.0) == pytest.approx(sharp, rel=1e-3)


def test_a_temperature_mends_probabilities_on_other_images():
    assignment = shuffled(V(8, 2, 2), CLASSES)
    apart, held = noisy(assignment, 2000, 0.35, seed=1), noisy(assignment, 4000, 0.35, seed=2)
    right = assignment.nearest(torch.from_numpy(held[0]))[1][:, 0].numpy() == held[1]
    for scale in (3.0, 90.0):  # far from sure enough, and much too sure
        temperature = fit_temperature(*apart, assignment, scale)
        before = calibration_error(best_probabilities(held[0], assignment, scale), right)
        after = calibration_error(best_probabilities(held[0], assignment, scale / temperature), right)
        assert (temperature > 1) == (scale > 10)
        assert after < 0.04 < before


def test_many_samples_are_thinned_out_and_perfect_ones_end_at_the_bound():
    assignment = shuffled(V(8, 2, 2), CLASSES)
    embeddings, labels = noisy(assignment, 3000, 0.35)
    whole, some = (fit_temperature(embeddings, labels, assignment, 24.0, most=most) for most in (3000, 1000))
    assert whole != some
    assert whole == pytest.approx(some, rel=0.15)
    perfect, labels = noisy(assignment, 50, 0.0)
    assert fit_temperature(perfect, labels, assignment, 24.0) == pytest.approx(1 / 32, rel=1e-3)


def test_bad_input_to_the_temperature():
    assignment = shuffled(V(8, 2, 2), CLASSES)
    embeddings, labels = noisy(assignment, 10, 0.3)
    with pytest.raises(InputError, match="at least one embedding"):
        fit_temperature(embeddings[:0], labels[:0], assignment, 24.0)
    with pytest.raises(InputError, match=r"from 0 to 29, got \d+ to \d+"):
        fit_temperature(embeddings, labels + 30, assignment, 24.0)
    with pytest.raises(InputError, match="scale"):
        fit_temperature(embeddings, labels, assignment, -1.0)
