"""The images or texts that go into an index, with where each comes from and its label, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from rootspace.data import AnyPreprocessing, Preprocessing, TextPreprocessing, is_text, open_data, read_image
from rootspace.data.images import SUFFIXES
from rootspace.errors import InputError
from rootspace.files import text_lines
from rootspace.index.backends import Payload

BATCH = 256


@dataclass
class Pictures:
    """Image files, folders of them, image stores or .npz files, read in order; for a model of texts those.

    The label of a file is the name of the folder directly under the one given, or "" where it lies in that one itself
    or was given by its own name; its path is as given. Images of a store or an .npz file have their class names, and
    the file's path with their number. Texts come from tables, saved data sets or stores, or without labels from a .txt
    file, one a line; in place of a path stands the text, as far as the model reads it. What cannot be read is an
    `InputError`; with `skip_bad` it is left out, and listed in `skipped`.
    """

    sources: Sequence[Path]
    preprocessing: AnyPreprocessing
    skip_bad: bool = False
    skipped: list[str] = field(default_factory=list)

    def batches(self) -> Iterator[tuple[np.ndarray, Payload]]:
        """uint8 images (B, H, W, C) with their paths and labels; `InputError` for a source without images."""
        for source in self.sources:
            if isinstance(self.preprocessing, TextPreprocessing):
                lines = source.suffix.lower() == ".txt"
                yield from text_batches(self.preprocessing, text_lines(source)) if lines else self._stored(source)
            else:
                yield from self._files(source, self.preprocessing) if _is_files(source) else self._stored(source)

    def _stored(self, source: Path) -> Iterator[tuple[np.ndarray, Payload]]:
        images = open_data(source, self.preprocessing, self.skip_bad, progress=False)
        self.skipped += images.store.about.get("skipped") or [] if is_text(self.preprocessing) else []
        for start in range(0, len(images), BATCH):
            numbers = np.arange(start, min(start + BATCH, len(images)))
            if is_text(self.preprocessing):
                paths = images.texts_at(numbers)
            else:
                paths = [f"{source}#{number}" for number in numbers]
            labels = [images.label_names[label] for label in images.labels[numbers].tolist()]
            yield images.images_at(numbers), Payload(paths, labels)

    def _files(self, source: Path, preprocessing: Preprocessing) -> Iterator[tuple[np.ndarray, Payload]]:
        found = image_files(source)
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(found), BATCH):
                part = found[start : start + BATCH]
                cells = list(pool.map(partial(self._cell, preprocessing), (path for path, _ in part)))
                good = [(cell, *item) for cell, item in zip(cells, part, strict=True) if cell is not None]
                if good:
                    payload = Payload([str(path) for _, path, _ in good], [label for _, _, label in good])
                    yield np.stack([cell for cell, _, _ in good]), payload

    def _cell(self, preprocessing: Preprocessing, path: Path) -> np.ndarray | None:
        try:
            return preprocessing.apply(read_image(path))
        except InputError as error:
            if not self.skip_bad:
                raise InputError(f"{error}; remove it, or leave such files out with --skip-bad") from None
            self.skipped.append(str(path))
            return None


def text_batches(preprocessing: TextPreprocessing, texts: Iterator[str]) -> Iterator[tuple[np.ndarray, Payload]]:
    """Cells (B, 1, length, channels) of texts without labels, with the texts in place of paths."""
    while batch := list(islice(texts, BATCH)):
        yield preprocessing.cells(batch), Payload(batch, [""] * len(batch))


def image_files(source: Path) -> list[tuple[Path, str]]:
    """(path, label) of one image file, or of those in a folder at any depth, sorted."""
    if not source.is_dir():
        return [(source, "")]
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
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
