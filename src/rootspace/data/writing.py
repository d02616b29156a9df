"""Writing an image store: whole or not at all, image by image, in the memory of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rootspace.data.blocks import BlockDigests
from rootspace.data.manifest import ENDS, FORMAT, IMAGES, LABELS, NAMES, SMALL, SOURCES, VERSION
from rootspace.data.names import NameTable, check_distinct
from rootspace.data.preparing import AnyPreprocessing, write_preprocessing
from rootspace.errors import InputError
from rootspace.files import atomic_folder, sha256, write_json

HEADER_BYTES = 128


class StoreWriter:
    """Appends images (B, H, W, C) with labels and sources to the stream of an images.npy that is being written."""

    def __init__(self, stream: BinaryIO, shape: tuple[int, int, int], about: Mapping[str, Any] | None = None) -> None:
        self._stream = stream
        self._shape = shape
        self._labels: list[np.ndarray] = []
        self._sources: list[np.ndarray] = []
        self._digests = BlockDigests(shape)
        self.count = 0
        self.about: dict[str, Any] = dict(about or {})
        stream.write(b"\0" * HEADER_BYTES)

    def add(self, images: np.ndarray, labels: np.ndarray, sources: np.ndarray, write: bool = True) -> None:
        """Append images (B, H, W, C) uint8 with labels (B,) and sources (B,).

        `write` False only takes note of images that the stream holds already.
        """
        if images.shape[1:] != self._shape or images.dtype != np.uint8 or len(images) != len(labels):
            raise InputError(f"expected uint8 images (B, {self._shape}), got {images.dtype} {images.shape}")
        data = np.ascontiguousarray(images).reshape(-1).data
        if write:
            self._stream.write(data)
        self._digests.update(data)
        self._labels.append(np.asarray(labels, dtype=np.int64))
        self._sources.append(np.asarray(sources, dtype=np.int32))
        self.count += len(images)

    def finish(
        self,
        folder: Path,
        preprocessing: AnyPreprocessing,
        label_names: Sequence[str],
        source_names: Sequence[str],
        drop_unused: bool = False,
        order: np.ndarray | None = None,
    ) -> None:
        """Write everything but the images into `folder`, and the images' header, now that their number is known.

        `order` (n,) are the numbers that labels were added with, in the order of `label_names`.
        """
        self._write_header()
        labels = np.concatenate([*self._labels, np.zeros(0, dtype=np.int64)])
        if order is not None:
            places = np.empty(len(order), dtype=np.int64)
            places[order] = np.arange(len(order))
            labels = places[labels]
        if drop_unused:
            used = np.unique(labels)
            labels = np.searchsorted(used, labels).astype(np.int64)
            label_names = [label_names[number] for number in used]
        check_distinct(label_names, "label")
        check_distinct(source_names, "source")
        table = NameTable.of(label_names)
        sources = np.concatenate([*self._sources, np.zeros(0, dtype=np.int32)])
        for name, array in ((LABELS, labels), (SOURCES, sources), (NAMES, table.text), (ENDS, table.ends)):
            np.save(folder / name, array, allow_pickle=False)
        write_json(
            folder / "manifest.json",
            {
                "format": FORMAT,
                "version": VERSION,
                "counts": {"images": self.count, "classes": len(label_names), "sources": len(source_names)},
                "preprocessing": write_preprocessing(preprocessing, folder),
                "source_names": list(source_names),
                "sha256": {name: sha256(folder / name) for name in SMALL},
                "blocks": {"rows": self._digests.block_rows, "sha256": self._digests.finish()},
                "about": self.about,
            },
        )

    def _write_header(self) -> None:
        shape = (self.count, *self._shape)
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
        room = HEADER_BYTES - 10
        header = b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode() + b"\n"
        self._stream.seek(0)
        self._stream.write(header)


@contextmanager
def writing(
    path: str | Path,
    preprocessing: AnyPreprocessing,
    label_names: Sequence[str],
    source_names: Sequence[str],
    about: Mapping[str, Any] | None = None,
    side: tuple[int, int] | None = None,
    drop_unused: bool = False,
) -> Iterator[StoreWriter]:
    """Write a store to the folder `path` image by image; it appears whole when the block ends without error.

    `side` is (H, W) where it is not the preprocessing's; `drop_unused` leaves out classes that got no
    image. `writer.about` may be added to until the end. An existing store at `path` is replaced.
    """
    height, width, channels = preprocessing.shape
    height, width = side or (height, width)
    with atomic_folder(Path(path)) as folder, open(folder / IMAGES, "wb") as stream:
        writer = StoreWriter(stream, (height, width, channels), about)
        yield writer
        writer.finish(folder, preprocessing, label_names, source_names, drop_unused)
        stream.flush()
