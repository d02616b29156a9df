"""WebDataset: tar files that hold the parts of a sample under one name with different endings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rootspace.data.build import Sample, Samples
from rootspace.data.cache import key_of
from rootspace.data.fields import UNLABELLED, Fields
from rootspace.data.folders import holds_classes
from rootspace.data.images import SUFFIXES
from rootspace.errors import InputError, require

ENDINGS = (".tar", ".tar.gz", ".tgz")
_IMAGES = ("jpg", "png", "webp", "jpeg", *sorted(suffix[1:] for suffix in SUFFIXES))
_LABELS = ("cls", "txt", "json")
_IN_JSON = ("label", "cls", "class", "class_name")
_VERSION = 2  # of how labels are read: 1 took 007 for 7


def shard_files(path: Path) -> list[Path]:
    """The shards that a path means (a file, a folder of them, a pattern with {000..099} or *), or [].

    A folder that has class folders with images is one of images, and archives in it are none of shards.
    """
    text = str(path)
    if path.is_dir():
        files = archives_in(path)
        return [] if files and holds_classes(path) else files
    if path.is_file() or not _is_shard(path.name):
        return [path] if path.is_file() and _is_shard(path.name) else []
    if "{" in text:
        files = list(map(Path, require("braceexpand", extra="data").braceexpand(text)))
    else:
        files = sorted(path.parent.glob(path.name)) if "*" in path.name else []
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such shard, but {text} names it")
    return files


def archives_in(folder: Path) -> list[Path]:
    """What lies in the folder under the name of a shard."""
    return sorted(file for file in folder.iterdir() if _is_shard(file.name) and file.name[0] != ".")


def shard_samples(
    path: Path,
    files: Sequence[Path],
    fields: Fields = Fields(),  # noqa: B008
    labelled: bool = True,
) -> Samples:
    """The samples of the shards, in their order.

    The image is under the first usual ending there is (jpg, png, webp, ...), the label (looked at where `labelled`)
    under cls, txt or json (its "label" or "class"); `fields` names others, "json:species" the entry of a json. A sample
    without one of them, and a shard that is cut off, count as pictures that cannot be read.
    """
    require("webdataset", extra="data")
    stamps = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    name = (path if path.is_dir() else path.parent).resolve().name or "shards"

    def read(part: int) -> Iterator[Sample]:
        return _read(files[part], fields, name, labelled)

    asked = [fields.image, fields.label, fields.source]
    stamp = key_of([_VERSION, stamps, asked])
    return Samples(str(path.absolute()), "shard", stamp, len(files), read, labelled=labelled, asked=asked)


def _is_shard(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _read(shard: Path, fields: Fields, source: str, labelled: bool) -> Iterator[Sample]:
    tar = require("webdataset.tariterators", extra="data")
    try:
        stream = open(shard, "rb")  # noqa: SIM115
    except OSError as error:
        yield _bad(str(shard), f"cannot be read ({error.strerror})", source)
        return
    with stream:
        groups = tar.group_by_keys(tar.tar_file_expander([{"url": str(shard), "stream": stream}]))
        while True:
            try:
                parts = next(groups)
            except StopIteration:
                break
            except Exception as error:  # tarfile, zlib and the library each have their own
                reason = " ".join(str(error.args[0] if error.args else error).split())[:120]
                yield _bad(str(shard), f"not a readable tar file, or cut off ({reason}); copy it anew", source)
                return
            yield _sample(shard, parts, fields, source, labelled)
    if not _is_closed(shard):
        yield _bad(str(shard), "cut off: it has no end-of-archive mark; copy it anew", source)


def _sample(shard: Path, parts: Mapping[str, Any], fields: Fields, source: str, labelled: bool) -> Sample:
    name = f"{shard}: {parts['__key__']}"
    keys = [key for key in parts if not key.startswith("__")]
    image = fields.image if fields.image is not None else next((key for key in _IMAGES if key in parts), "")
    if image not in parts:
        return _bad(name, f"no image{_under(fields.image)}; it has {', '.join(keys)}", source)
    label = _value(parts, fields.label, _LABELS) if labelled else ""
    if label is None:
        return _bad(name, f"no label{_under(fields.label)}; it has {', '.join(keys)}{UNLABELLED}", source)
    if fields.source is not None:
        named = _value(parts, fields.source, ())
        if named is None:
            return _bad(name, f"no source{_under(fields.source)}; it has {', '.join(keys)}", source)
        source = named
    return Sample(f"{name}.{image}", label, source, parts[image])


def _value(parts: Mapping[str, Any], asked: str | None, usual: Sequence[str]) -> str | None:
    """The text under the key asked for, or under the first usual one; None where there is none."""
    key, _, entry = asked.partition(":") if asked is not None else (next((k for k in usual if k in parts), ""), "", "")
    if key not in parts:
        return None
    with suppress(UnicodeDecodeError, json.JSONDecodeError):
        text = parts[key].decode("utf-8").strip()
        if key.rpartition(".")[2] != "json":
            return text or None
        value = json.loads(text)
        if isinstance(value, dict):
            names = (entry,) if entry else _IN_JSON
            value = next((value[name] for name in names if name in value), None)
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value) or None
    return None


def _bad(name: str, reason: str, source: str) -> Sample:
    return Sample(name, "", source, InputError(f"{name}: {reason}"))


def _under(asked: str | None) -> str:
    return f" under {asked!r}" if asked is not None else ""


def _is_closed(shard: Path) -> bool:
    """Whether the file ends as a tar file does; one cut between two members reads like a shorter whole one."""
    if shard.suffix.lower() != ".tar":  # a compressed one has a checksum at its end, which was compared
        return True
    with open(shard, "rb") as stream:
        stream.seek(-min(512, shard.stat().st_size), 2)
        return not any(stream.read())
