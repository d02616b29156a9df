"""Images with labels and sources: on disk as memory-mapped arrays, and lazy views of them.

A *source* is where an image comes from (a typeface, a camera, a writer): holding a whole source out of
training is what shows whether the classes were learned or only the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rootspace.data.images import Preprocessing
from rootspace.errors import InputError
from rootspace.files import atomic_folder, read_json, sha256, write_json

FORMAT = "rootspace-images"
VERSION = 1
_ARRAYS = ("images.npy", "labels.npy", "sources.npy")
_HEADER_BYTES = 128
_MOST_CLASSES = 100_000_000  # above that a stray label, not a class, is what came


@dataclass(frozen=True, eq=False)
class ImageStore:
    """N images with one label and one source each; on disk a folder whose pixels are memory-mapped.

    images (N, H, W, C) uint8, labels (N,) int64 into `label_names`, sources (N,) int32 into `source_names`.
    `path` is None for arrays in memory. `about` is free JSON: how the store was made.
    """

    images: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    label_names: tuple[str, ...]
    source_names: tuple[str, ...]
    preprocessing: Preprocessing
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

    def __getstate__(self) -> dict[str, Any]:
        # pixels on disk travel as their file's name
        mapped = isinstance(self.images, np.memmap) and self.images.filename is not None
        images = Path(str(self.images.filename)) if mapped else self.images  # type: ignore[attr-defined]
        return {**self.__dict__, "images": images}

    def __setstate__(self, state: dict[str, Any]) -> None:
        images = state["images"]
        if isinstance(images, Path):
            images = _open_array(images, mapped=True)
        self.__dict__.update({**state, "images": images})

    def all(self) -> ImageSet:
        """Every image of the store, in order."""
        return ImageSet(self, np.arange(len(self), dtype=np.int64))

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> ImageStore:
        """Open the store in the folder `path`; `verify` compares the checksums, which reads every byte.

        A missing, truncated, inconsistent or altered store is an `InputError` that names the file.
        """
        path = Path(path)
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; expected an image store (a folder with manifest.json)")
        manifest = _read_manifest(path)
        arrays = {name: _open_array(path / name, mapped=name == "images.npy") for name in _ARRAYS}
        images, labels, sources = (arrays[name] for name in _ARRAYS)
        store = cls(
            images,
            labels,
            sources,
            tuple(manifest["label_names"]),
            tuple(manifest["source_names"]),
            _preprocessing(path, manifest),
            path,
            manifest["about"],
        )
        _check_arrays(store, str(path))
        if manifest["counts"].get("images") != len(store):
            raise InputError(
                f"{path}: the manifest counts {manifest['counts'].get('images')} images, images.npy holds {len(store)}"
            )
        if verify:
            for name in _ARRAYS:
                if sha256(path / name) != manifest["sha256"].get(name):
                    raise InputError(f"{path / name}: checksum mismatch, the file was altered or damaged; make it anew")
        return store

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        label_names: Sequence[str] | None = None,
        sources: np.ndarray | None = None,
        source_names: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> ImageStore:
        """A store in memory. Images (N, H, W) or (N, H, W, C) uint8; names default to the numbers."""
        images, labels = np.asarray(images), np.asarray(labels)
        if images.ndim == 3:
            images = images[..., None]
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"labels: expected integers (N,), got {labels.dtype} {labels.shape}")
        if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
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
            tuple(map(str, label_names)),
            tuple(map(str, source_names)),
            preprocessing,
        )
        _check_arrays(store, "arrays")
        return store

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> ImageStore:
        """Write the store to the folder `path`, whole or not at all, and open it from there."""
        with writing(
            path,
            self.preprocessing,
            self.label_names,
            self.source_names,
            about or self.about,
            self.images.shape[1:3],
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
        preprocessing: Preprocessing | None = None,
    ) -> ImageSet:
        """All of arrays in memory: images (N, H, W) or (N, H, W, C) uint8, labels (N,) integers."""
        return ImageStore.from_arrays(images, labels, label_names, sources, source_names, preprocessing).all()

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64."""
        return self.store.labels[self.indices]

    @cached_property
    def sources(self) -> np.ndarray:
        """(n,) int32 into `source_names`."""
        return self.store.sources[self.indices]

    @property
    def label_names(self) -> tuple[str, ...]:
        """One name for every class of the store, also for those without an image in this view."""
        return self.store.label_names

    @property
    def source_names(self) -> tuple[str, ...]:
        """One name for every source of the store."""
        return self.store.source_names

    @property
    def n_classes(self) -> int:
        """How many classes the store names."""
        return len(self.store.label_names)

    @property
    def preprocessing(self) -> Preprocessing:
        """How a new picture becomes an image like these."""
        return self.store.preprocessing

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.store.images.shape[1:]
        return height, width, channels

    def images_at(self, positions: Any) -> np.ndarray:
        """The images at `positions` (B,) of this view, as a new (B, H, W, C) uint8 array."""
        rows = self.indices[np.asarray(positions, dtype=np.int64)]
        return np.array(self.store.images[rows], subok=False)

    def select(self, positions: Any) -> ImageSet:
        """The view of this view's `positions`: integers (m,) or a boolean mask (n,)."""
        chosen = np.asarray(positions)
        if chosen.dtype != np.bool_:
            chosen = chosen.astype(np.int64)  # an empty list is an array of floats
        return ImageSet(self.store, self.indices[chosen])

    def __getstate__(self) -> dict[str, Any]:
        # a data loader's worker gets the folder's name and the indices, not the pixels
        store = self.store if self.store.path is None else self.store.path
        return {"store": store, "indices": self.indices}

    def __setstate__(self, state: dict[str, Any]) -> None:
        store = state["store"]
        if isinstance(store, Path):
            store = ImageStore.open(store, verify=False)
        self.__dict__.update(store=store, indices=state["indices"])


class StoreWriter:
    """Appends images to a store that is being written; made by `writing`."""

    def __init__(self, stream: BinaryIO, height: int, width: int, channels: int) -> None:
        self._stream = stream
        self._shape = (height, width, channels)
        self._labels: list[np.ndarray] = []
        self._sources: list[np.ndarray] = []
        self.count = 0
        self.about: dict[str, Any] = {}
        stream.write(b"\0" * _HEADER_BYTES)

    def add(self, images: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> None:
        """Append images (B, H, W, C) uint8 with labels (B,) and sources (B,)."""
        if images.shape[1:] != self._shape or images.dtype != np.uint8 or len(images) != len(labels):
            raise InputError(f"expected uint8 images (B, {self._shape}), got {images.dtype} {images.shape}")
        self._stream.write(np.ascontiguousarray(images).data)
        self._labels.append(np.asarray(labels, dtype=np.int64))
        self._sources.append(np.asarray(sources, dtype=np.int32))
        self.count += len(images)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Write the header, now that the number of images is known; give labels and sources."""
        shape = (self.count, *self._shape)
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
        room = _HEADER_BYTES - 10
        header = b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode() + b"\n"
        self._stream.seek(0)
        self._stream.write(header)
        none = [np.zeros(0, dtype=np.int64)]
        return (
            np.concatenate(self._labels or none).astype(np.int64),
            np.concatenate(self._sources or none).astype(np.int32),
        )


@contextmanager
def writing(
    path: str | Path,
    preprocessing: Preprocessing,
    label_names: Sequence[str],
    source_names: Sequence[str],
    about: Mapping[str, Any] | None = None,
    side: tuple[int, int] | None = None,
    drop_unused: bool = False,
) -> Iterator[StoreWriter]:
    """Write a store to the folder `path` image by image; it appears whole when the block ends without error.

    `side` is (H, W) where it is not the preprocessing's square; `drop_unused` leaves out classes that got no
    image. `writer.about` may be added to until the end. An existing store at `path` is replaced.
    """
    height, width = side or (preprocessing.size, preprocessing.size)
    with atomic_folder(Path(path)) as folder:
        with open(folder / "images.npy", "wb") as stream:
            writer = StoreWriter(stream, height, width, preprocessing.channels)
            writer.about.update(about or {})
            yield writer
            labels, sources = writer.finish()
        if drop_unused:
            used = np.unique(labels)
            labels = np.searchsorted(used, labels).astype(np.int64)
            label_names = [label_names[number] for number in used]
        np.save(folder / "labels.npy", labels, allow_pickle=False)
        np.save(folder / "sources.npy", sources, allow_pickle=False)
        counts = {"images": writer.count, "classes": len(label_names), "sources": len(source_names)}
        write_json(
            folder / "manifest.json",
            {
                "format": FORMAT,
                "version": VERSION,
                "counts": counts,
                "preprocessing": preprocessing.to_dict(),
                "label_names": list(label_names),
                "source_names": list(source_names),
                "sha256": {name: sha256(folder / name) for name in _ARRAYS},
                "about": writer.about,
            },
        )


def is_store(path: Path) -> bool:
    """Whether the folder `path` looks like an image store (it may still be damaged)."""
    return (path / "manifest.json").is_file() and (path / "images.npy").exists()


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path / 'manifest.json'}: expected the manifest of an image store ({FORMAT})")
    if manifest.get("version") != VERSION:
        raise InputError(
            f"{path}: image store version {manifest.get('version')}, this program reads {VERSION}; make it anew"
        )
    kinds = {"label_names": list, "source_names": list, "sha256": dict, "counts": dict, "about": dict}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise InputError(f"{path / 'manifest.json'}: {key!r} is missing or of the wrong kind")
    for key in ("label_names", "source_names"):
        if not all(isinstance(name, str) for name in manifest[key]):
            raise InputError(f"{path / 'manifest.json'}: {key!r} must hold strings only")
    return manifest


def _preprocessing(path: Path, manifest: dict[str, Any]) -> Preprocessing:
    try:
        return Preprocessing.from_dict(manifest.get("preprocessing"))
    except InputError as error:
        raise InputError(f"{path / 'manifest.json'}: {error}") from None


def _open_array(path: Path, mapped: bool) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"{path}: missing from the image store; make the store anew")
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: truncated or not a .npy array ({reason}); make the store anew") from None


def _check_arrays(store: ImageStore, where: str) -> None:
    images, labels, sources = store.images, store.labels, store.sources
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
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
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{where}: the {what} name {twice!r} stands twice; names must differ")
