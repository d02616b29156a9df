"""Checksums of the files that a vector library writes for itself."""

from __future__ import annotations

from pathlib import Path

from rootspace.errors import InputError
from rootspace.files import sha256
from rootspace.index.backends import Backend


def digests(folder: Path, kind: type[Backend]) -> dict[str, str]:
    """Name -> SHA-256 of all files under a backend's folder; none where it compares checksums of its own."""
    if kind.verifies:
        return {}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def check_digests(folder: Path, expected: dict[str, str], kind: type[Backend]) -> None:
    """Raise `InputError` naming the first file that is missing, one too many, or not as written."""
    try:
        found = digests(folder, kind)
    except FileNotFoundError as error:  # a writer took it away while it was read here
        raise InputError(f"{error.filename}: no such file; the index is damaged, build it anew") from None
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise InputError(f"{folder / name}: no such file; the index is damaged, build it anew")
        if name not in expected:
            raise InputError(f"{folder / name}: is no file of this index; remove it, or build the index anew")
        if found[name] != expected[name]:
            raise InputError(f"{folder / name}: checksum mismatch, it was altered or damaged; build the index anew")
