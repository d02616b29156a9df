"""Images with labels and sources: on disk as memory-mapped arrays, and lazy views of them.

A *source* is where an image comes from (a typeface, a camera, a writer): holding a whole source out of
training is what shows whether the classes were learned or only the pictures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from rootspace.data.blocks import MappedImages
from rootspace.data.images import Preprocessing
from rootspace.data.manifest import read_store
from rootspace.data.names import as_names, check_distinct
from rootspace.data.preparing import AnyPreprocessing
from rootspace.data.texts import TextPreprocessing
from rootspace.data.writing import writing
from rootspace.errors import InputError

_MOST_CLASSES = 100_000_000  # above that a stray label, not a class, is what came
_AT_ONCE = 64 << 20  # so many bytes of images are verified on opening: it takes no time that one would notice

FROM_SAMPLES = {"classes_from": "samples"}
"""In `about`: the data were read without labels, and every sample is to be its own class."""


class Pixels(Protocol):
    """Images (N, H, W, C) uint8 indexed along the first axis: an array, a mapped file, or made when asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class ImageStore:
    """N images with one label and one source each; on disk a folder whose pixels are memory-mapped.

    images (N, H, W, C) uint8, labels (N,) int64 into `label_names`, sources (N,) int32 into `source_names`.
    `path` is None for what is no folder as it is. `about` is free JSON: how the store was made.
    """

    images: Pixels
    labels: np.ndarray
    sources: np.ndarray
    label_names: Sequence[str]
    source_names: Sequence[str]
    preprocessing: AnyPreprocessing
    path: Path | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else str(self.path)
        return (
            f"ImageStore({len(self):,} images {self.images.shape[1:]}, {len(self.label_names):,} classes, "
            f"{len(self.source_names)} sources, {where})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # a data loader's worker gets the folder's name and what was verified, not the arrays
        if self.path is not None and isinstance(self.images, MappedImages):
            return _reopened, (self.path, self.images.verified)
        fields = {**self.__dict__}
        if isinstance(self.images, np.memmap):
            fields["images"] = _MappedArray.of(self.images) or self.images
        return _remade, (fields,)

    @property
    def labelled(self) -> bool:
        """Whether the classes are those of labels; False where every sample is to be its own class."""
        return not FROM_SAMPLES.items() <= self.about.items()

    def all(self) -> ImageSet:
        """Every image of the store, in order."""
        return ImageSet(self, np.arange(len(self), dtype=np.int64))

    @classmethod
    def open(cls, path: str | Path, verify: bool = True, skip_bad: bool = False) -> ImageStore:
        """Open the store in the folder `path`, in a time that hardly depends on how many images it has.

        `verify` compares the checksums of everything but the images; those are compared block by block when they are
        first read, or at once where they are few. `skip_bad` compares all of them now, leaves out the images of
        damaged blocks and lists them in `about["skipped"]`. A missing, truncated, inconsistent or altered store is an
        `InputError` that names the file.
        """
        path = Path(path)
        parts = read_store(path, verify)
        store = cls(path=path, **parts.__dict__)
        _check_arrays(store, str(path))
        if parts.images.digests and verify and (skip_bad or parts.images.nbytes <= _AT_ONCE):
            damaged = parts.images.damaged()
            if damaged and not skip_bad:
                raise parts.images.error(damaged[0])
            if damaged:
                return _without(store, parts.images, damaged)
        return store

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        label_names: Sequence[str] | None = None,
        sources: np.ndarray | None = None,
        source_names: Sequence[str] | None = None,
        preprocessing: AnyPreprocessing | None = None,
    ) -> ImageStore:
        """A store in memory. Images (N, H, W) or (N, H, W, C) uint8; names default to the numbers.

        Images that are a whole memory-mapped file stay so, also in the workers of a data loader.
        """
        images, labels = np.asanyarray(images), np.asarray(labels)
        if images.ndim == 3:
            images = images[..., None]
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"labels: expected integers (N,), got {labels.dtype} {labels.shape}")
        if len(images.shape) != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
            raise InputError(
                f"images: expected uint8 (N, H, W) or (N, H, W, 1 or 3), got {images.dtype} {images.shape}"
            )
        if len(labels) == 0:
            raise InputError("images: expected at least one image, got none")
        if label_names is None:
            if int(labels.max()) >= _MOST_CLASSES:
                raise InputError(f"labels: {int(labels.max())} is too large for a class number; count from 0")
            label_names = [str(number) for number in range(int(labels.max()) + 1)]
        if sources is None:
            sources = np.zeros(len(labels), dtype=np.int32)
        sources = np.asarray(sources)
        if source_names is None:
            source_names = [str(number) for number in range(int(sources.max(initial=0)) + 1)]
        if preprocessing is None:
            preprocessing = Preprocessing(max(4, max(images.shape[1:3])), images.shape[-1], "stretch")
        store = cls(
            images,
            labels.astype(np.int64),
            sources.astype(np.int32),
            as_names(label_names),
            as_names(source_names),
            preprocessing,
        )
        _check_arrays(store, "arrays")
        check_distinct(store.label_names, "label")
        check_distinct(store.source_names, "source")
        return store

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> ImageStore:
        """Write the store to the folder `path`, whole or not at all, and open it from there."""
        with writing(
            path,
            self.preprocessing,
            self.label_names,
            self.source_names,
            about or self.about,
            (self.images.shape[1], self.images.shape[2]),
        ) as writer:
            for start in range(0, len(self), 4096):
                rows = slice(start, start + 4096)
                writer.add(self.images[rows], self.labels[rows], self.sources[rows])
        return ImageStore.open(path, verify=False)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A lazy view: the images of `store` at `indices` (n,) int64, in that order.

    >>> images = np.zeros((3, 8, 8), dtype=np.uint8)
    >>> data = ImageSet.from_arrays(images, np.array([0, 1, 1]), ["cat", "dog"])
    >>> len(data), data.n_classes, data.labels.tolist(), data.images_at([2, 0]).shape
    (3, 2, [0, 1, 1], (2, 8, 8, 1))
    """

    store: ImageStore
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"ImageSet({len(self):,} of {self.store!r})"

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        label_names: Sequence[str] | None = None,
        sources: np.ndarray | None = None,
        source_names: Sequence[str] | None = None,
        preprocessing: AnyPreprocessing | None = None,
    ) -> ImageSet:
        """All of arrays in memory: images (N, H, W) or (N, H, W, C) uint8, labels (N,) integers."""
        return ImageStore.from_arrays(images, labels, label_names, sources, source_names, preprocessing).all()

    @classmethod
    def from_texts(
        cls, texts: Sequence[str], labels: Sequence[str], preprocessing: TextPreprocessing | None = None
    ) -> ImageSet:
        """Texts with the names of their classes, in memory; an empty text is an `InputError`.

        >>> data = ImageSet.from_texts(["Wien", "Vídeň", "Graz"], ["Vienna", "Vienna", "Graz"])
        >>> data.texts_at([1]), data.label_names, data.labels.tolist()
        (['Vídeň'], ('Graz', 'Vienna'), [1, 1, 0])
        """
        if len(texts) != len(labels):
            raise InputError(f"texts: {len(texts)} texts, but {len(labels)} labels; expected as many of both")
        preprocessing = preprocessing or TextPreprocessing()
        names = sorted(set(labels))
        numbers = {name: number for number, name in enumerate(names)}
        cells = preprocessing.cells(texts)
        return cls.from_arrays(cells, np.array([numbers[name] for name in labels]), names, preprocessing=preprocessing)

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64."""
        return self.store.labels[self.indices]

    @cached_property
    def sources(self) -> np.ndarray:
        """(n,) int32 into `source_names`."""
        return self.store.sources[self.indices]

    @property
    def label_names(self) -> Sequence[str]:
        """One name for every class of the store, also for those without an image in this view."""
        return self.store.label_names

    @property
    def source_names(self) -> Sequence[str]:
        """One name for every source of the store."""
        return self.store.source_names

    @property
    def n_classes(self) -> int:
        """How many classes the store names."""
        return len(self.store.label_names)

    @property
    def preprocessing(self) -> AnyPreprocessing:
        """How a new picture or text becomes a cell like these."""
        return self.store.preprocessing

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.store.images.shape[1:]
        return height, width, channels

    def images_at(self, positions: Any) -> np.ndarray:
        """The images at `positions` (B,) of this view, as a new (B, H, W, C) uint8 array."""
        rows = self.indices[np.asarray(positions, dtype=np.int64)]
        return np.asarray(self.store.images[rows])

    def texts_at(self, positions: Any) -> list[str]:
        """The texts at `positions` (B,), as far as their cells hold them; `InputError` where the data are pictures."""
        if not isinstance(self.preprocessing, TextPreprocessing):
            raise InputError("texts_at: the data are pictures; take images_at")
        return self.preprocessing.texts(self.images_at(positions))

    def select(self, positions: Any) -> ImageSet:
        """The view of this view's `positions`: integers (m,) or a boolean mask (n,)."""
        chosen = np.asarray(positions)
        if chosen.dtype != np.bool_:
            chosen = chosen.astype(np.int64)  # an empty list is an array of floats
        return ImageSet(self.store, self.indices[chosen])


def _check_arrays(store: ImageStore, where: str) -> None:
    images, labels, sources = store.images, store.labels, store.sources
    if len(images.shape) != 4 or images.dtype != np.uint8 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise InputError(f"{where}: images must be uint8 (N, H, W, 1 or 3), got {images.dtype} {images.shape}")
    if labels.dtype != np.int64 or sources.dtype != np.int32:
        raise InputError(f"{where}: labels must be int64 and sources int32, got {labels.dtype} and {sources.dtype}")
    if labels.shape != (len(images),) or sources.shape != (len(images),):
        raise InputError(f"{where}: {len(images)} images, but labels {labels.shape} and sources {sources.shape}")
    if len(images) == 0:
        raise InputError(f"{where}: holds no image")
    for what, values, names in (
        ("label", labels, store.label_names),
        ("source", sources, store.source_names),
    ):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= len(names):
            wrong = low if low < 0 else high
            raise InputError(
                f"{where}: {what} {wrong} is out of range, {len(names)} names are given (0 to {len(names) - 1})"
            )


class _MappedArray(NamedTuple):
    """A memory-mapped array on its way to another process, which maps the file itself."""

    path: str
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, images: np.memmap) -> _MappedArray | None:
        """None unless the array is all of the file behind the offset, in its order, and nothing but what lies there.

        A view keeps the offset of the array that it is a view of, so that says nothing of where it begins itself.
        """
        if images.filename is None or images.mode == "c" or not images.flags.c_contiguous:
            return None
        try:
            behind = os.path.getsize(images.filename) - images.offset
        except OSError:
            return None
        return cls(str(images.filename), images.offset, images.shape) if images.nbytes == behind else None


def _remade(fields: dict[str, Any]) -> ImageStore:
    if isinstance(images := fields["images"], _MappedArray):
        fields["images"] = np.memmap(images.path, np.uint8, "r", images.offset, images.shape)
    return ImageStore(**fields)


def _reopened(path: Path, verified: Any) -> ImageStore:
    store = ImageStore.open(path, verify=False)
    images = store.images
    assert isinstance(images, MappedImages)
    return replace(store, images=MappedImages(images.path, images.block_rows, images.digests, verified))


def _without(store: ImageStore, images: MappedImages, damaged: list[int]) -> ImageStore:
    """The store less the images of the damaged blocks."""
    lost = [f"image {row} (block {block} is damaged)" for block in damaged for row in images.rows_of(block)]
    if len(lost) == len(store):
        raise InputError(f"{store.path}: all of its {len(damaged)} blocks of images are damaged; make the store anew")
    whole, rows = images.without(damaged)
    about = {**store.about, "skipped": [*(store.about.get("skipped") or []), *lost]}
    return replace(store, images=whole, labels=store.labels[rows], sources=store.sources[rows], about=about, path=None)
