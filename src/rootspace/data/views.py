"""Every sample its own class, and views of images that training never saw."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rootspace.data.images import to_tensor
from rootspace.data.names import Numbered
from rootspace.data.store import FROM_SAMPLES, ImageSet, ImageStore
from rootspace.errors import InputError

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

_CHUNK = 256
_SKIPPED = 1_000_003


def every_sample(images: ImageSet) -> ImageSet:
    """The same images, each the only one of its class: instance discrimination. Names are "image 0", "image 1", ...

    No pixel and no name is copied: 8 bytes an image. A view that holds an image twice is an `InputError`. The store
    remembers it: once saved, it opens for the same use only.

    >>> data = ImageSet.from_arrays(np.zeros((3, 4, 4), np.uint8), np.array([0, 0, 0]))
    >>> own = every_sample(data.select([2, 0]))
    >>> own.labels.tolist(), own.n_classes, own.label_names[1]
    ([0, 1], 2, 'image 1')
    """
    n = len(images)
    own = np.arange(n, dtype=np.int64)
    labels = np.zeros(len(images.store), dtype=np.int64)
    labels[images.indices] = own
    if not np.array_equal(labels[images.indices], own):
        raise InputError("every_sample: the view holds an image twice, so it cannot be the only one of its class")
    about = {**images.store.about, **FROM_SAMPLES}
    store = replace(images.store, labels=labels, label_names=Numbered("image", n), path=None, about=about)
    return ImageSet(store, images.indices)


def unseen_views(images: ImageSet, augment: Augmentation, seed: int = 0, limit: int | None = None) -> ImageSet:
    """The images as `augment` changes them, the same each time, and never as training changes them.

    augment: (images float32 (B, C, H, W) in [-1, 1], generator) -> the same shape. Labels and names are those of
    `images`; `limit` takes so many of them by lot. Views are made when they are asked for, in chunks whose generator
    depends on (seed, chunk) alone, so they do not depend on the batches they are read in; one chunk is kept. Reading
    them in order costs one call of `augment` a chunk.
    """
    if not len(images):
        raise InputError("unseen_views: expected at least one image, got an empty set")
    if limit is not None and limit < 1:
        raise InputError(f"unseen_views: limit must be at least 1, got {limit}")
    if limit is not None and limit < len(images):
        lot = np.random.default_rng((seed, 0x51E35)).permutation(len(images))[:limit]
        images = images.select(np.sort(lot))
    store = images.store
    views = _Views(images, augment, seed)
    return ImageStore(
        views, images.labels, images.sources, store.label_names, store.source_names, store.preprocessing
    ).all()


class Joined:
    """The images of several sets in a row, (N, H, W, C) uint8; each is read from its own set when it is asked for."""

    dtype = np.dtype(np.uint8)

    def __init__(self, parts: Sequence[ImageSet]) -> None:
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._parts[0].image_shape)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.arange(len(self))[key]
        flat = np.atleast_1d(rows)
        found = np.empty((len(flat), *self.shape[1:]), dtype=np.uint8)
        part_of = np.searchsorted(self._ends, flat, side="right")
        for number in np.unique(part_of):
            inside = part_of == number
            part = self._parts[number]
            found[inside] = part.images_at(flat[inside] - self._ends[number] + len(part))
        return found.reshape(*np.shape(rows), *self.shape[1:])


class _Views:
    """Augmented images (N, H, W, C) uint8, computed chunk by chunk."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: ImageSet, augment: Augmentation, seed: int) -> None:
        self._images, self._augment, self._seed = images, augment, seed
        self._kept: tuple[int, np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._images), *self._images.image_shape)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.arange(len(self))[key]
        flat = np.atleast_1d(rows)
        found = np.empty((len(flat), *self.shape[1:]), dtype=np.uint8)
        for number in np.unique(flat // _CHUNK):
            inside = flat // _CHUNK == number
            found[inside] = self._chunk(int(number))[flat[inside] % _CHUNK]
        return found.reshape(*np.shape(rows), *self.shape[1:])

    def _chunk(self, number: int) -> np.ndarray:
        if self._kept is None or self._kept[0] != number:
            positions = np.arange(number * _CHUNK, min((number + 1) * _CHUNK, len(self)))
            plain = to_tensor(self._images.images_at(positions))
            with torch.no_grad():
                changed = self._augment(plain, unseen_generator(self._seed, number))
            if changed.shape != plain.shape:
                raise InputError(f"augment: expected images {tuple(plain.shape)}, got {tuple(changed.shape)}")
            pixels = ((changed.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            self._kept = (number, pixels.movedim(1, -1).cpu().numpy())
        return self._kept[1]


def unseen_generator(seed: int, number: int) -> torch.Generator:
    """A generator for chunk `number` that no step of a training has.

    Training seeds its generators with 63 bits, this has the 64th set. The processor's generator looks at 32 of
    them only, so where those agree by chance its first numbers are passed over as well.
    """
    digest = hashlib.blake2b(repr(("unseen views", seed, number)).encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") | 1 << 63)
    torch.rand(_SKIPPED, generator=generator)
    return generator
