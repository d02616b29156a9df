"""Where decoded and drawn images are kept between runs, and the rule for using them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rootspace.data.store import ImageStore
from rootspace.errors import InputError
from rootspace.files import read_json, sha256, write_json

try:
    import fcntl
except ModuleNotFoundError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_STALE_SECONDS = 30 * 24 * 3600


def cache_folder(cache: str | Path | None = None) -> Path:
    """The folder for cached data: the argument, else $ROOTSPACE_CACHE, else $XDG_CACHE_HOME/rootspace, else
    ~/.cache/rootspace. It need not exist yet.
    """
    if cache is not None:
        return Path(cache)
    if named := os.environ.get("ROOTSPACE_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rootspace"


def key_of(value: Any) -> str:
    """A short key that depends on every part of a JSON value.

    >>> key_of({"size": 32}) == key_of({"size": 32}), key_of({"size": 32}) == key_of({"size": 33})
    (True, False)
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def open_or_build(
    path: Path, build: Callable[[Path], None], fresh: Callable[[ImageStore], bool] | None = None
) -> ImageStore:
    """The store at `path` if it is whole and `fresh`, else what `build(path)` writes there.

    A cache folder that cannot be written is an `InputError`.
    """

    def ready() -> ImageStore | None:
        # interrupted, damaged, or of an older version: a cache is made anew
        with contextlib.suppress(InputError):
            store = ImageStore.open(path)
            return store if fresh is None or fresh(store) else None
        return None

    if store := ready():
        return store
    try:
        _sweep(path)
        with alone(path):
            if store := ready():  # another process made it while this one waited
                return store
            build(path)
    except OSError as error:
        if store := ready():  # another process finished the same first
            return store
        raise InputError(
            f"{path.parent}: cannot write the cache ({error.strerror or error}); "
            "set ROOTSPACE_CACHE to a folder that can be written"
        ) from None
    return ImageStore.open(path, verify=False)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold what will be at `path` within the block; another process that asks waits. Ends with the process, too."""
    lock = path.parent / f".{path.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    while True:
        with open(lock, "wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            # whoever held it before has removed the file: then this lock is of a file that nobody else can find
            if not _is_at(lock, stream.fileno()):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(path: Path, handle: int) -> bool:
    """Whether the open file is the one that lies at `path` now."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def digests(files: list[Path], cache: Path) -> dict[Path, str]:
    """The SHA-256 of every file, remembered in the cache by the file's size and time of change."""
    memory = cache / "digests.json"
    try:
        known = read_json(memory)
    except InputError:
        known = {}
    known = known if isinstance(known, dict) else {}
    found: dict[Path, str] = {}
    changed = False
    for file in files:
        status = file.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = known.get(str(file))
        if not (isinstance(entry, list) and len(entry) == 3 and entry[:2] == stamp):
            entry = known[str(file)] = [*stamp, sha256(file)]
            changed = True
        found[file] = entry[2]
    if changed:
        with contextlib.suppress(OSError):  # only a memory: without it the files are read again next time
            write_json(memory, known)
    return found


def _sweep(path: Path) -> None:
    """Remove what was left beside `path` a month ago, but for a build of `path` itself, which goes on from there."""
    if not path.parent.is_dir():
        return
    for left in path.parent.glob(".*"):
        own = left.name.startswith(f".{path.name}.") and left.suffix == ".part"
        if not own and left.is_dir() and time.time() - _changed(left) > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _changed(folder: Path) -> float:
    """When a file in the folder was last written: files that grow do not change the time of their folder."""
    try:
        return max(file.stat().st_mtime for file in (folder, *folder.iterdir()))
    except OSError:  # gone in this moment: in use
        return time.time()
