"""Tables of pictures or texts: a path or a text, and a label, a row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rootspace.data.build import Sample, Samples
from rootspace.data.cache import key_of
from rootspace.data.fields import TEXTS, Fields, class_name, column, written
from rootspace.data.rows import Held, columns_of, count_of, groups_of, held_of, rows_of
from rootspace.data.texts import text_error
from rootspace.errors import InputError

_PART = 4096
_THREADS = 16
_PATHS, _LABELS, _SOURCES = ("path", "image", "file", "filename"), ("label", "class"), ("source",)
_PATH_OR_TEXT = f"image's path, or the text ({', '.join(TEXTS)})"

Rows = list[tuple[str, str, str]]


def table_samples(
    path: Path,
    fields: Fields = Fields(),  # noqa: B008
    texts: bool | None = None,
    labelled: bool = True,
) -> Samples:
    """The pictures that a table lists, paths relative to its folder, or the pictures or texts that it holds.

    Columns path (or text; or of a Parquet file pictures, as bytes or as the library `datasets` writes them), label
    (looked at where `labelled`) and, where there is one, source. `texts` says which kind is wanted; None takes texts
    where there is a column for them and none for pictures. Labels that are all whole numbers are sorted as numbers. A
    missing column or value, and a path that stands twice, are `InputError`s.
    """
    there, held = columns_of(path), held_of(path)
    wants_texts = _are_texts(there, held, fields, texts)
    columns = _columns(path, there, held, fields, wants_texts, labelled)
    if wants_texts:
        return _text_samples(path, columns, fields)
    if columns.sample in held.bytes:
        return _held_samples(path, columns, fields)
    rows = _picture_rows(path, columns)
    folder = path.parent

    def samples(part: int) -> Iterator[Sample]:
        for name, label, source in rows[part * _PART : (part + 1) * _PART]:
            yield Sample(name, label, source, folder / name)

    return Samples(
        str(path.resolve()),
        "table",
        _stamp(folder, rows),
        -(-len(rows) // _PART),
        samples,
        columns.classes,
        total=len(rows),
        labelled=labelled,
        asked=[fields.image, fields.label, fields.source],
    )


def holds_texts(path: Path, fields: Fields) -> bool:
    """Whether `table_samples` would take a table for texts, of which it reads the columns' names alone."""
    return _are_texts(columns_of(path), held_of(path), fields, None)


def _are_texts(there: list[str], held: Held, fields: Fields, wanted: bool | None) -> bool:
    pictures = bool(held.pictures) or any(name in there for name in _PATHS)
    return fields.are_texts(pictures, any(name in there for name in TEXTS), wanted)


class _Columns(NamedTuple):
    """The names of the columns to read; None where there is none, or where nobody wants it.

    classes: the names that the labels' numbers stand for, where the table has them.
    """

    sample: str
    label: str | None
    source: str | None
    classes: list[str] | None

    @property
    def wanted(self) -> list[str]:
        return [name for name in (self.sample, self.label, self.source) if name is not None]

    def rows(self, path: Path, group: int | None = None, first: int = 1) -> Iterator[tuple[str, Any, str, str]]:
        """Of each row: how messages call it, its sample, label ("" without a column) and source (the file's name)."""
        for number, row in enumerate(rows_of(path, self.wanted, group), first):
            name, values = f"{path}: row {number}", iter(row)
            sample = next(values)
            label = "" if self.label is None else class_name(name, self.label, next(values), self.classes)
            source = path.stem if self.source is None else written(name, self.source, next(values), "source")
            yield name, sample, label, source


def _columns(path: Path, there: list[str], held: Held, fields: Fields, texts: bool, labelled: bool) -> _Columns:
    where = str(path)
    if texts:
        sample = column(where, there, fields.text, TEXTS, "text", "--text-column")
    else:
        pictures = [name for name in _PATHS if name in held.bytes]
        usual = (*pictures, *held.pictures, *_PATHS)
        option = "--image-column or --text-column"
        sample = column(where, there, fields.image, usual, _PATH_OR_TEXT, option, TEXTS)
    label, classes = None, None
    if labelled:
        label = column(where, there, fields.label, (*_LABELS, *held.classes), "label", "--label-column")
        classes = held.classes.get(label)
    source = fields.source or next((name for name in _SOURCES if name in there), None)
    if source is not None:
        column(where, there, source, (), "source", "--source-column")
    return _Columns(sample, label, source, classes)


def _text_samples(path: Path, columns: _Columns, fields: Fields) -> Samples:
    """The texts of a table, which is read anew each time and never held: in parts, by passing over those before."""

    def samples(part: int) -> Iterator[Sample]:
        return (text_sample(*row) for row in columns.rows(path))

    if next(islice(samples(0), 1), None) is None:
        raise InputError(f"{path}: holds no text")
    status = path.stat()
    return Samples(
        str(path.resolve()),
        "table",
        key_of(["texts", status.st_size, status.st_mtime_ns, columns.wanted]),
        1,
        samples,
        columns.classes,
        total=count_of(path),
        texts=True,
        labelled=columns.label is not None,
        asked=[fields.text, fields.label, fields.source],
    )


def text_sample(name: str, text: Any, label: str, source: str) -> Sample:
    """A row of texts; one without a text carries why."""
    error = text_error(text)
    return Sample(name, label, source, text if error is None else InputError(f"{name}: {error}"))


def _held_samples(path: Path, columns: _Columns, fields: Fields) -> Samples:
    """The pictures that a Parquet file holds, in its own parts; none is kept."""
    sizes = groups_of(path)
    if not sum(sizes):
        raise InputError(f"{path}: holds no image")

    def samples(part: int) -> Iterator[Sample]:
        for name, value, label, source in columns.rows(path, part, 1 + sum(sizes[:part])):
            yield Sample(name, label, source, picture_of(name, value, path.parent))

    status = path.stat()
    return Samples(
        str(path.resolve()),
        "table",
        key_of(["pictures", status.st_size, status.st_mtime_ns, columns.wanted]),
        len(sizes),
        samples,
        columns.classes,
        total=sum(sizes),
        labelled=columns.label is not None,
        asked=[fields.image, fields.label, fields.source],
    )


def picture_of(name: str, value: Any, folder: Path = Path()) -> Path | bytes | InputError:
    """The picture of a row that holds its bytes, or a mapping with the bytes or with its path below `folder`."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes) and data:
        return data
    if isinstance(value, dict) and isinstance(value.get("path"), str) and value["path"]:
        return folder / value["path"]
    return InputError(f"{name}: holds no image")


def _picture_rows(path: Path, columns: _Columns) -> Rows:
    """(path, label, source) of each row; a path that stands twice is an `InputError`."""
    rows: Rows = []
    first: dict[str, int] = {}
    for number, (row, sample, label, source) in enumerate(columns.rows(path)):
        name = written(row, columns.sample, sample, "path")
        rows.append((name, label, source))
        before = first.setdefault(name, number)
        if before != number:
            other = rows[before][1]
            how = f", with the labels {other!r} and {label!r}" if other != label else ""
            raise InputError(f"{path}: {name!r} stands twice, in rows {before + 1} and {number + 1}{how}; keep one")
    if not rows:
        raise InputError(f"{path}: lists no image")
    return rows


def _stamp(folder: Path, rows: Rows) -> str:
    """Changes with any row, and with the size or time of any file."""
    digest = hashlib.sha256(b"labels as they are written")  # stores that were made before this held 007 as 7
    parts = [rows[start : start + _PART] for start in range(0, len(rows), _PART)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for text in pool.map(partial(_stamps, str(folder)), parts):
            digest.update(text)
    return digest.hexdigest()


def _stamps(folder: str, rows: Rows) -> bytes:
    lines = []
    for row in rows:
        status = _status(os.path.join(folder, row[0]))
        lines.append(f"{row}\n" if status is None else f"{row}{status.st_size} {status.st_mtime_ns}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def _status(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)
    except (OSError, ValueError):  # reading it gives the error that names it
        return None
