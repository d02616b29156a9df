"""The rows of a table, one after the other: CSV, TSV, Parquet, or a JSON object a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rootspace.errors import InputError, require

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
_LINES = (".jsonl", ".ndjson")
_BATCH = 4096
_LONGEST_FIELD = 1 << 24  # characters of a value in CSV; a quote that is never closed must not fill the memory


def columns_of(path: Path) -> list[str]:
    """The names of the table's columns; of JSON lines those of the first object."""
    suffix = path.suffix.lower()
    with _readable(path):
        if suffix == ".parquet":
            return list(require("pyarrow.parquet", extra="data").read_schema(path).names)
        if suffix in _LINES:
            return list(next(_objects(path), {}))
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return next(_lines(path, stream), [])


def rows_of(path: Path, wanted: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The values of the columns `wanted`, which must be there, row by row; None where a row has none.

    Values of CSV and TSV are texts. A row that does not fit the head, and a damaged file, are `InputError`s.
    """
    suffix = path.suffix.lower()
    with _readable(path):
        if suffix == ".parquet":
            yield from _parquet(path, wanted)
        elif suffix in _LINES:
            for row in _objects(path):
                yield tuple(row.get(name) for name in wanted)
        else:
            yield from _separated(path, wanted)


def count_of(path: Path) -> int | None:
    """How many rows there are, where that takes no reading of them."""
    if path.suffix.lower() != ".parquet":
        return None
    with _readable(path):
        return int(require("pyarrow.parquet", extra="data").read_metadata(path).num_rows)


def _separated(path: Path, wanted: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        lines = _lines(path, stream)
        there: list[str] = next(lines, [])
        places = [there.index(name) for name in wanted]
        for line in _parsed(path, lines):
            if not line:
                continue
            if len(line) != len(there):
                raise InputError(f"{path}: line {lines.line_num} has {len(line)} values, the head names {len(there)}")
            yield tuple(line[place] for place in places)


def _lines(path: Path, stream: TextIO) -> Any:
    """A reader of a CSV or TSV file that is at its beginning."""
    # Python's own limit, 131,072, is one for the whole process, and others may have raised it further
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    delimiter = "\t"
    if path.suffix.lower() != ".tsv":
        head = next(csv.reader([stream.readline()]), [])
        stream.seek(0)
        # what spreadsheets write where the comma belongs to the numbers
        delimiter = ";" if len(head) == 1 and ";" in head[0] else ","
    return csv.reader(stream, delimiter=delimiter)


def _parsed(path: Path, lines: Any) -> Iterator[list[str]]:
    """The values of each line; what is no CSV is an `InputError` that names the line."""
    while True:
        try:
            line = next(lines, None)
        except csv.Error as error:
            reason = str(error)
            if "field larger than" in reason:
                reason = f"a value has more than {csv.field_size_limit():,} characters; is a quote never closed?"
            raise InputError(f"{path}: line {lines.line_num} cannot be read ({reason})") from None
        if line is None:
            return
        yield line


def _parquet(path: Path, wanted: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    parquet = require("pyarrow.parquet", extra="data")
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH, columns=list(dict.fromkeys(wanted))):
            yield from zip(*(batch.column(name).to_pylist() for name in wanted), strict=True)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}: line {number} is no JSON ({error})") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}: line {number} is {line.strip():.40}, expected a JSON object")
            yield row


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Damaged tables, and what is none, as `InputError`s of one line."""
    try:
        yield
    except InputError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as a table ({reason}); expected UTF-8 text or Parquet") from None
    except Exception as error:
        if type(error).__module__.split(".")[0] != "pyarrow":
            raise
        raise InputError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())[:120]})") from None
