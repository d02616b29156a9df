"""Emoji: every emoji a class, every vendor's drawing of it one picture; one vendor is never trained or tuned on.

The pictures are those of the npm packages emoji-datasource-<vendor> (github.com/iamcal/emoji-data), 64 x 64 pixels,
fetched once with `npm pack` (340 MB) and kept decoded in the cache (86 MB). The packages are under the MIT licence; the
pictures are not. As their README.md says: Google's (Noto) are under the Apache License 2.0, Twitter's (Twemoji) under
CC BY 4.0, Apple's are "not licensed for commercial usage" and Facebook's "have no clear licensing". None of them is in
this repository.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.data import ImageStore, Preprocessing, split_by_source
from rootspace.data.cache import cache_folder, open_or_build
from rootspace.errors import InputError, require
from rootspace.train import Augment
from tasks.base import Task
from tasks.lite0 import lite0, lite0_features

VERSION = "16.0.0"
TRAINING = ("apple", "google")
TUNING = "facebook"
UNTOUCHED = "twitter"
"""Drawn flat and often turned the other way, where the other three shade: the least like any of them."""

STAGES, GRID = 5, 4
"""The backbone ends after its fifth stage: beyond it, maps of 64 x 64 pixels are too small to say what lies where."""

_VENDORS = (*TRAINING, TUNING, UNTOUCHED)
_CELL = Preprocessing(size=64, channels=3, fit="stretch")
_SAME = 2.0  # root mean square difference in grey levels; the closest drawings that are meant to differ are at 4


def emoji(folder: Path | None = None, trained: int = STAGES) -> Task:
    """The emoji that all four vendors draw, without skin tones and without those that one vendor draws alike.

    `folder` keeps the decoded pictures, and may hold the packages' .tgz files for a machine without npm; the default is
    the cache. `trained`: how many of the backbone's `STAGES` learn. Raises `InputError` where the pictures cannot be
    had; backbone and features raise it where the packages of `lite0` are missing.
    """
    folder = cache_folder() / "emoji" if folder is None else Path(folder)
    data = open_or_build(folder / f"cell64-{VERSION}", partial(_build, folder)).all()
    train, rest = split_by_source(data, [TUNING, UNTOUCHED])
    return Task(
        name="emoji",
        train=train,
        tuning={TUNING: rest[TUNING]},
        untouched={UNTOUCHED: rest[UNTOUCHED]},
        backbone=partial(lite0, trained, STAGES, GRID),
        # no mirroring: arrows, hands and letters; no erasing: many classes differ in one small part
        augment=replace(Augment.photo(), rotate=6, scale=0.12, shift=0.06, flip=False, erase=0.0),
        features=lite0_features,
        about={
            **data.store.about,
            "training vendors": list(TRAINING),
            "backbone": f"lite0, {STAGES} stages, {trained} trained",
        },
    )


def _build(folder: Path, path: Path) -> None:
    """Read the packages and write the store `path`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        packages = {vendor: _package(vendor, folder, Path(temporary)) for vendor in _VENDORS}
        described = _described(packages[UNTOUCHED])
        drawings = {vendor: _drawings(package, vendor, described) for vendor, package in packages.items()}
    kept = _distinct(drawings.values())
    names = [described[row]["short_name"] for row in kept]
    store = ImageStore.from_arrays(
        np.concatenate([drawn[kept] for drawn in drawings.values()]),
        np.tile(np.arange(len(kept)), len(_VENDORS)),
        names,
        np.repeat(np.arange(len(_VENDORS)), len(kept)),
        _VENDORS,
        _CELL,
    )
    about = {"packages": f"emoji-datasource-* {VERSION}", "drawn by all": len(described), "classes": len(kept)}
    store.save(path, about)


def _package(vendor: str, folder: Path, temporary: Path) -> Path:
    """The vendor's package as a .tgz file: the one in `folder`, or else downloaded into `temporary`."""
    name = f"emoji-datasource-{vendor}"
    file = f"{name}-{VERSION}.tgz"
    if (folder / file).is_file():
        return folder / file
    command = ["npm", "pack", f"{name}@{VERSION}", "--silent"]
    advice = f"run `{' '.join(command)}` in {folder}, or put {file} there"
    if shutil.which("npm") is None:
        raise InputError(f"emoji: npm is not installed; {advice}")
    done = subprocess.run(command, cwd=temporary, capture_output=True, text=True)
    if done.returncode or not (temporary / file).is_file():
        reason = " ".join((done.stderr or done.stdout).split())[-200:]
        raise InputError(f"emoji: npm could not fetch {name} ({reason}); {advice}")
    return temporary / file


def _described(package: Path) -> list[dict[str, Any]]:
    """The emoji that every vendor draws, in Unicode's order; skin tones stand inside an entry and are left out."""
    with _opened(package) as archive:
        entries = json.loads(_member(archive, "package/emoji.json"))
    # the components are the five swatches of skin tone
    drawn = [e for e in entries if e["category"] != "Component" and all(e[f"has_img_{v}"] for v in _VENDORS)]
    return sorted(drawn, key=lambda entry: entry["sort_order"])


def _drawings(package: Path, vendor: str, described: Sequence[dict[str, Any]]) -> np.ndarray:
    """One vendor's pictures of these emoji on white, (N, 64, 64, 3) uint8."""
    pil = require("PIL.Image", extra="train")
    rows = {f"package/img/{vendor}/64/{entry['image']}": row for row, entry in enumerate(described)}
    cells = np.empty((len(described), _CELL.size, _CELL.size, 3), dtype=np.uint8)
    with _opened(package) as archive:
        for member in archive:  # in the archive's order, because going back means unpacking again
            if (row := rows.pop(member.name, None)) is not None:
                with pil.open(io.BytesIO(_member(archive, member))) as image:
                    cells[row] = _CELL.apply(image)
    if rows:
        raise InputError(f"{package.name}: {next(iter(rows))} is missing; delete the file and fetch it again")
    return cells


def _distinct(drawings: Iterable[np.ndarray]) -> np.ndarray:
    """The rows that no vendor draws like an earlier one, from (N, ...) uint8 of every vendor: (M,) int64."""
    twice: Any = False
    for drawn in drawings:
        flat = drawn.reshape(len(drawn), -1).astype(np.float32)
        flat -= flat.mean(axis=0)
        squares = (flat**2).sum(axis=1)
        distances = (squares[:, None] + squares - 2 * flat @ flat.T) / flat.shape[1]
        twice = twice | (np.tril(distances < _SAME**2, k=-1)).any(axis=1)
    return np.flatnonzero(~twice)


@contextmanager
def _opened(package: Path) -> Iterator[tarfile.TarFile]:
    """The package as an archive; whatever cannot be read in it inside the block is an `InputError` that names it."""
    try:
        with tarfile.open(package) as archive:
            yield archive
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InputError(f"{package}: not a readable package ({error}); delete it and fetch it again") from None


def _member(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    try:
        stream = archive.extractfile(member)
    except KeyError:
        stream = None
    if stream is None:
        raise InputError(f"{archive.name}: {member} is missing; delete the file and fetch it again")
    return stream.read()
