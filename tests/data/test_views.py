"""Every sample its own class, and views that training cannot make."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rootspace.data import ImageSet, ImageStore, Numbered, every_sample, unseen_views, views
from rootspace.errors import InputError
from rootspace.evaluate.embed import stream


def _sample(n: int) -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return ImageSet.from_arrays(images, np.arange(n) % 3, ["a", "b", "c"])


def _noise(images: Tensor, generator: torch.Generator) -> Tensor:
    return images + 0.3 * torch.randn(images.shape, generator=generator)


def test_every_sample_is_its_own_class(tmp_path: Path) -> None:
    _sample(40).store.save(tmp_path / "store")
    data = ImageStore.open(tmp_path / "store").all().select(np.arange(39, -1, -3))
    own = every_sample(data)
    assert own.labels.tolist() == list(range(14))
    assert own.n_classes == 14
    assert own.label_names == Numbered("image", 14)
    assert own.store.images is data.store.images
    assert np.array_equal(own.images_at(range(14)), data.images_at(range(14)))
    assert np.array_equal(own.sources, data.sources)
    assert own.select([3, 1]).labels.tolist() == [3, 1]
    again = pickle.loads(pickle.dumps(own))
    assert again.labels.tolist() == own.labels.tolist()
    assert np.array_equal(again.images_at([5]), own.images_at([5]))


def test_an_image_twice_cannot_be_alone_in_its_class() -> None:
    with pytest.raises(InputError, match="an image twice"):
        every_sample(_sample(4).select([1, 2, 1]))


def test_views_are_the_same_however_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_CHUNK", 16)
    data = every_sample(_sample(50))
    whole = unseen_views(data, _noise, seed=4).images_at(range(50))
    by_batches = unseen_views(data, _noise, seed=4)
    assert np.array_equal(np.concatenate([by_batches.images_at(range(i, i + 5)) for i in range(0, 50, 5)]), whole)
    assert np.array_equal(by_batches.images_at([49, 0, 17]), whole[[49, 0, 17]])
    assert not np.array_equal(unseen_views(data, _noise, seed=5).images_at(range(50)), whole)
    assert by_batches.label_names is data.label_names
    assert by_batches.labels.tolist() == data.labels.tolist()
    assert by_batches.image_shape == (6, 6, 3)


def test_views_differ_from_chunk_to_chunk_and_nothing_changed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_CHUNK", 4)
    grey = ImageSet.from_arrays(np.full((8, 6, 6), 128, np.uint8), np.zeros(8, np.int64), ["a"])
    seen = unseen_views(grey, _noise).images_at(range(8))
    assert len({image.tobytes() for image in seen}) == 8
    data = _sample(10)
    assert np.array_equal(unseen_views(data, lambda images, _: images).images_at(range(10)), data.images_at(range(10)))


def test_limit_takes_some_by_lot_with_their_labels() -> None:
    data = every_sample(_sample(50))
    some = unseen_views(data, lambda images, _: images, seed=1, limit=10)
    assert len(some) == 10
    assert np.array_equal(some.images_at(range(10)), data.images_at(some.labels))
    assert some.n_classes == 50
    assert unseen_views(data, _noise, seed=1, limit=10).labels.tolist() == some.labels.tolist()
    assert unseen_views(data, _noise, seed=2, limit=10).labels.tolist() != some.labels.tolist()
    assert len(unseen_views(data, _noise, limit=51)) == 50


def test_no_step_of_a_training_has_the_generator() -> None:
    ours = views.unseen_generator(0, 0)
    assert ours.initial_seed() >= 2**63 or ours.initial_seed() < 0
    same_low_bits = torch.Generator().manual_seed(ours.initial_seed() & 0xFFFFFFFF)
    assert not torch.equal(torch.rand(1000, generator=ours), torch.rand(1000, generator=same_low_bits))


def test_views_are_what_evaluation_takes() -> None:
    data = unseen_views(_sample(20), _noise)
    found = [batch for _, batch in stream(lambda images: images.flatten(1), data, batch_size=7)]
    assert torch.cat(found).shape == (20, 108)


def test_what_cannot_be_a_view() -> None:
    with pytest.raises(InputError, match="empty"):
        unseen_views(_sample(4).select([]), _noise)
    with pytest.raises(InputError, match="limit"):
        unseen_views(_sample(4), _noise, limit=0)
    with pytest.raises(InputError, match="augment: expected images"):
        unseen_views(_sample(4), lambda images, _: images[:2]).images_at([0])
