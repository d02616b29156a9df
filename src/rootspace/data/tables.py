"""Tables of pictures or texts: a path or a text, and a label, a row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rootspace.data.build import Label, Sample, Samples
from rootspace.data.cache import key_of
from rootspace.data.fields import TEXTS, Fields, column
from rootspace.data.rows import columns_of, count_of, rows_of
from rootspace.data.texts import text_error
from rootspace.errors import InputError

_PART = 4096
_THREADS = 16
_PATHS, _LABELS, _SOURCES = ("path", "image", "file", "filename"), ("label", "class"), ("source",)
_PATH_OR_TEXT = f"image's path, or the text ({', '.join(TEXTS)})"

Rows = list[tuple[str, str, str]]


def table_samples(path: Path, fields: Fields = Fields(), texts: bool | None = None) -> Samples:  # noqa: B008
    """The pictures that a table lists, paths relative to its folder, or the texts that it holds.

    Columns path (or text), label and, where there is one, source. `texts` says which kind is wanted; None takes texts
    where there is a column for them and none for paths. Labels that are all whole numbers are sorted as numbers. A
    missing column or value, and a path that stands twice, are `InputError`s.
    """
    there = columns_of(path)
    if are_texts(path, fields, texts):
        return _text_samples(path, there, fields)
    read = rows_of(path, _wanted(path, there, fields))
    rows: Rows = [(_text_of(row[0]), _text_of(row[1]), _text_of(row[2]) if row[2:] else path.stem) for row in read]
    if not rows:
        raise InputError(f"{path}: lists no image")
    _check_rows(path, rows)
    whole = all(label.isascii() and label.isdigit() for _, label, _ in rows)
    folder = path.parent

    def samples(part: int) -> Iterator[Sample]:
        for name, text, source in rows[part * _PART : (part + 1) * _PART]:
            label: Label = int(text) if whole else text
            yield Sample(name, label, source, folder / name)

    stamp = _stamp(folder, rows)
    return Samples(str(path.resolve()), "table", stamp, -(-len(rows) // _PART), samples, total=len(rows))


def are_texts(path: Path, fields: Fields, texts: bool | None = None) -> bool:
    """Whether a table is taken for texts, by its columns; see `table_samples`."""
    return fields.are_texts(columns_of(path), _PATHS, texts)


def _text_samples(path: Path, there: list[str], fields: Fields) -> Samples:
    """The texts of a table, which is read anew each time and never held: in parts, by passing over those before."""
    wanted = _wanted(path, there, fields, texts=True)

    def samples(part: int) -> Iterator[Sample]:
        for number, row in enumerate(rows_of(path, wanted), 1):
            name = f"{path}: row {number}"
            yield text_sample(name, row[0], row[1], row[2] if row[2:] else path.stem)

    if next(islice(samples(0), 1), None) is None:
        raise InputError(f"{path}: holds no text")
    status = path.stat()
    stamp = key_of(["texts", status.st_size, status.st_mtime_ns, wanted])
    return Samples(str(path.resolve()), "table", stamp, 1, samples, total=count_of(path), texts=True)


def text_sample(name: str, text: Any, label: Any, source: Any) -> Sample:
    """A row of texts; one without a text carries why, one without a label or source is an `InputError`."""
    for value, what in ((label, "label"), (source, "source")):
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            shown = "" if value in (None, "") else f" (it is {value!r:.60}, expected a string or a whole number)"
            raise InputError(f"{name} has no {what}{shown}")
    error = text_error(text)
    return Sample(name, str(label), str(source), text if error is None else InputError(f"{name}: {error}"))


def _text_of(value: Any) -> str:
    return "" if value is None else str(value)


def _wanted(path: Path, there: list[str], fields: Fields, texts: bool = False) -> list[str]:
    asked, usual, what = (fields.text, TEXTS, "text") if texts else (fields.image, _PATHS, _PATH_OR_TEXT)
    found = [column(str(path), there, asked, usual, what), column(str(path), there, fields.label, _LABELS, "label")]
    if fields.source is not None or any(name in there for name in _SOURCES):
        found.append(column(str(path), there, fields.source, _SOURCES, "source"))
    return found


def _check_rows(path: Path, rows: Rows) -> None:
    first: dict[str, int] = {}
    for number, (name, label, source) in enumerate(rows):
        for value, what in ((name, "path"), (label, "label"), (source, "source")):
            if not value:
                raise InputError(f"{path}: row {number + 1} has no {what}")
        before = first.setdefault(name, number)
        if before != number:
            other = rows[before][1]
            how = f"with the labels {other!r} and {label!r}" if other != label else f"with the label {label!r}"
            raise InputError(f"{path}: {name!r} stands twice, in rows {before + 1} and {number + 1}, {how}; keep one")


def _stamp(folder: Path, rows: Rows) -> str:
    """Changes with any row, and with the size or time of any file."""
    digest = hashlib.sha256()
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
