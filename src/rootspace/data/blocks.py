"""Memory-mapped images with a checksum for each block of rows, compared when the block is first read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rootspace.data.progress import tracked
from rootspace.errors import InputError

BLOCK_BYTES = 16 << 20
_PIECE = 1 << 20


class DamagedError(InputError):
    """A block of a store is not what was written."""

    def __init__(self, message: str) -> None:
        # a data loader raises a worker's error anew with the worker's traceback as its message: the end of it is ours
        super().__init__(message.rpartition("DamagedError: ")[2].strip())


def rows_of_a_block(shape: tuple[int, ...]) -> int:
    """How many images of this (H, W, C) make a block of about 16 MiB.

    >>> rows_of_a_block((64, 64, 3))
    1365
    """
    return max(1, BLOCK_BYTES // max(1, int(np.prod(shape))))


class MappedImages:
    """The images (N, H, W, C) uint8 of an .npy file; indexed along the first axis, like an array.

    `digests` are the SHA-256 of each block of `block_rows` rows, in hexadecimal; what is in a damaged block is never
    returned, its first use is a `DamagedError`. One byte a block remembers what was verified, in memory that worker
    processes share. `kept` (n,) int64 are the rows to show, where some are left out.
    """

    def __init__(
        self,
        path: Path,
        block_rows: int,
        digests: list[str],
        verified: torch.Tensor | None = None,
        kept: np.ndarray | None = None,
    ) -> None:
        mapped = open_array(path, mapped=True)
        self.path, self.block_rows, self.digests, self.kept = path, block_rows, digests, kept
        self._pixels = np.asarray(mapped)
        self._offset = int(getattr(mapped, "offset", 0))
        if verified is None:
            verified = torch.zeros(len(digests), dtype=torch.uint8).share_memory_()
        self.verified = verified
        self._seen = verified.numpy()
        self.dtype = self._pixels.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self), *self._pixels.shape[1:])

    @property
    def ndim(self) -> int:
        return self._pixels.ndim

    @property
    def nbytes(self) -> int:
        """Of the images shown."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self._pixels) if self.kept is None else len(self.kept)

    def __getitem__(self, key: Any) -> np.ndarray:
        if self.kept is not None:
            key = self.kept[key]
        if isinstance(key, slice):
            wanted = range(len(self._pixels))[key]
            ends = (min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])) if wanted else (0, -1)
            self._verify(np.arange(ends[0] // self.block_rows, ends[1] // self.block_rows + 1))
        else:
            rows = np.asarray(key)
            rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
            self._verify(np.where(rows < 0, rows + len(self._pixels), rows) // self.block_rows)
        return self._pixels[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype, copy=copy)

    def __reduce__(self) -> tuple[Any, ...]:
        # pixels travel as their file's name
        return MappedImages, (self.path, self.block_rows, self.digests, self.verified, self.kept)

    def damaged(self, progress: bool = True) -> list[int]:
        """Verify every block, in several threads: the numbers of the damaged ones."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            good = pool.map(self._is_good, range(len(self.digests)))
            shown = tracked(good, "verifying blocks", progress, len(self.digests))
            return [block for block, fine in enumerate(shown) if not fine]

    def rows_of(self, block: int) -> range:
        """The rows of the file that a block holds."""
        return range(block * self.block_rows, min((block + 1) * self.block_rows, len(self._pixels)))

    def error(self, block: int) -> DamagedError:
        """What to raise where this block is damaged."""
        rows = self.rows_of(block)
        return DamagedError(
            f"{self.path}: checksum mismatch in block {block} (images {rows[0]:,} to {rows[-1]:,}), the file was "
            "altered or damaged; make the store anew (a cache: remove its folder), or leave these images out with "
            "--skip-bad"
        )

    def without(self, blocks: list[int]) -> tuple[MappedImages, np.ndarray]:
        """The images of all other blocks, and their rows (n,) int64."""
        kept = np.ones(len(self._pixels), dtype=np.bool_)
        for block in blocks:
            kept[self.rows_of(block)] = False
        rows = np.flatnonzero(kept)
        return MappedImages(self.path, self.block_rows, self.digests, self.verified, rows), rows

    def _verify(self, blocks: np.ndarray) -> None:
        if not self.digests:  # of a store older than they are
            return
        blocks = np.atleast_1d(blocks)
        for block in np.unique(blocks[self._seen[blocks] == 0]):
            if not self._is_good(int(block)):
                raise self.error(int(block))

    def _is_good(self, block: int) -> bool:
        if not self._seen[block]:
            rows = self.rows_of(block)
            row_bytes = int(np.prod(self._pixels.shape[1:]))
            start = self._offset + rows.start * row_bytes
            try:
                digest = _digest_of(self.path, start, len(rows) * row_bytes)
            except OSError:  # what a disk cannot give back is damaged
                return False
            self._seen[block] = digest == self.digests[block]
        return bool(self._seen[block])


class BlockDigests:
    """The digests of a stream of rows, block by block, while it is written."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.block_rows = rows_of_a_block(shape)
        self._block_bytes = self.block_rows * int(np.prod(shape))
        self._digest, self._filled = hashlib.sha256(), 0
        self._done: list[str] = []

    def update(self, data: memoryview) -> None:
        """Go on with these bytes."""
        while len(data):
            part = data[: self._block_bytes - self._filled]
            self._digest.update(part)
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == self._block_bytes:
                self._close()

    def finish(self) -> list[str]:
        """The digests of all blocks, the last one perhaps shorter."""
        if self._filled:
            self._close()
        return self._done

    def _close(self) -> None:
        self._done.append(self._digest.hexdigest())
        self._digest, self._filled = hashlib.sha256(), 0


def open_array(path: Path, mapped: bool) -> np.ndarray:
    """The array of an .npy file of a store, read or memory-mapped."""
    if not path.is_file():
        raise InputError(f"{path}: missing from the image store; make the store anew")
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path}: truncated or not a .npy array ({numpy_reason(error)}); make the store anew"
        ) from None


def numpy_reason(error: Exception) -> str:
    """Why NumPy read no array, in one line; without its advice to read pickles, which nobody here does."""
    text = " ".join(str(error).split())
    if text.startswith("Object arrays"):
        return "it holds Python objects, which are not read"
    if "pickle" in text:
        return "it is no file of NumPy"
    return text[:120]


def _digest_of(path: Path, start: int, size: int) -> str:
    # read, not mapped: a disk's error is then an OSError here and not the end of the process
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        stream.seek(start)
        for piece in _pieces(stream, size):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(stream: Any, size: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(size, _PIECE)))
    while size and (read := stream.readinto(buffer[: min(size, len(buffer))])):
        yield buffer[:read]
        size -= read
