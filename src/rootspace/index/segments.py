"""A folder of immutable segments, and one file that says which of them count.

A segment holds arrays of equally many rows (or none: a segment's own arrays may have any length) in one .npy file each,
written once and memory-mapped. index.json names the segments with the checksums of their files, which of their rows
are dead, and free JSON values beside them (`about`). Everything new is written under a name never used before; then
index.json is replaced, which is one rename: a process that stops before leaves the old state, and files of no use,
which the next writer sweeps.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.errors import InputError
from rootspace.files import atomic_file, atomic_folder, read_json, sha256, write_json
from rootspace.train.checkpoint import claimed

#: Written, and those read. In 1 an index knows its model only as a whole: see `rootspace.index.identity`.
VERSION, VERSIONS = 2, (1, 2)
STATE = "index.json"


@dataclass(frozen=True)
class Segment:
    """Named arrays of one write; dead: which of its `rows` rows no longer count, bool (rows,), or None for none."""

    name: str
    rows: int
    arrays: Mapping[str, np.ndarray]
    dead: np.ndarray | None = None

    @property
    def live(self) -> int:
        """How many rows count."""
        return self.rows if self.dead is None else self.rows - int(np.count_nonzero(self.dead))

    def rows_alive(self) -> np.ndarray:
        """The numbers of the rows that count, int64, ascending."""
        return np.arange(self.rows) if self.dead is None else np.flatnonzero(~self.dead)


class SegmentFolder:
    """The segments in a folder of a given format; `about` holds JSON values of their owner.

    Opened with writing=True it holds the folder's lock until `close`: a second writer gets an `InputError` at once.
    Readers take no lock, and see the state of the moment at which they opened.
    """

    def __init__(self, path: Path, kind: str, writing: bool = False, verify: bool = True) -> None:
        self.path, self.kind, self.writing = Path(path), kind, writing
        self._held = ExitStack()
        if not (self.path / STATE).is_file():
            what = "no such folder" if not self.path.is_dir() else f"{STATE} is missing"
            raise InputError(f"{self.path}: {what}; expected a folder written as {kind}")
        try:
            if writing:
                self._held.enter_context(claimed(self.path))
            self._load(verify)
            if writing:
                self._sweep()
        except BaseException:
            self._held.close()
            raise

    @classmethod
    def create(cls, path: Path, kind: str, about: Mapping[str, Any]) -> SegmentFolder:
        """A new folder without segments, open for writing; `InputError` where there is anything already."""
        path = Path(path)
        check_new(path)
        path.mkdir(parents=True, exist_ok=True)
        _write_state(path, kind, dict(about), 0, [])
        return cls(path, kind, writing=True)

    def close(self) -> None:
        """Let go of the lock."""
        self._held.close()
        self.writing = False

    def commit(
        self,
        *,
        append: Mapping[str, np.ndarray] | None = None,
        rows: int = 0,
        dead: Mapping[int, np.ndarray] | None = None,
        alone: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a new state, whole or not at all.

        append: the arrays of a new segment of `rows` rows; dead: segment number -> rows (m,) that count no longer, in
        addition to those before; alone: the new segment takes the place of all others; about: values to set.
        """
        self._require_writing()
        entries = [dict(entry) for entry in self._entries]
        serial = self.serial + 1
        for number, gone in (dead or {}).items():
            entries[number]["dead"] = self._write_dead(number, gone, serial)
        if alone:
            entries = []
        if append is not None:
            entries.append(self._write_segment(append, rows, serial))
        # a segment of which nothing is left goes with the next sweep
        entries = [entry for entry in entries if (entry["dead"] or {"rows": 0})["rows"] < entry["rows"]]
        _write_state(self.path, self.kind, {**self.about, **(about or {})}, serial, entries)
        self._load(verify=False)
        self._sweep()

    @property
    def live(self) -> int:
        """How many rows count, over all segments."""
        return sum(segment.live for segment in self.segments)

    def _write_segment(self, arrays: Mapping[str, np.ndarray], rows: int, serial: int) -> dict[str, Any]:
        name = f"segment-{serial:06}"
        with atomic_folder(self.path / name) as temporary:
            for key, array in arrays.items():
                np.save(temporary / f"{key}.npy", array, allow_pickle=False)
            digests = {key: sha256(temporary / f"{key}.npy") for key in arrays}
        return {"name": name, "rows": rows, "sha256": digests, "dead": None}

    def _write_dead(self, number: int, gone: np.ndarray, serial: int) -> dict[str, Any]:
        segment = self.segments[number]
        dead = np.zeros(segment.rows, dtype=bool) if segment.dead is None else segment.dead.copy()
        dead[gone] = True
        name = f"dead-{serial:06}-{number}.npy"
        with atomic_file(self.path / name) as temporary, open(temporary, "wb") as stream:
            np.save(stream, np.packbits(dead), allow_pickle=False)
        return {"name": name, "rows": int(np.count_nonzero(dead)), "sha256": sha256(self.path / name)}

    def _load(self, verify: bool) -> None:
        """Read the state; where a writer replaced it meanwhile, the new one."""
        while True:
            state = self._read_state()
            try:
                segments = [self._open_segment(entry, verify) for entry in state["segments"]]
            except InputError:
                if self._read_state()["serial"] == state["serial"]:
                    raise
                continue
            break
        self.about: dict[str, Any] = state["about"]
        self.serial: int = state["serial"]
        self._entries: list[dict[str, Any]] = state["segments"]
        self.segments: Sequence[Segment] = tuple(segments)

    def _read_state(self) -> dict[str, Any]:
        path = self.path / STATE
        state = read_json(path)
        if not isinstance(state, dict) or state.get("format") != self.kind:
            found = state.get("format") if isinstance(state, dict) else None
            raise InputError(f"{path}: expected a {self.kind}, got {found!r}")
        if state.get("version") not in VERSIONS:
            raise InputError(
                f"{self.path}: format version {state.get('version')!r}, this rootspace reads "
                f"{' and '.join(map(str, VERSIONS))}; upgrade rootspace, or build it anew"
            )
        if state.pop("checksum", None) != _checksum(state):
            raise InputError(f"{path}: checksum mismatch, the file was altered or damaged; build the index anew")
        return state

    def _open_segment(self, entry: dict[str, Any], verify: bool) -> Segment:
        folder = self.path / entry["name"]
        arrays = {key: _array(folder / f"{key}.npy", digest, verify) for key, digest in entry["sha256"].items()}
        dead = None
        if entry["dead"]:
            packed = _array(self.path / entry["dead"]["name"], entry["dead"]["sha256"], verify)
            dead = np.unpackbits(packed, count=entry["rows"]).astype(bool)
        return Segment(entry["name"], entry["rows"], arrays, dead)

    def _sweep(self) -> None:
        """Remove what no state names: the leavings of a stopped write, and what a later one replaced."""
        named = {entry["name"] for entry in self._entries}
        named |= {entry["dead"]["name"] for entry in self._entries if entry["dead"]}
        for path in self.path.iterdir():
            part = path.name.lstrip(".").startswith(("segment-", "dead-", f"{STATE}."))
            if part and path.name not in named:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def _require_writing(self) -> None:
        if not self.writing:
            raise InputError(f"{self.path}: is open for reading; open it with writing=True")


def check_new(path: Path) -> None:
    """Raise `InputError` unless nothing is at `path`, or an empty folder."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: is there already; add to it, remove it, or give another name")


def find_ids(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The row of each wanted id in ascending `ids`, -1 where it is not there: int64 (m,), (N,) -> int64 (m,).

    >>> find_ids(np.array([7, 3, 5]), np.array([3, 4, 7]))
    array([ 2,  0, -1])
    """
    if not len(ids):
        return np.full(len(wanted), -1)
    place = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    return np.where(ids[place] == wanted, place, -1)


def _array(path: Path, digest: str, verify: bool) -> np.ndarray:
    try:
        if verify and sha256(path) != digest:
            raise InputError(f"{path}: checksum mismatch, the file was altered or damaged; build the index anew")
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:  # also one that a writer swept while it was read here, for which `_load` tries again
        raise InputError(f"{path}: no such file; the index is damaged, build it anew") from None
    except InputError:  # which is a ValueError
        raise
    except (ValueError, OSError, EOFError) as error:
        if os.path.getsize(path) and "mmap" in str(error):  # an array without elements cannot be mapped
            return np.asarray(np.load(path, allow_pickle=False))
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())[:80]}); build the index anew") from None
    return found


def _write_state(path: Path, kind: str, about: dict[str, Any], serial: int, entries: list[dict[str, Any]]) -> None:
    state = {"format": kind, "version": VERSION, "serial": serial, "about": about, "segments": entries}
    write_json(path / STATE, {**state, "checksum": _checksum(state)})


def _checksum(state: Mapping[str, Any]) -> str:
    canonical = json.dumps(state, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
