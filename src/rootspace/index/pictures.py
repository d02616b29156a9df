"""The images or texts that go into an index, with where each comes from and its label, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from rootspace.data import AnyPreprocessing, Preprocessing, TextPreprocessing, is_text, open_data, read_image
from rootspace.data.folders import entries_below
from rootspace.data.images import SUFFIXES
from rootspace.data.progress import tracked
from rootspace.errors import InputError, MissingExtraError
from rootspace.files import text_lines
from rootspace.index.backends import Payload

BATCH = 256

T = TypeVar("T")


@dataclass
class Pictures:
    """Image files, folders of them, image stores or .npz files, read in order; for a model of texts those.

    Folders are listed as `rootspace train` lists them. The label of a file is the name of the folder directly under the
    one given, or "" where it lies in that one itself; of a file given by its own name it is the name of the folder it
    lies in where that is one of `classes`, and else "". Paths are as given. Images of a store or an .npz file have
    their class names, and the file's path with their number. Texts come from tables, saved data sets or stores, or
    without labels from a .txt file, one a line; in place of a path stands the text, as far as the model reads it. What
    cannot be read is an `InputError`; with `skip_bad` it is left out, and listed in `skipped`.

    known: paths (see `stored_path`) of what is left out and listed in `repeated`, to which each source adds its own;
    None leaves nothing out. show: a bar on stderr, where that is a terminal.
    """

    sources: Sequence[Path]
    preprocessing: AnyPreprocessing
    skip_bad: bool = False
    known: set[str] | None = None
    classes: Collection[str] = ()
    show: bool = False
    skipped: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    def batches(self) -> Iterator[tuple[np.ndarray, Payload]]:
        """uint8 images (B, H, W, C) with their paths and labels; `InputError` for a source without images."""
        for source in self.sources:
            own: list[str] = []
            for cells, payload in self._of(source):
                own += payload.paths if self.known is not None else ()
                yield cells, payload
            if self.known is not None:
                # two rows of one source may read the same, such as the names of two things
                self.known.update(map(self.stored, own))

    def stored(self, path: str) -> str:
        """What stands in an index for a path of `batches`."""
        return path if is_text(self.preprocessing) else stored_path(path)

    def _of(self, source: Path) -> Iterator[tuple[np.ndarray, Payload]]:
        if isinstance(self.preprocessing, TextPreprocessing) and source.suffix.lower() == ".txt":
            lines = filter(self._is_new, text_lines(source))
            return text_batches(self.preprocessing, tracked(lines, source.name, self.show))
        if isinstance(self.preprocessing, TextPreprocessing) or not _is_files(source):
            return self._stored(source)
        return self._files(source, self.preprocessing)

    def _is_new(self, path: str) -> bool:
        if not self.known or self.stored(path) not in self.known:
            return True
        self.repeated.append(path)
        return False

    def _stored(self, source: Path) -> Iterator[tuple[np.ndarray, Payload]]:
        images = open_data(source, self.preprocessing, self.skip_bad, progress=self.show)
        texts = is_text(self.preprocessing)
        self.skipped += images.store.about.get("skipped") or [] if texts else []
        for part in _batches(tracked(range(len(images)), source.name, self.show)):
            numbers = np.array(part)
            paths = images.texts_at(numbers) if texts else [f"{source}#{number}" for number in part]
            new = np.array([self._is_new(path) for path in paths])
            if new.any():
                labels = [images.label_names[label] for label in images.labels[numbers[new]].tolist()]
                kept = [path for path, is_new in zip(paths, new.tolist(), strict=True) if is_new]
                yield images.images_at(numbers[new]), Payload(kept, labels)

    def _files(self, source: Path, preprocessing: Preprocessing) -> Iterator[tuple[np.ndarray, Payload]]:
        found = [(path, label) for path, label in self._labelled(source) if self._is_new(str(path))]
        with ThreadPoolExecutor() as pool:
            for part in _batches(tracked(found, source.name, self.show)):
                cells = list(pool.map(partial(self._cell, preprocessing), (path for path, _ in part)))
                good = [(cell, *item) for cell, item in zip(cells, part, strict=True) if cell is not None]
                if good:
                    payload = Payload([str(path) for _, path, _ in good], [label for _, _, label in good])
                    yield np.stack([cell for cell, _, _ in good]), payload

    def _labelled(self, source: Path) -> list[tuple[Path, str]]:
        if source.is_dir():
            return image_files(source)
        folder = source.absolute().parent.name
        return [(source, folder if folder in self.classes else "")]

    def _cell(self, preprocessing: Preprocessing, path: Path) -> np.ndarray | None:
        try:
            return preprocessing.apply(read_image(path))
        except MissingExtraError:  # nothing is wrong with the image
            raise
        except InputError as error:
            if not self.skip_bad:
                raise InputError(f"{error}; remove it, or leave such files out with --skip-bad") from None
            self.skipped.append(str(path))
            return None


def stored_path(path: str | Path) -> str:
    """A path as an index keeps it: absolute, so that it leads there from any folder; links stay as they are.

    >>> stored_path("/photos/../pictures/1.png")
    '/pictures/1.png'
    """
    return os.path.abspath(path)


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def text_batches(preprocessing: TextPreprocessing, texts: Iterator[str]) -> Iterator[tuple[np.ndarray, Payload]]:
    """Cells (B, 1, length, channels) of texts without labels, with the texts in place of paths."""
    for batch in _batches(texts):
        yield preprocessing.cells(batch), Payload(batch, [""] * len(batch))


def image_files(source: Path) -> list[tuple[Path, str]]:
    """(path, label) of one image file, or of those in a folder at any depth, sorted."""
    if not source.is_dir():
        return [(source, "")]
    found = sorted(Path(path) for path, _, _ in entries_below(str(source), set()))
    if not found:
        raise InputError(f"{source}: holds no images; expected {', '.join(sorted(SUFFIXES))}")
    parts = [path.relative_to(source).parts for path in found]
    return [(path, part[0] if len(part) > 1 else "") for path, part in zip(found, parts, strict=True)]


def _is_files(source: Path) -> bool:
    """Whether a source is an image file or a folder of them, and no store or array."""
    if source.is_dir():
        return not any((source / name).is_file() for name in ("manifest.json", "images.npy"))
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; expected images")
    return source.suffix.lower() not in (".npz", ".npy")
