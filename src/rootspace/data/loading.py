"""Batches in an order that depends on nothing but (seed, epoch), each fetched in one vectorised read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from rootspace.data.store import ImageSet
from rootspace.errors import InputError


def epoch_order(n: int, seed: int, epoch: int, shuffle: bool = True, images: int = 0) -> np.ndarray:
    """The order (m,) int64 in which an epoch of m = `images` visits n samples; 0: m = n.

    Epoch e is the part [e m, (e + 1) m) of an endless stream of permutations of the samples, so that m may be
    smaller or larger than n and every sample is still seen equally often.

    >>> epoch_order(4, seed=0, epoch=0, shuffle=False).tolist()
    [0, 1, 2, 3]
    >>> [epoch_order(4, seed=0, epoch=epoch, shuffle=False, images=3).tolist() for epoch in range(4)]
    [[0, 1, 2], [3, 0, 1], [2, 3, 0], [1, 2, 3]]
    >>> bool((epoch_order(100, 1, 2) == epoch_order(100, 1, 2)).all())
    True
    """
    m = images or n
    first, last = epoch * m // n, -(-(epoch + 1) * m // n)
    order = np.concatenate([_pass_order(n, seed, number, shuffle) for number in range(first, last)])
    start = epoch * m - first * n
    return order[start : start + m]


def _pass_order(n: int, seed: int, number: int, shuffle: bool) -> np.ndarray:
    """The order (n,) of one pass over all samples."""
    if not shuffle:
        return np.arange(n, dtype=np.int64)
    return np.random.default_rng((seed, number)).permutation(n)


class _Batches(BatchSampler):
    """Yields lists of positions; a `BatchSampler`, so that engines which shard batches know what it is."""

    def __init__(self, order: np.ndarray, batch_size: int, drop_last: bool, start: int) -> None:
        super().__init__(range(len(order)), batch_size, drop_last)
        self._order = order
        self._start = start

    def __iter__(self) -> Iterator[Any]:
        for number in range(self._start, self._start + len(self)):
            yield self._order[number * self.batch_size : (number + 1) * self.batch_size].tolist()

    def __len__(self) -> int:
        return max(0, super().__len__() - self._start)


class _Rows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Indexed by a whole batch of positions at once."""

    def __init__(self, data: ImageSet) -> None:
        self._data = data
        self._labels = data.labels

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, positions: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(self._data.images_at(positions))
        return images, torch.from_numpy(self._labels[positions])


def batches(
    image_set: ImageSet,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    num_workers: int = 0,
    start: int = 0,
    pin_memory: bool = False,
    epoch_images: int = 0,
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """A loader of (images (B, H, W, C) uint8, labels (B,) int64) for one epoch, skipping `start` batches.

    The order is a pure function of (seed, epoch), so an interrupted epoch goes on with `start` where it was.
    An epoch takes `epoch_images` images (0: the whole set), going on where the one before ended: `epoch_order`.

    >>> data = ImageSet.from_arrays(np.zeros((5, 4, 4), np.uint8), np.arange(5))
    >>> [labels.tolist() for images, labels in batches(data, 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("num_workers", num_workers, 0),
        ("start", start, 0),
        ("epoch_images", epoch_images, 0),
    ):
        if value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    if len(image_set) == 0:
        raise InputError("the data set holds no image; nothing to load")
    order = epoch_order(len(image_set), seed, epoch, shuffle, epoch_images)
    return DataLoader(
        _Rows(image_set),
        sampler=_Batches(order, batch_size, drop_last, start),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
    )
