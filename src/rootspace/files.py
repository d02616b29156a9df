"""Whole files or none: atomic writes, and checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rootspace.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

#: The system has no room for what was to be written: on the disk, by the user's quota, or in one file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file that hold more than white space; a file that cannot be read is an `InputError`."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            yield from filter(str.strip, (line.rstrip("\r\n") for line in stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"{path}: cannot be read ({reason}); expected a file with one text a line") from None


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed onto `path`.

    On an error nothing is left behind and an existing `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, mode = _new(path, _create_file)
    try:
        with _naming(path):
            yield temporary
            _flush(temporary)
        temporary.chmod(mode)  # some libraries put a file of their own in its place, which only its owner may read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it is flushed to disk and takes the place of `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, _ = _new(path, os.mkdir)
    try:
        with _naming(path):
            yield temporary
            move_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(folder: Path, path: Path) -> None:
    """Flush the files of `folder`, which lies beside `path`, to disk, and let it take the place of `path`."""
    for child in folder.rglob("*"):
        if child.is_file():
            _flush(child)
    if path.exists():
        # rename cannot replace a folder that holds files: the old one steps aside first
        old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
        os.replace(path, old / path.name)
        os.replace(folder, path)
        shutil.rmtree(old)
    else:
        os.replace(folder, path)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors to `path` as safetensors; what the system refuses is an `OSError` that names `path`."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with _naming(path):
        try:
            save_file(tensors, path)
        except SafetensorError as error:
            # it has no number but in its text: "I/O error: No space left on device (os error 28)"
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let the error of a full disk name the file or folder that was to be written, not a hidden one, and say what to
    do.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        reason = f"{os.strerror(error.errno)}; make room there, or write to another place"
        raise OSError(error.errno, reason, str(path)) from error


def read_json(path: Path) -> Any:
    """Read JSON from `path`; a missing or malformed file is an `InputError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _new(path: Path, create: Callable[[Path], object]) -> tuple[Path, int]:
    """Something new and hidden beside `path`, and its mode: the kernel's choice by the umask, unlike `tempfile`'s.

    The umask cannot be read without setting it, for the whole process.
    """
    while True:
        new = path.parent / f".{path.name}.{secrets.token_hex(4)}"
        try:
            create(new)
        except FileExistsError:
            continue
        return new, stat.S_IMODE(new.stat().st_mode)


def _create_file(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _flush(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
