"""Making an index of images, and opening one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
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
    progress: Progress | bool | None = None,
    label: str | None = None,
    repeated: list[str] | None = None,
    device: torch.device | str = "auto",
) -> Index:
    """An index in the new folder `output` of the embeddings of images by a model, open for writing.

    model: its folder, or "user/name" on the hub.
    images: files, folders (a file's label is the folder under the one given), image stores, .npz files. backend:
    one of `backends.NAMES`; dtype: what a number is stored as; cells: of the backend "system", the spec of the system
    whose vectors are the cells; skipped: a list that files left out are added to; device: where the model runs, "auto"
    for a GPU where there is one; label, repeated and progress: see `Index.add_images`. Where anything fails, nothing is
    left of `output`.
    """
    sources = [images] if isinstance(images, (str, Path)) else list(images)
    check_new(Path(output))
    with atomic_folder(Path(output)) as temporary:
        index = Index.create(model, temporary, backend, dtype, cells, backbone, device)
        with index:
            left_out = index.add_images(sources, skip_bad, progress, label=label, repeated=repeated)
            if not len(index):
                raise InputError(f"{sources[0] if sources else 'images'}: no image that can be read; expected some")
            if index.pieces > 1:
                index.compact()
    if skipped is not None:
        skipped += left_out
    return Index(Path(output), writing=True, backbone=backbone, device=device)


def open(
    path: str | Path,
    *,
    writing: bool = False,
    model: str | Path | None = None,
    backbone: nn.Module | None = None,
    verify: bool = True,
    device: torch.device | str = "auto",
) -> Index:
    """The index in a folder, verified: a damaged or altered file is an `InputError` that names it.

    writing: to add and delete; a second writer gets an `InputError` at once. model: the model's folder, or "user/name"
    on the hub, where it is no longer where it was; a model that makes other embeddings is an `InputError`. device:
    where the model runs, "auto" for a GPU where there is one. verify=False saves reading every byte.
    """
    return Index(Path(path), writing, None if model is None else located(model), backbone, verify, device)
