"""Folders of images, one folder a class."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rootspace.data.build import Sample, Samples, cached
from rootspace.data.fields import UNLABELLED
from rootspace.data.images import SUFFIXES, Preprocessing
from rootspace.data.names import normal_names
from rootspace.data.store import ImageSet
from rootspace.errors import InputError

_THREADS = 16  # they wait for the file system, which may be far away, more than they compute
_LISTED = 256  # class folders to a task
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test"})
_LOOSE = ""  # stands among the folders for the images in no folder


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
    return checked(cached(folder_samples(root), preprocessing, skip_bad, cache, progress), root)


def checked(data: ImageSet, root: Path) -> ImageSet:
    """The data, unless of all classes of the folder one alone has images that can be read."""
    if data.n_classes == 1:
        raise _one_class(root, data.label_names[0])
    return data


def folder_samples(root: Path, labelled: bool = True) -> Samples:
    """The images under `root`/<class name>/; only their names, sizes and times are looked at here.

    `labelled` False takes all images at any depth below `root`: those in no folder first, then folder by folder.
    """
    classes = _class_folders(root)
    if labelled:
        _refuse_splits(root, classes)
    else:
        classes = [_LOOSE, *classes]
    digest = hashlib.sha256()
    with_images: list[str] = []
    without: list[str] = []
    total = 0
    parts = [classes[start : start + _LISTED] for start in range(0, len(classes), _LISTED)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for some in pool.map(partial(_looked_at, root), parts):
            for name, count, stamp in some:
                if count:
                    with_images.append(name)
                    total += count
                    digest.update(stamp)
                elif name != _LOOSE:
                    without.append(name)
    notes = _left_out(root, without, len(with_images))
    if not total:
        raise _no_images(root, notes)
    if labelled and len(with_images) == 1:
        raise _one_class(root, _shown(with_images[0]), notes)
    shown = [_shown(name) for name in with_images]
    if labelled and len(set(shown)) != len(shown):
        raise InputError(f"{root}: two class folders have names that read the same once they are UTF-8; rename one")
    shown = normal_names(shown, str(root)) if labelled else shown

    source = _shown(root.resolve().name) or "folder"

    def read(part: int) -> Iterator[Sample]:
        label = shown[part] if labelled else ""
        for file in sorted((Path(path) for path, _, _ in _images(root, with_images[part])), key=_order):
            yield Sample(_shown(str(file.relative_to(root))), label, source, file)

    where, n_parts = str(root.resolve()), len(with_images)
    return Samples(where, "folder", digest.hexdigest(), n_parts, read, total=total, labelled=labelled, notes=notes)


def holds_classes(root: Path) -> bool:
    """Whether a folder in the folder `root` holds an image, at any depth."""
    return any(next(_images(root, name), None) is not None for name in _class_folders(root))


def _class_folders(root: Path) -> list[str]:
    if not root.is_dir():
        came = "is a file" if root.exists() else "no such folder"
        raise InputError(f"{root}: {came}; expected a folder with one folder of images for each class")
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror})") from None


def _refuse_splits(root: Path, classes: list[str]) -> None:
    """Raise `InputError` where the folders are parts of a data set, with the folders of the classes in them."""
    if not all(name.lower() in _SPLITS for name in classes):
        return
    parts = [root / name for name in classes if _class_folders(root / name)]
    if not parts:
        return
    train = next((part for part in parts if part.name.lower().startswith("train")), parts[0])
    tests = " or ".join(str(part) for part in parts if part != train)
    raise InputError(
        f"{root}: its folders {', '.join(map(repr, classes))} are parts of a data set, not classes; give {train}"
        f"{f', and {tests} with --test' if tests else ''}"
    )


def _left_out(root: Path, names: list[str], others: int) -> tuple[str, ...]:
    """What to say of the folders without images."""
    if not names:
        return ()
    first = root / names[0]
    endings = Counter(
        os.path.splitext(file)[1].lower() or "no ending"
        for _, _, files in os.walk(first)
        for file in files
        if file[0] != "."
    )
    count = sum(endings.values())
    kinds = ", ".join(ending for ending, _ in endings.most_common(4))
    holds = f"{count:,} {'file' if count == 1 else 'files'} of other kinds: {kinds}" if count else "empty"
    which = f"such as {_shown(names[0])!r}" if len(names) > 1 else repr(_shown(names[0]))
    return (f"left out {len(names):,} of {len(names) + others:,} folders, {which} ({holds}): no image is in them",)


def _looked_at(root: Path, names: list[str]) -> list[tuple[str, int, bytes]]:
    """Of each class folder: its name, how many images it has, and a digest of their names, sizes and times."""
    found = []
    for name in names:
        files = sorted(_images(root, name))
        text = "".join(f"{path}\0{size}\0{time}\n" for path, size, time in files)
        found.append((name, len(files), hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()))
    return found


def _images(root: Path, name: str) -> Iterator[tuple[str, int, int]]:
    """(path, size, time of change in ns) of the images in the folder `name` at any depth, or in none."""
    return entries_below(os.path.join(root, name), set(), deep=name != _LOOSE)


def entries_below(folder: str, seen: set[tuple[int, int]], deep: bool = True) -> Iterator[tuple[str, int, int]]:
    """The images, in folders below too where `deep`; hidden files and folders are passed over."""
    try:
        listing = os.scandir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from None
    with listing as entries:
        deeper = []
        for entry in entries:
            if entry.name[0] == ".":
                continue
            if os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir():
                yield entry.path, *_stamp(entry)
            elif deep and entry.is_dir():
                deeper.append(entry.path)
    if not deeper:
        return
    if not seen:
        _first_seen(folder, seen)
    for path in deeper:
        if _first_seen(path, seen):  # a link back to a folder above would go on for ever
            yield from entries_below(path, seen)


def _first_seen(folder: str, seen: set[tuple[int, int]]) -> bool:
    status = os.stat(folder)
    place = (status.st_dev, status.st_ino)
    if place in seen:
        return False
    seen.add(place)
    return True


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:  # a dangling link: reading it gives the error that names it
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _order(path: Path) -> tuple[str, ...]:
    return path.parts


def _no_images(root: Path, notes: tuple[str, ...]) -> InputError:
    loose = any(Path(name).suffix.lower() in SUFFIXES for name in os.listdir(root))
    what = "its images lie in no class folder" if loose else "holds no images"
    end = UNLABELLED if loose else ""
    return InputError(
        f"{root}: {what}; expected {root.name or root}/<class name>/<image> with {', '.join(sorted(SUFFIXES))}{end}"
        f"{_appended(notes)}"
    )


def _one_class(root: Path, name: str, notes: tuple[str, ...] = ()) -> InputError:
    return InputError(
        f"{root}: only one class ({name!r}) has images; at least two are needed, each in a folder of its own"
        f"{UNLABELLED}{_appended(notes)}"
    )


def _appended(notes: tuple[str, ...]) -> str:
    return "".join(f" ({note})" for note in notes)


def _shown(name: str) -> str:
    """A file name as text that can be written: bytes that are no UTF-8 become the replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")
