"""Labelled pictures or texts into a store: on all cores, in order, and going on where it was stopped."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rootspace.data.cache import alone, cache_folder, key_of, open_or_build
from rootspace.data.images import Preprocessing, decode, quiet
from rootspace.data.manifest import IMAGES
from rootspace.data.names import normal, one_name
from rootspace.data.preparing import AnyPreprocessing, check_kind
from rootspace.data.progress import say, tracked
from rootspace.data.repeats import Repeats
from rootspace.data.store import FROM_SAMPLES, ImageSet
from rootspace.data.writing import HEADER_BYTES, StoreWriter
from rootspace.errors import InputError
from rootspace.files import move_folder

_CHUNK = 256
_AHEAD = 2  # chunks that are decoded while one is written
_JOURNAL = "journal.jsonl"
_JOURNAL_VERSION = 3  # 1 held whole numbers without their leading zeros; of 2 see `_READING`
_READING = 2  # how pictures and labels are read: 1 hid what was transparent, and had names in any normal form
_NOTICED = 8 * 10**9  # bytes; a cache of so many is announced before it is made
_NUMBER = re.compile(r"-?[0-9]{1,400}")  # no longer ones: Python refuses to read some thousand digits


class Sample(NamedTuple):
    """A labelled picture (a file, or the bytes of one) or text, or why there is none.

    `name` is how messages call it. A label is a text, also where it is a number: "007" and "7" are two.
    """

    name: str
    label: str
    source: str
    picture: Path | bytes | str | InputError


@dataclass(frozen=True)
class Samples:
    """Labelled pictures, or `texts`, in a fixed order, in parts that can each be read from their beginning.

    `stamp` changes with anything that the result depends on. `label_names` are all classes in their order; None
    takes those that occur: by size where all are whole numbers, else by their letters. `total` is how many samples,
    where known. `labelled` False: nobody looked at labels, and every sample is to be its own class. `asked` (JSON)
    tells apart what is read from one place in different ways. `notes` are what to say of it each time it is opened.
    """

    where: str
    kind: str
    stamp: str
    parts: int
    read: Callable[[int], Iterator[Sample]]
    label_names: Sequence[str] | None = None
    total: int | None = None
    texts: bool = False
    labelled: bool = True
    asked: Any = None
    notes: tuple[str, ...] = ()


def cached(
    samples: Samples,
    preprocessing: AnyPreprocessing,
    skip_bad: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
) -> ImageSet:
    """The samples decoded once into the cache; a later call opens it unless their stamp has changed.

    A picture that cannot be read is an `InputError` that names it; with `skip_bad` it is left out and listed in
    `store.about["skipped"]`.
    """
    _say_notes(samples, progress)
    asked = samples.asked if samples.labelled else [samples.asked, FROM_SAMPLES]
    key = key_of([samples.where, preprocessing.to_dict(), asked])
    path = cache_folder(cache) / f"{samples.kind}s" / key
    return open_or_build(
        path,
        lambda path: build(samples, path, preprocessing, skip_bad, progress),
        lambda store: (
            (store.about.get("stamp"), store.about.get("reading")) == (samples.stamp, _READING)
            and (skip_bad or not store.about.get("skipped"))
        ),
    ).all()


def build_store(
    samples: Samples, path: Path, preprocessing: AnyPreprocessing, skip_bad: bool = False, progress: bool = True
) -> None:
    """`build` for one process at a time, with a full disk or a forbidden folder as an `InputError`."""
    _say_notes(samples, progress)
    try:
        with alone(path):
            build(samples, path, preprocessing, skip_bad, progress)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); nothing was left there") from None


def build(
    samples: Samples, path: Path, preprocessing: AnyPreprocessing, skip_bad: bool = False, progress: bool = True
) -> None:
    """Decode the samples into a store at `path`, which appears whole or not at all.

    What was decoded before an interruption, or before a bad picture, lies in a hidden folder beside `path` named
    after the samples' stamp: the same build goes on from there.
    """
    shape = preprocessing.shape
    check_kind(preprocessing, samples.texts, samples.where)
    what = "texts" if samples.texts else "images"
    about = {"kind": samples.kind, "root": samples.where, "stamp": samples.stamp, "reading": _READING, "skipped": []}
    if not samples.labelled:
        about |= FROM_SAMPLES
    key = key_of([_JOURNAL_VERSION, samples.stamp, samples.labelled, preprocessing.to_dict()])
    with _kept(path, key) as folder, ExitStack() as stack:
        images = stack.enter_context(open(folder / IMAGES, "r+b" if (folder / IMAGES).exists() else "w+b"))
        journal = stack.enter_context(open(folder / _JOURNAL, "a+b"))
        repeats = Repeats() if samples.texts else None
        work = _Build(StoreWriter(images, shape, about), images, journal, samples.where, samples.labelled, repeats)
        place = work.replay(shape, skip_bad)
        _check_room(samples, shape, work, path.parent, progress)
        stack.enter_context(quiet())
        chunks = _decoded(samples, preprocessing, place)
        left = None if samples.total is None else -(-(samples.total - work.seen) // _CHUNK)
        for chunk in tracked(chunks, f"reading {what}", progress, left):
            work.add(chunk, skip_bad)
        if not work.writer.count:
            raise InputError(f"{samples.where}: none of its {work.seen} {what} can be read")
        work.finish(folder, preprocessing, samples.label_names)


def _say_notes(samples: Samples, show: bool) -> None:
    for note in samples.notes:
        say(f"{samples.where}: {note}", show)


def _check_room(samples: Samples, shape: tuple[int, int, int], work: _Build, folder: Path, show: bool) -> None:
    """Say how large the store will be where that is much, and refuse one that the disk has no room for."""
    if samples.total is None:
        return
    a_cell = int(np.prod(shape))
    needed, free = (samples.total - work.seen) * a_cell, shutil.disk_usage(folder).free
    made = f"{samples.total:,} {work.what} of {' × '.join(map(str, shape))} bytes"
    if needed > free:
        raise InputError(
            f"{samples.where}: {made} take {_gigabytes(needed)} on the disk, but {folder} has {_gigabytes(free)} free; "
            f"make room, name a folder of another disk (ROOTSPACE_CACHE, or --output of 'rootspace data build'), or "
            f"take smaller {work.what} ({'--length' if samples.texts else '--size'})"
        )
    if needed >= _NOTICED:
        say(f"{samples.where}: {made} take {_gigabytes(needed)} in {folder}, which has {_gigabytes(free)} free", show)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


class _Chunk(NamedTuple):
    """Samples that stand together, with their cells, and where reading goes on after them: (part, samples of it)."""

    samples: list[Sample]
    cells: list[np.ndarray | InputError]
    place: tuple[int, int]


@dataclass
class _Build:
    """A store that grows chunk by chunk. Of each, the journal gets a line that says all but the pixels."""

    writer: StoreWriter
    images: BinaryIO
    journal: BinaryIO
    where: str
    labelled: bool
    repeats: Repeats | None = None  # of pictures, equal ones are hardly ever by chance
    labels: dict[str, int] = field(default_factory=dict)  # in normal form
    spelled: dict[str, str] = field(default_factory=dict)  # how the data write those that are not
    sources: dict[str, int] = field(default_factory=dict)
    seen: int = 0

    @property
    def what(self) -> str:
        return "images" if self.repeats is None else "texts"

    def replay(self, shape: tuple[int, int, int], skip_bad: bool) -> tuple[int, int]:
        """Take up what the journal tells of and the images file holds; give the place to go on from."""
        place = (0, 0)
        self.journal.seek(0)
        told = 0
        while line := self.journal.readline():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # cut off by the interruption
                break
            if entry["skipped"] and not skip_bad:
                break
            size = len(entry["labels"]) * int(np.prod(shape))
            data = self.images.read(size)
            if len(data) != size or zlib.crc32(data) != entry["crc"]:
                break
            cells = np.frombuffer(data, dtype=np.uint8).reshape(-1, *shape)
            self._take(entry, cells, write=False)
            place = (entry["place"][0], entry["place"][1])
            told += len(line)
        self.journal.truncate(told)
        self.journal.seek(told)
        self.images.truncate(HEADER_BYTES + self.writer.count * int(np.prod(shape)))
        self.images.seek(0, os.SEEK_END)
        return place

    def add(self, chunk: _Chunk, skip_bad: bool) -> None:
        good: list[tuple[Sample, np.ndarray]] = []
        skipped: list[str] = []
        for sample, cell in zip(chunk.samples, chunk.cells, strict=True):
            if isinstance(cell, np.ndarray):
                good.append((sample, cell))
            elif skip_bad:
                skipped.append(sample.name)
            else:
                raise InputError(f"{cell}; remove it, or leave such {self.what} out with --skip-bad")
        cells = np.stack([cell for _, cell in good]) if good else None
        entry = {
            "place": chunk.place,
            "seen": len(chunk.samples),
            "labels": [sample.label for sample, _ in good],
            "sources": [sample.source for sample, _ in good],
            "skipped": skipped,
            "crc": zlib.crc32(b"" if cells is None else cells.reshape(-1).data),
        }
        self._take(entry, cells, write=True)
        self.images.flush()
        self.journal.write(json.dumps(entry).encode() + b"\n")
        self.journal.flush()

    def finish(self, folder: Path, preprocessing: AnyPreprocessing, label_names: Sequence[str] | None) -> None:
        """Write all but the images, and let nothing be lost from here on."""
        if label_names is not None:
            for name in label_names:
                self._number(name)
            names = [normal(name) for name in label_names]
        else:
            names = in_order(self.labels)
        order = [self.labels[name] for name in names]
        if self.repeats is not None:
            self.writer.about["repeats"] = self.repeats.count()
        self.writer.finish(folder, preprocessing, names, list(self.sources), order=np.array(order))
        self.images.flush()
        os.fsync(self.images.fileno())

    def _take(self, entry: dict[str, Any], cells: np.ndarray | None, write: bool) -> None:
        labels = np.array([self._number(label) for label in entry["labels"]])
        sources = np.array([self.sources.setdefault(source, len(self.sources)) for source in entry["sources"]])
        self.writer.about["skipped"] += entry["skipped"]
        self.seen += entry["seen"]
        if cells is None or not len(cells):
            return
        if self.repeats is not None:
            # without labels each is a class of its own, and nothing tells equal ones apart
            self.repeats.add(cells, labels if self.labelled else self.writer.count + np.arange(len(cells)))
        self.writer.add(cells, labels, sources, write)

    def _number(self, label: str) -> int:
        """The number of a label; one that only looks like another is an `InputError`."""
        name = normal(label)
        number = self.labels.get(name)
        if number is None:
            number = self.labels[name] = len(self.labels)
            if name != label:
                self.spelled[name] = label
        elif self.spelled.get(name, name) != label:
            raise one_name(self.where, self.spelled.get(name, name), label)
        return number


def in_order(labels: Iterable[str]) -> list[str]:
    """The labels by size where all are whole numbers, else by their letters.

    >>> in_order(["10", "9", "-1", "009"]), in_order(["10", "9", "b"])
    (['-1', '009', '9', '10'], ['10', '9', 'b'])
    """
    labels = list(labels)
    numbers = all(map(_NUMBER.fullmatch, labels))
    return sorted(labels, key=lambda label: (int(label), label)) if numbers else sorted(labels)


def _decoded(samples: Samples, preprocessing: AnyPreprocessing, place: tuple[int, int]) -> Iterator[_Chunk]:
    """The chunks from `place` on, in order, decoded by threads on all cores some chunks ahead."""
    waiting: deque[tuple[list[Sample], list[Future[list[np.ndarray | InputError]]], tuple[int, int]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for some, after in _chunks(samples, place):
                # a thread a picture; a text takes less time than handing it to a thread
                shares = [some] if samples.texts else [[sample] for sample in some]
                waiting.append((some, [pool.submit(_cells, preprocessing, share) for share in shares], after))
                if len(waiting) > _AHEAD:
                    yield _done(*waiting.popleft())
            while waiting:
                yield _done(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _done(
    samples: list[Sample], futures: list[Future[list[np.ndarray | InputError]]], place: tuple[int, int]
) -> _Chunk:
    return _Chunk(samples, [cell for future in futures for cell in future.result()], place)


def _chunks(samples: Samples, place: tuple[int, int]) -> Iterator[tuple[list[Sample], tuple[int, int]]]:
    """Samples by the chunk, over the borders of parts, with the place after them."""
    some: list[Sample] = []
    first, skip = place
    for part in range(first, samples.parts):
        taken = skip if part == first else 0
        for sample in islice(samples.read(part), taken, None):
            some.append(sample)
            taken += 1
            if len(some) == _CHUNK:
                yield some, (part, taken)
                some = []
    if some:
        yield some, (samples.parts, 0)


def _cells(preprocessing: AnyPreprocessing, samples: list[Sample]) -> list[np.ndarray | InputError]:
    if isinstance(preprocessing, Preprocessing):
        return [_cell(preprocessing, sample) for sample in samples]
    found = iter(preprocessing.cells([sample.picture for sample in samples if isinstance(sample.picture, str)]))
    return [sample.picture if isinstance(sample.picture, InputError) else next(found) for sample in samples]


def _cell(preprocessing: Preprocessing, sample: Sample) -> np.ndarray | InputError:
    if isinstance(sample.picture, (InputError, str)):
        return sample.picture if isinstance(sample.picture, InputError) else InputError(f"{sample.name}: is a text")
    # for "ink" the ink may be a small part of the picture, so nothing is thrown away before it is found
    smallest = None if preprocessing.fit == "ink" else 2 * preprocessing.size
    try:
        return preprocessing.apply(decode(sample.picture, smallest, sample.name))
    except InputError as error:
        return error


@contextmanager
def _kept(path: Path, key: str) -> Iterator[Path]:
    """A folder beside `path` to work in, the same for the same key; at the end its files are the folder `path`.

    It stays when the block ends with an error, unless nothing was done yet, or the disk is full: that helps nobody.
    Whenever the process is killed, either the journal and all it tells of lie in the folder, or the whole store at
    `path`: the folder is moved there in one step, and loses its journal afterwards.
    """
    folder = path.parent / f".{path.name}.{key}.part"
    folder.mkdir(parents=True, exist_ok=True)
    for other in path.parent.iterdir():  # of another build of the same store, which this one takes the place of
        if other.name.startswith(f".{path.name}.") and other.suffix == ".part" and other != folder:
            shutil.rmtree(other, ignore_errors=True)
    for file in folder.iterdir():  # of a build that was killed at its end, and writes them again
        if file.name not in (IMAGES, _JOURNAL):
            file.unlink()
    try:
        yield folder
        move_folder(folder, path)
    except BaseException as error:
        journal = folder / _JOURNAL
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or not (journal.is_file() and journal.stat().st_size):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    (path / _JOURNAL).unlink()
