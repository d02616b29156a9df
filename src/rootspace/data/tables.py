"""Lists of images in a CSV or Parquet file: a path and a label a row."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rootspace.data.build import Label, Sample, Samples
from rootspace.data.fields import Fields, column
from rootspace.errors import InputError, require

SUFFIXES = (".csv", ".parquet")
_PART = 4096
_THREADS = 16
_PATHS, _LABELS, _SOURCES = ("path", "image", "file", "filename"), ("label", "class"), ("source",)

Rows = list[tuple[str, str, str]]


def table_samples(path: Path, fields: Fields = Fields()) -> Samples:  # noqa: B008
    """The images that a CSV or Parquet file lists; paths are relative to the file's folder.

    Columns path, label and, where there is one, source. Labels that are all whole numbers are sorted as numbers. A
    missing column or value, and a path that stands twice, are `InputError`s.
    """
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
    try:
        rows = read(path, fields)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as a table ({reason}); expected UTF-8 text or Parquet") from None
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


def _read_csv(path: Path, fields: Fields) -> Rows:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream)
        there = next(lines, [])
        wanted = _wanted(path, there, fields)
        places = [there.index(name) for name in wanted]
        rows: Rows = []
        for line in lines:
            if not line:
                continue
            if len(line) != len(there):
                raise InputError(f"{path}: line {lines.line_num} has {len(line)} values, the head names {len(there)}")
            values = [line[place] for place in places]
            rows.append((values[0], values[1], values[2] if len(values) > 2 else path.stem))
        return rows


def _read_parquet(path: Path, fields: Fields) -> Rows:
    parquet = require("pyarrow.parquet", extra="data")
    arrow = require("pyarrow", extra="data")
    try:
        wanted = _wanted(path, parquet.read_schema(path).names, fields)
        table = parquet.read_table(path, columns=wanted)
        columns = [table.column(name).cast(arrow.string()).to_pylist() for name in wanted]
    except arrow.ArrowException as error:
        raise InputError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())[:120]})") from None
    sources = columns[2] if len(columns) > 2 else [path.stem] * len(columns[0])
    return [(name or "", label or "", source or "") for name, label, source in zip(*columns[:2], sources, strict=True)]


def _wanted(path: Path, there: list[str], fields: Fields) -> list[str]:
    found = [
        column(str(path), there, fields.image, _PATHS, "image's path"),
        column(str(path), there, fields.label, _LABELS, "label"),
    ]
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
