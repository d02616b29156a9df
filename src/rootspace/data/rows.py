"""The rows of a table, one after the other: CSV, TSV, Parquet, or a JSON object a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

from rootspace.errors import InputError, require

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
_LINES = (".jsonl", ".ndjson")
_BATCH = 4096
_FEW = 64  # rows read at once where they hold pictures, which are large
_BUFFER = 1 << 20  # bytes
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


class Held(NamedTuple):
    """What a Parquet file says of its columns beyond their names; nothing of any other table.

    bytes: those of bytes, or of structs with bytes, as the library `datasets` writes pictures; pictures: those among
    them that are pictures by their kind; classes: the names that whole numbers stand for, by column.
    """

    bytes: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    classes: Mapping[str, list[str]] = MappingProxyType({})


def held_of(path: Path) -> Held:
    """What the table says of its columns; no row is read."""
    if path.suffix.lower() != ".parquet":
        return Held()
    kinds = require("pyarrow.types", extra="data")
    with _readable(path):
        schema = require("pyarrow.parquet", extra="data").read_schema(path)
    structs = [
        field.name for field in schema if kinds.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    plain = [field.name for field in schema if kinds.is_binary(field.type) or kinds.is_large_binary(field.type)]
    features = _features(schema.metadata or {})
    told = [name for name in structs if features.get(name, {}).get("_type") == "Image"]
    classes = {
        name: list(map(str, feature["names"]))
        for name, feature in features.items()
        if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }
    return Held((*structs, *plain), tuple(told if features else structs), classes)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What the library `datasets` has noted of the columns."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {str(name): feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def groups_of(path: Path) -> list[int]:
    """How many rows there are in each part of a Parquet file that can be read by itself."""
    with _readable(path):
        read = require("pyarrow.parquet", extra="data").read_metadata(path)
        return [int(read.row_group(group).num_rows) for group in range(read.num_row_groups)]


def rows_of(path: Path, wanted: Sequence[str], group: int | None = None) -> Iterator[tuple[Any, ...]]:
    """The values of the columns `wanted`, which must be there, row by row; None where a row has none.

    Values of CSV and TSV are texts. `group` reads one part of a Parquet file (`groups_of`), some rows at a time. A row
    that does not fit the head, and a damaged file, are `InputError`s.
    """
    suffix = path.suffix.lower()
    with _readable(path):
        if suffix == ".parquet":
            yield from _parquet(path, wanted, group)
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


def _parquet(path: Path, wanted: Sequence[str], group: int | None) -> Iterator[tuple[Any, ...]]:
    parquet = require("pyarrow.parquet", extra="data")
    size, groups = (_BATCH, None) if group is None else (_FEW, [group])
    # else a whole part is read at once, and a file may have one part only
    how = {} if group is None else {"buffer_size": _BUFFER, "pre_buffer": False}
    with parquet.ParquetFile(path, **how) as file:
        for batch in file.iter_batches(size, row_groups=groups, columns=list(dict.fromkeys(wanted))):
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
