"""The files of an image store: which there are, and reading them with their checksums compared.

Version 2 has a digest for each block of images, so that opening does not read them, and label names in two arrays.
Version 1 had one digest for all images, and label names in the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.data.blocks import MappedImages, open_array
from rootspace.data.names import NameTable, check_distinct
from rootspace.data.preparing import AnyPreprocessing, read_preprocessing
from rootspace.errors import InputError
from rootspace.files import read_json, sha256

FORMAT = "rootspace-images"
VERSION = 2
IMAGES, LABELS, SOURCES = "images.npy", "labels.npy", "sources.npy"
NAMES, ENDS = "label_names.npy", "label_ends.npy"
SMALL = (LABELS, SOURCES, NAMES, ENDS)
"""The files beside the images; their digests stand in the manifest."""


@dataclass(frozen=True)
class Parts:
    """What the folder of a store holds."""

    images: MappedImages
    labels: np.ndarray
    sources: np.ndarray
    label_names: Sequence[str]
    source_names: Sequence[str]
    preprocessing: AnyPreprocessing
    about: dict[str, Any]


def is_store(path: Path) -> bool:
    """Whether the folder `path` looks like an image store (it may still be damaged)."""
    return (path / "manifest.json").is_file() and (path / IMAGES).exists()


def read_store(path: Path, verify: bool = True) -> Parts:
    """The parts of the store in the folder `path`; `verify` compares the digests, but not those of blocks of images.

    Of version 1 the images have no other digest than that of all of them, which reads every byte. A missing,
    truncated or altered file is an `InputError` that names it.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected an image store (a folder with manifest.json)")
    manifest = _read_manifest(path)
    old = manifest["version"] == 1
    small = {name: open_array(path / name, name in (NAMES, ENDS)) for name in ((LABELS, SOURCES) if old else SMALL)}
    if verify:
        for name in (*small, IMAGES) if old else small:
            if sha256(path / name) != manifest["sha256"].get(name):
                raise InputError(f"{path / name}: checksum mismatch, the file was altered or damaged; make it anew")
    images = _open_images(path, manifest)
    names: Sequence[str] = tuple(manifest["label_names"]) if old else _name_table(path, small[NAMES], small[ENDS])
    if old and verify:
        check_distinct(names, "label")
    if manifest["counts"].get("images") != len(images):
        raise InputError(
            f"{path}: the manifest counts {manifest['counts'].get('images')} images, {IMAGES} holds {len(images)}"
        )
    try:
        preprocessing = read_preprocessing(manifest.get("preprocessing"), path)
    except InputError as error:
        raise InputError(f"{path / 'manifest.json'}: {error}") from None
    sources = tuple(manifest["source_names"])
    return Parts(images, small[LABELS], small[SOURCES], names, sources, preprocessing, manifest["about"])


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path / 'manifest.json'}: expected the manifest of an image store ({FORMAT})")
    if manifest.get("version") not in (1, VERSION):
        raise InputError(
            f"{path}: image store version {manifest.get('version')}, this program reads 1 and {VERSION}; make it anew"
        )
    own: dict[str, type] = {"label_names": list} if manifest["version"] == 1 else {"blocks": dict}
    kinds = {"source_names": list, "sha256": dict, "counts": dict, "about": dict, **own}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise InputError(f"{path / 'manifest.json'}: {key!r} is missing or of the wrong kind")
    for key in ("label_names", "source_names"):
        if not all(isinstance(name, str) for name in manifest.get(key, ())):
            raise InputError(f"{path / 'manifest.json'}: {key!r} must hold strings only")
    return manifest


def _open_images(path: Path, manifest: dict[str, Any]) -> MappedImages:
    if manifest["version"] == 1:
        return MappedImages(path / IMAGES, 1, [])
    rows, digests = manifest["blocks"].get("rows"), manifest["blocks"].get("sha256")
    if not isinstance(rows, int) or rows < 1 or not isinstance(digests, list):
        raise InputError(f"{path / 'manifest.json'}: 'blocks' is of the wrong kind")
    images = MappedImages(path / IMAGES, rows, digests)
    if len(digests) != -(-len(images) // rows):
        raise InputError(f"{path}: {len(digests)} digests for {len(images)} images in blocks of {rows}; make it anew")
    return images


def _name_table(path: Path, text: np.ndarray, ends: np.ndarray) -> NameTable:
    fits = text.ndim == ends.ndim == 1 and text.dtype == np.uint8 and ends.dtype == np.int64
    if not fits or len(text) != (ends[-1] if len(ends) else 0):
        raise InputError(f"{path / NAMES}: does not fit {ENDS}; make the store anew")
    return NameTable(text, ends)
