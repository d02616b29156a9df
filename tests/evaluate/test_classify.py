from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rootspace import assign, systems
from rootspace.data import ImageSet, to_tensor
from rootspace.errors import InputError
from rootspace.evaluate import Predictions, accuracy, confused_pairs, embed_all, predict_all, predict_embedded
from rootspace.losses import LinearHead


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


@pytest.mark.parametrize("batch_size", [1, 10, 97, 512])
def test_accuracy_equals_the_dense_computation(pictures, table, batch_size):
    x = to_tensor(pictures.images_at(np.arange(97))).flatten(1)
    order = table.nearest(x, 7)[1].numpy()
    truth = pictures.labels
    found = accuracy(flat, table, pictures, k=(1, 3), batch_size=batch_size)
    assert found.top[1] == found.top1 == pytest.approx((order[:, 0] == truth).mean())
    assert found.top[3] == pytest.approx((order[:, :3] == truth[:, None]).any(1).mean())
    assert 0.3 < found.top1 < found.top[3]
    per_class = [(order[truth == c, 0] == c).mean() for c in range(7)]
    assert found.macro == pytest.approx(np.mean(per_class))
    assert (found.n, found.n_classes) == (97, 7)
    assert found.images_per_second > 0


def test_predictions_give_the_same_accuracy(pictures, table):
    seen = []
    guesses = predict_all(flat, table, pictures, k=3, batch_size=20, progress=lambda *at: seen.append(at))
    direct = accuracy(flat, table, pictures, k=(1, 3))
    assert guesses.accuracy((1, 3)).top == direct.top
    assert guesses.accuracy((1,)).macro == pytest.approx(direct.macro)
    assert guesses.right.mean() == pytest.approx(direct.top1)
    assert np.all(np.diff(guesses.scores) <= 0)
    assert seen == [(20, 97), (40, 97), (60, 97), (80, 97), (97, 97)]
    with pytest.raises(InputError, match="up to 3 guesses"):
        guesses.accuracy((5,))


@pytest.mark.parametrize("k", [3, 50])
def test_predictions_of_embeddings_are_those_of_their_images(pictures, table, k):
    images, embeddings = (
        predict_all(flat, table, pictures, k=k),
        predict_embedded(*embed_all(flat, pictures), table, k=k, chunk=10),
    )
    assert np.array_equal(images.labels, embeddings.labels)
    np.testing.assert_allclose(images.scores, embeddings.scores, atol=1e-6)
    assert images.complete == embeddings.complete == (k > 7)


def test_more_guesses_than_classes_count_as_all_classes(pictures, table):
    assert accuracy(flat, table, pictures, k=(1, 50)).top[50] == 1.0
    guesses = predict_all(flat, table, pictures, k=50)
    assert guesses.labels.shape == (97, 7)
    assert guesses.accuracy((1, 50)).top[50] == 1.0


def test_macro_average_does_not_let_a_frequent_class_drown_a_rare_one():
    truth = np.array([0] * 98 + [1] * 2)
    guesses = Predictions(truth, np.zeros((100, 1), np.int64), np.ones((100, 1), np.float32))
    found = guesses.accuracy((1,))
    assert found.top1 == pytest.approx(0.98)
    assert found.macro == pytest.approx(0.5)


@pytest.mark.parametrize("k", [(), (0, 1)])
def test_bad_k(pictures, table, k):
    with pytest.raises(InputError, match="k of at least 1"):
        accuracy(flat, table, pictures, k=k)


def test_labels_of_another_data_set(pictures, table):
    table.table = table.table[:3]
    with pytest.raises(InputError, match="class ids from 0 to 2"):
        accuracy(flat, table, pictures, k=(1,))


def test_nan_is_named(pictures, table):
    def broken(images):
        out = images.flatten(1).clone()
        if len(images) == 7:  # the last batch: samples 90 to 96
            out[2, 3] = torch.nan
        return out

    with pytest.raises(InputError, match="sample 92"):
        accuracy(broken, table, pictures, batch_size=10)


def test_empty_set(pictures, table):
    empty = pictures.select(np.zeros(0, np.int64))
    for call in (accuracy, predict_all):
        with pytest.raises(InputError, match="empty set"):
            call(flat, table, empty)
    with pytest.raises(InputError, match="empty set"):
        embed_all(flat, empty)


def test_bad_batch_size_and_bad_embedder(pictures, table):
    with pytest.raises(InputError, match="batch_size"):
        accuracy(flat, table, pictures, batch_size=0)
    with pytest.raises(InputError, match="expected embeddings of shape"):
        accuracy(lambda images: images, table, pictures)


def test_module_modes_are_restored_and_dropout_is_off(pictures):
    frozen = nn.BatchNorm1d(8).eval()
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), frozen)
    model[0].train()
    assert model.training
    assert not frozen.training
    first, _ = embed_all(model, pictures)
    second, _ = embed_all(model, pictures)
    np.testing.assert_array_equal(first, second)
    assert model.training
    assert model[1].training
    assert not frozen.training


def test_images_are_sent_as_bytes():
    sent = []

    class Sent(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            given = function(*args, **(kwargs or {}))
            if isinstance(given, torch.Tensor) and given.is_meta and isinstance(args[0], torch.Tensor):
                sent.extend([args[0].dtype] if not args[0].is_meta else [])
            return given

    with Sent():
        found = to_tensor(np.zeros((2, 4, 5, 3), np.uint8), torch.device("meta"))
    assert (found.shape, found.dtype) == ((2, 3, 4, 5), torch.float32)
    assert sent == [torch.uint8]


def test_precision_is_lower_where_it_is_asked_for(pictures, table):
    seen = []

    def embed(images):
        product = images.flatten(1) @ torch.eye(8)
        seen.append(product.dtype)
        return product

    exact, _ = embed_all(embed, pictures, batch_size=97)
    coarse, _ = embed_all(embed, pictures, batch_size=97, autocast=torch.bfloat16)
    assert seen == [torch.float32, torch.bfloat16]
    assert exact.dtype == coarse.dtype == np.float32
    np.testing.assert_allclose(coarse, exact, atol=1e-2)
    for call in (accuracy, predict_all):
        call(embed, table, pictures, batch_size=97, autocast=torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):  # the caller's own stays
            call(embed, table, pictures, batch_size=97)
    assert seen[2:] == [torch.bfloat16] * 4


def test_embed_all_into_a_file(pictures, tmp_path):
    memory, labels = embed_all(flat, pictures, batch_size=10)
    assert memory.dtype == np.float32
    np.testing.assert_array_equal(labels, pictures.labels)
    mapped, labels_again = embed_all(flat, pictures, batch_size=10, out=tmp_path / "deep" / "e.npy")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, memory)
    np.testing.assert_array_equal(labels_again, labels)
    np.testing.assert_array_equal(np.load(tmp_path / "deep" / "e.npy", allow_pickle=False), memory)


def test_an_interrupted_embedding_leaves_no_file(pictures, tmp_path):
    def stop(done: int, total: int) -> None:
        if done > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_all(flat, pictures, batch_size=10, out=tmp_path / "e.npy", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_confused_pairs_by_count_then_share():
    truth = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    guess = np.array([1, 1, 0, 2, 2, 3, 3, 0, 2, 3])
    pairs = confused_pairs(truth, guess, limit=3)
    assert [(p.true, p.predicted, p.count, p.total) for p in pairs] == [
        (1, 2, 2, 2),
        (0, 1, 2, 3),
        (2, 3, 2, 4),
    ]
    assert confused_pairs(truth, truth) == ()


def test_class_ids_may_be_of_any_size(pictures):
    """Nothing is kept for a class that does not occur: a counter for each of these would take petabytes."""
    classes = 10**15
    images = ImageSet.from_arrays(pictures.images_at(np.arange(3)), np.array([0, 1, 2]))
    far = _Addressed(images, np.array([classes - 1, 7, 7]))

    class Guesser:
        n_classes = classes

        def nearest(self, embeddings, k=1):
            guess = torch.tensor([classes - 1, classes - 2, 7])[: len(embeddings)]
            return torch.zeros(len(guess), k), (guess[:, None] - torch.arange(k)).clamp(min=0)

    found = accuracy(flat, Guesser(), far, k=(1, 2))
    assert (found.n, found.n_classes) == (3, 2)
    assert found.top == {1: pytest.approx(2 / 3), 2: pytest.approx(2 / 3)}
    assert found.macro == pytest.approx((1 + 0.5) / 2)
    # the one guess of class 7 is right; classes - 2 is guessed and never there
    assert found.macro_precision == pytest.approx((1 + 1 + 0) / 3)
    assert found.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    pairs = confused_pairs(far.labels, np.array([classes - 1, classes - 2, 7]))
    assert [(p.true, p.predicted, p.count, p.total) for p in pairs] == [(7, classes - 2, 1, 2)]


class _Addressed:
    """Images with class ids that no list of names could hold."""

    def __init__(self, images, labels):
        self.images_at, self.labels, self.n_classes = images.images_at, labels, 10**15

    def __len__(self):
        return len(self.labels)


def test_with_the_real_classifiers(pictures):
    torch.manual_seed(0)
    embedder = nn.Sequential(nn.Flatten(), nn.Linear(8, 6))
    x = embedder(to_tensor(pictures.images_at(np.arange(97))))
    for classifier in (LinearHead(6, 7), assign.shuffled(systems.V(6, 2, 1), 7, key=1)):
        best = classifier.nearest(x, 3)[1].numpy()
        found = accuracy(embedder, classifier, pictures, k=(1, 3), batch_size=30)
        assert found.top1 == (best[:, 0] == pictures.labels).mean()
        assert found.top[3] == (best == pictures.labels[:, None]).any(1).mean()
