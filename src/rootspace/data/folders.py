"""Folders of images, one folder a class, decoded once into the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from rootspace.data.cache import cache_folder, key_of, open_or_build
from rootspace.data.images import SUFFIXES, Preprocessing, decode, quiet
from rootspace.data.progress import tracked
from rootspace.data.store import ImageSet, ImageStore, writing
from rootspace.errors import InputError

_CHUNK = 256


def image_folder(
    root: str | Path,
    preprocessing: Preprocessing,
    skip_bad: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
) -> ImageSet:
    """The images under `root`/<class name>/, at any depth, sorted by path; classes sorted by name.

    They are decoded once; a later call opens the cache unless a file was added, removed or changed (its size or
    time). A file that cannot be read is an `InputError` that names it; with `skip_bad` it is left out and listed
    in `store.about["skipped"]`. A folder without images, or with one class only, is an `InputError`.
    """
    root = Path(root)
    files = list_images(root)
    _check_classes(root, {name for name, _ in files})
    names = sorted({name for name, _ in files})
    stamp = key_of([_stamp(root, path) for _, path in files])
    where = {"root": str(root.resolve()), "preprocessing": preprocessing.to_dict()}

    def fresh(store: ImageStore) -> bool:
        return store.about.get("stamp") == stamp and (skip_bad or not store.about.get("skipped"))

    def build(path: Path) -> None:
        numbers = {name: number for number, name in enumerate(names)}
        about = {"kind": "folder", **where, "stamp": stamp, "skipped": []}
        shown = list(map(_shown, names))
        source = [_shown(root.resolve().name) or "folder"]
        with writing(path, preprocessing, shown, source, about, drop_unused=True) as writer, quiet():
            for chunk, cells in _decoded(files, preprocessing, progress):
                good = []
                for (name, file), cell in zip(chunk, cells, strict=True):
                    if isinstance(cell, np.ndarray):
                        good.append((cell, numbers[name]))
                    elif skip_bad:
                        writer.about["skipped"].append(_shown(str(file.relative_to(root))))
                    else:
                        raise InputError(f"{cell}; remove the file, or leave such files out with --skip-bad")
                if good:
                    images, labels = (np.stack(part) for part in zip(*good, strict=True))
                    writer.add(images, labels, np.zeros(len(labels), dtype=np.int32))
            if writer.count == 0:
                raise InputError(f"{root}: none of its {len(files)} images can be read")

    store = open_or_build(cache_folder(cache) / "folders" / key_of(where), build, fresh)
    _check_classes(root, set(store.label_names))
    return store.all()


def list_images(root: Path) -> list[tuple[str, Path]]:
    """(class name, file) of every image under `root`/<class name>/, sorted; hidden files are passed over."""
    if not root.is_dir():
        came = "is a file" if root.exists() else "no such folder"
        raise InputError(f"{root}: {came}; expected a folder with one folder of images for each class")
    try:
        classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror})") from None
    found = [(name, file) for name in classes for file in sorted(_images_below(root / name))]
    if not found:
        loose = any(Path(name).suffix.lower() in SUFFIXES for name in os.listdir(root))
        what = "its images lie in no class folder" if loose else "holds no images"
        raise InputError(
            f"{root}: {what}; expected {root.name or root}/<class name>/<image> with {', '.join(sorted(SUFFIXES))}"
        )
    return found


def _images_below(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above would go on for ever
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in names:
            if name[0] != "." and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(place, name)


def _decoded(
    files: list[tuple[str, Path]], preprocessing: Preprocessing, progress: bool
) -> Iterator[tuple[list[tuple[str, Path]], list[np.ndarray | InputError]]]:
    """Chunks of files with their cells, or the error in a cell's place; decoders run on all cores, in order."""
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    work = partial(_cell, preprocessing)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk in tracked(chunks, "reading images", progress):
            yield chunk, list(pool.map(work, (file for _, file in chunk)))


def _cell(preprocessing: Preprocessing, file: Path) -> np.ndarray | InputError:
    # for "ink" the ink may be a small part of the picture, so nothing is thrown away before it is found
    smallest = None if preprocessing.fit == "ink" else 2 * preprocessing.size
    try:
        return preprocessing.apply(decode(file, smallest))
    except InputError as error:
        return error


def _check_classes(root: Path, names: set[str]) -> None:
    if len(names) == 1:
        raise InputError(
            f"{root}: only one class ({_shown(next(iter(names)))!r}) has images; at least two are needed, "
            "each in a folder of its own"
        )


def _stamp(root: Path, file: Path) -> list[str | int]:
    try:
        status = file.stat()
    except OSError:  # a dangling link: reading it gives the error that names it
        return [str(file.relative_to(root)), -1, -1]
    return [str(file.relative_to(root)), status.st_size, status.st_mtime_ns]


def _shown(name: str) -> str:
    """A file name as text that can be written: bytes that are no UTF-8 become the replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")
