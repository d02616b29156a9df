"""Making an index of images, and opening one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from rootspace.errors import InputError
from rootspace.files import atomic_folder
from rootspace.index.database import Index, Progress
from rootspace.index.segments import check_new
from rootspace.models import located


def build(
    model: str | Path,
    images: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    backend: str = "faiss",
    dtype: str = "float32",
    cells: str | None = None,
    backbone: nn.Module | None = None,
    skip_bad: bool = False,
    skipped: list[str] | None = None,
    progress: Progress | None = None,
) -> Index:
    """An index in the new folder `output` of the embeddings of images by a model, open for writing.

    model: its folder, or "user/name" on the hub.
    images: files, folders (a file's label is the folder under the one given), image stores, .npz files. backend:
    one of `backends.NAMES`; dtype: what a number is stored as; cells: of the backend "system", the spec of the system
    whose vectors are the cells; skipped: a list that files left out are added to. Where anything fails, nothing is left
    of `output`.
    """
    sources = [images] if isinstance(images, (str, Path)) else list(images)
    check_new(Path(output))
    with atomic_folder(Path(output)) as temporary:
        index = Index.create(located(model), temporary, backend, dtype, cells, backbone)
        with index:
            left_out = index.add_images(sources, skip_bad, progress)
            if not len(index):
                raise InputError(f"{sources[0] if sources else 'images'}: no image that can be read; expected some")
            if index.pieces > 1:
                index.compact()
    if skipped is not None:
        skipped += left_out
    return Index(Path(output), writing=True, backbone=backbone)


def open(
    path: str | Path,
    *,
    writing: bool = False,
    model: str | Path | None = None,
    backbone: nn.Module | None = None,
    verify: bool = True,
) -> Index:
    """The index in a folder, verified: a damaged or altered file is an `InputError` that names it.

    writing: to add and delete; a second writer gets an `InputError` at once. model: the model's folder, where it is
    no longer where it was; another model is an `InputError`. verify=False saves reading every byte.
    """
    return Index(Path(path), writing, None if model is None else Path(model), backbone, verify)
