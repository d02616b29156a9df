from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from rootspace import assign, systems
from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.evaluate import Predictions, accuracy, cosine_histogram, embed_all, predict_all
from rootspace.report import environment, pick_confusions, pick_samples, picture, system_facts


def image_of(data: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
def test_picture_keeps_every_pixel(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(image_of(picture(pixels)), pixels.squeeze())


def test_picture_of_something_else():
    with pytest.raises(InputError, match="uint8"):
        picture(np.zeros((4, 4), np.float32))


@pytest.fixture
def run():
    """Two sources of 20 pictures; the grey value of a picture is 10 times its class."""
    names = [f"name {i}" for i in range(5)]
    truth = np.arange(20) % 5
    pixels = np.broadcast_to((10 * truth).astype(np.uint8)[:, None, None, None], (20, 4, 4, 1))
    held_out = {name: ImageSet.from_arrays(pixels, truth, names) for name in ("serif", "kai")}
    predictions = {}
    for name, wrong in (("serif", 3), ("kai", 1)):
        best = truth.copy()
        best[truth == wrong] = 0
        labels = np.stack([best, (best + 1) % 5], 1)
        predictions[name] = Predictions(truth, labels, np.full((20, 2), 0.5, np.float32))
    return held_out, predictions, held_out["serif"]


def test_samples_are_spread_over_sources(run):
    held_out, predictions, examples = run
    samples = pick_samples(held_out, predictions, right=6, wrong=20, examples=examples, seed=1)
    assert [s.right for s in samples] == [True] * 6 + [False] * 8  # there are only 8 wrong ones
    assert [s.source for s in samples[:6]] == ["serif", "kai"] * 3
    for sample in samples:
        true, guess = (int(name.split()[1]) for name in (sample.label, sample.guesses[0].label))
        assert sample.right == (true == guess)
        assert image_of(sample.picture)[0, 0] == 10 * true
        assert image_of(sample.guess_picture)[0, 0] == 10 * guess
    assert samples == pick_samples(held_out, predictions, right=6, wrong=20, examples=examples, seed=1)
    assert pick_samples(held_out, predictions, right=1, wrong=0)[0].guess_picture == ""


def test_confusions_over_all_sources(run):
    held_out, predictions, examples = run
    first, second = pick_confusions(held_out, predictions, limit=8, examples=examples)
    assert (first.true, first.predicted, first.count, first.total) == ("name 1", "name 0", 4, 8)
    assert (second.true, second.predicted) == ("name 3", "name 0")
    assert image_of(second.picture)[0, 0] == 30
    assert image_of(second.predicted_picture)[0, 0] == 0
    assert pick_confusions({}, {}) == ()


def test_with_a_real_assignment(run):
    held_out, _, _ = run
    assignment = assign.shuffled(systems.A(7), 5, key=3)
    vectors = assignment.vectors(torch.arange(5)).float()

    def embed(images):
        # the perfect encoder: the class is in the grey value
        return vectors[((images[:, 0, 0, 0] + 1) * 12.75).round().long()] + 0.01

    found = accuracy(embed, assignment, held_out["kai"], k=(1, 5))
    assert found.top == {1: 1.0, 5: 1.0}
    guesses = predict_all(embed, assignment, held_out["kai"], k=3)
    assert guesses.right.all()
    embeddings, labels = embed_all(embed, held_out["kai"])
    histogram = cosine_histogram(embeddings, labels, assignment)
    assert histogram.right == 1.0
    assert histogram.own_mean > 0.99
    assert histogram.other_mean < 0.6
    facts = system_facts(assignment, "shuffled by a key")
    assert (facts.size, facts.dim, facts.n_classes) == (assignment.system.size, assignment.system.dim, 5)
    assert systems.parse(facts.spec) == assignment.system
    assert facts.bits_per_class == 0
    table = assign.TableAssignment(assignment.system, vectors)
    assert system_facts(table).bits_per_class == 2 * 8  # 1, 0 or -1 for each of 8 coordinates


def test_environment_names_no_host():
    import socket

    found = environment("cpu")
    assert {"processor", "cores", "python", "torch", "rootspace"} <= set(found)
    assert found["device"] == "cpu"
    assert socket.gethostname() not in " ".join(found.values())
