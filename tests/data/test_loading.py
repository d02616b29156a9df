"""The order of batches, and that engines and worker processes can use them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from rootspace.data import ImageSet, ImageStore, batches, epoch_order, to_tensor
from rootspace.errors import InputError


def _numbered(n: int) -> ImageSet:
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 4, 4))
    return ImageSet.from_arrays(images, np.arange(n))


def _seen(data: ImageSet, **options: object) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches(data, 4, **options)]  # type: ignore[arg-type]


def test_order_depends_on_seed_and_epoch_only() -> None:
    data = _numbered(30)
    assert _seen(data, seed=1, epoch=2) == _seen(data, seed=1, epoch=2)
    assert _seen(data, seed=1, epoch=2) != _seen(data, seed=1, epoch=3)
    assert _seen(data, seed=1, epoch=2) != _seen(data, seed=2, epoch=2)
    assert sorted(chain(*_seen(data, seed=1, epoch=2))) == list(range(30))


def test_order_is_the_same_on_every_machine() -> None:
    # golden value: what numpy's PCG64 permutation gave when this was written
    assert epoch_order(8, seed=3, epoch=1).tolist() == [2, 1, 4, 0, 5, 7, 6, 3]


def test_images_and_labels_stay_together() -> None:
    for images, labels in batches(_numbered(30), 7, seed=5):
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert images.shape[1:] == (4, 4, 1)
        assert torch.equal(images[:, 0, 0, 0].long(), labels)


def test_last_batch_and_start() -> None:
    data = _numbered(10)
    whole = _seen(data, seed=1)
    assert [len(batch) for batch in whole] == [4, 4, 2]
    assert _seen(data, seed=1, start=1) == whole[1:]
    assert _seen(data, seed=1, drop_last=True) == whole[:2]
    assert len(batches(data, 4, start=2)) == 1
    assert _seen(data, seed=1, start=9) == []


def test_worker_processes_give_the_same_batches(tmp_path: Path) -> None:
    _numbered(20).store.save(tmp_path / "store")
    data = ImageStore.open(tmp_path / "store").all()
    assert _seen(data, seed=1, num_workers=1) == _seen(data, seed=1)


def test_an_engine_that_shards_batches_understands_the_loader() -> None:
    accelerate_data = pytest.importorskip("accelerate.data_loader")
    data = _numbered(16)
    shards = [
        accelerate_data.prepare_data_loader(
            batches(data, 4, seed=1), num_processes=2, process_index=rank, put_on_device=False
        )
        for rank in range(2)
    ]
    seen = [[labels.tolist() for _, labels in shard] for shard in shards]
    assert [batch for pair in zip(*seen, strict=True) for batch in pair] == _seen(data, seed=1)


def test_what_cannot_be_loaded_is_refused() -> None:
    data = _numbered(4)
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        batches(data, 0)
    with pytest.raises(InputError, match="no image"):
        batches(data.select([]), 4)


def test_to_tensor_standardises() -> None:
    pixels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    result = to_tensor(pixels)
    assert result.shape == (2, 3, 3, 4)
    assert result.is_contiguous()
    assert torch.allclose(result[1, 2, 0, 3], torch.tensor(pixels[1, 0, 3, 2] / 127.5 - 1, dtype=torch.float32))
    assert torch.equal(result, to_tensor(torch.from_numpy(pixels)))
    with pytest.raises(InputError, match="expected uint8"):
        to_tensor(pixels.astype(np.float32))
