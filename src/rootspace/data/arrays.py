"""Data that lies in NumPy files, and images brought to another preprocessing or to other class numbers."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rootspace.data.blocks import numpy_reason
from rootspace.data.fields import UNLABELLED
from rootspace.data.images import Preprocessing
from rootspace.data.names import as_names, normal, normal_names, one_name
from rootspace.data.preparing import AnyPreprocessing, check_kind, is_text
from rootspace.data.store import ImageSet
from rootspace.data.texts import TextPreprocessing
from rootspace.data.views import every_sample
from rootspace.errors import InputError, require

_AT_ONCE = 4096
_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_KEYS = "images (N, H, W) or (N, H, W, 1 or 3) uint8, labels (N,) integers or texts, and optionally label_names"


def load_arrays(path: str | Path, preprocessing: AnyPreprocessing | None = None, labelled: bool = True) -> ImageSet:
    """The images and labels of an .npz file, or of an images .npy file with labels.npy beside it.

    Pictures that are not square are stretched to their longer side. An .npy file stays memory-mapped, also in the
    workers of a data loader. `labelled` False looks at no labels: every image is its own class (`every_sample`).
    Object arrays, other types, and lengths that differ are `InputError`s.
    """
    path = Path(path)
    wanted = ("images", "labels") if labelled else ("images",)
    if path.suffix.lower() == ".npz":
        arrays = _read_npz(path)
    else:
        arrays = {key: _read_npy(path.with_name("labels.npy") if key == "labels" else path) for key in wanted}
    missing = [key for key in wanted if key not in arrays]
    if missing:
        hint = UNLABELLED if missing == ["labels"] else ""
        raise InputError(f"{path}: lacks {' and '.join(missing)} (it has {sorted(arrays)}); expected {_KEYS}{hint}")
    images = _checked_images(path, arrays["images"])
    if labelled:
        labels, names = _checked_labels(path, arrays["labels"], arrays.get("label_names"))
        names = normal_names(names, str(path))
    else:
        labels, names = np.zeros(len(images), dtype=np.int64), None
    if len(images) != len(labels):
        raise InputError(f"{path}: {len(images)} images, but {len(labels)} labels; expected as many of both")
    try:
        data = ImageSet.from_arrays(images, labels, names)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not labelled:
        data = every_sample(data)
    height, width, channels = data.image_shape
    if preprocessing is None and height != width:
        preprocessing = Preprocessing(max(4, height, width), channels, "stretch")
        return _prepared(data, preprocessing)
    return refit(data, preprocessing)


def refit(data: ImageSet, preprocessing: AnyPreprocessing | None) -> ImageSet:
    """The same images brought to another preprocessing, in memory; as they are where it is the same or None.

    Texts are brought to it from their bytes; `InputError` where these may have been cut, or are token numbers.
    """
    if preprocessing is None or preprocessing == data.preprocessing:
        return data
    check_kind(preprocessing, is_text(data.preprocessing), str(data.store.path or "the data"))
    if isinstance(preprocessing, TextPreprocessing):
        return _prepared_texts(data, preprocessing)
    return _prepared(data, preprocessing)


def with_label_names(data: ImageSet, label_names: Sequence[str], unknown: str = "error") -> ImageSet:
    """The same images with their labels counted as in `label_names`, matched by name: to test a trained model.

    Names that differ only in how their letters are composed (Unicode NFC or NFD) are the same.
    Images of a class that is not among them are an `InputError`, or left out with unknown="drop".

    >>> data = ImageSet.from_arrays(np.zeros((2, 4, 4), np.uint8), np.array([0, 1]), ["dog", "cat"])
    >>> with_label_names(data, ["ant", "cat", "dog"]).labels.tolist()
    [2, 1]
    """
    if data.label_names == label_names:
        return data
    lookup = _numbers_in(label_names, data.label_names)
    labels = lookup[data.store.labels]
    known = labels[data.indices] >= 0
    if not known.all() and unknown != "drop":
        names = [data.label_names[number] for number in np.unique(data.labels[~known])]
        more = "" if len(names) <= 5 else f" and {len(names) - 5} more"
        raise InputError(f"classes that are not known: {', '.join(names[:5])}{more}; leave them out")
    if not known.any():
        raise InputError("none of the data's classes is known; the class names must match")
    labels[labels < 0] = 0  # only images that are no longer in the view
    store = replace(data.store, labels=labels, label_names=as_names(label_names), path=None)
    return ImageSet(store, data.indices[known])


def _numbers_in(known: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The number of each name among the known ones, (n,) int64; -1 where it is none of them.

    As it is written, or else in normal form; two names that become one are an `InputError`.
    """
    numbers = {name: number for number, name in enumerate(known)}
    found = np.array([numbers.get(name, -1) for name in names], dtype=np.int64)
    if (found >= 0).all():
        return found
    alike = {normal(name): number for name, number in numbers.items() if not name.isascii()}
    for place in np.flatnonzero(found < 0).tolist():
        name = normal(names[place])
        number = numbers.get(name, alike.get(name, -1))
        if number >= 0 and (found == number).any():
            raise one_name("the data", names[int(np.argmax(found == number))], names[place])
        found[place] = number
    return found


def _prepared(data: ImageSet, preprocessing: Preprocessing) -> ImageSet:
    pil = require("PIL.Image", extra="train")
    size, channels = preprocessing.size, preprocessing.channels
    images = np.empty((len(data), size, size, channels), dtype=np.uint8)
    for position in range(len(data)):
        pixels = data.images_at([position])[0]
        images[position] = preprocessing.apply(pil.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    return _with_cells(data, images, preprocessing)


def _prepared_texts(data: ImageSet, preprocessing: TextPreprocessing) -> ImageSet:
    old = data.preprocessing
    shorter = preprocessing.tokenizer is None and preprocessing.shape[1] <= data.image_shape[1]
    cells = np.empty((len(data), *preprocessing.shape), dtype=np.uint8)
    for start in range(0, len(data), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(data)))
        part = data.images_at(rows)
        if data.image_shape[2] != 1 or not (shorter or _are_whole(part)):
            raise InputError(
                f"{data.store.path or 'the data'}: holds texts as {old.to_dict()}, which cannot be brought to "
                f"{preprocessing.to_dict()}; make the store anew from the texts"
            )
        cells[rows] = preprocessing.cells(data.texts_at(rows))
    return _with_cells(data, cells, preprocessing)


def _are_whole(cells: np.ndarray) -> bool:
    """Whether no text of these cells of bytes (B, 1, length, 1) can have been longer.

    One that was cut before a character of four bytes leaves up to three of them empty.
    """
    return cells.shape[2] >= _LONGEST_CHARACTER and not cells[:, 0, -_LONGEST_CHARACTER].any()


def _with_cells(data: ImageSet, cells: np.ndarray, preprocessing: AnyPreprocessing) -> ImageSet:
    """The same labels, sources and history with other cells, one for each position of the view."""
    made = ImageSet.from_arrays(cells, data.labels, data.label_names, data.sources, data.source_names, preprocessing)
    return replace(made.store, about=data.store.about).all()


def _read_npz(path: Path) -> Mapping[str, np.ndarray]:
    try:
        # opened here, because numpy leaves a damaged archive's file open
        with open(path, "rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not hasattr(archive, "files"):
                raise InputError(f"{path}: holds one bare array; expected an .npz file with {_KEYS}")
            return {key: archive[key] for key in archive.files}
    except InputError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise InputError(f"{path}: not a readable .npz file ({numpy_reason(error)}); expected {_KEYS}") from None


def _read_npy(path: Path) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"{path}: no such file; images in a .npy file need their labels in labels.npy beside it")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file ({numpy_reason(error)})") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: holds an archive; name it .npz")
    return array


def _checked_images(path: Path, images: np.ndarray) -> np.ndarray:
    if images.dtype == np.bool_:
        images = images.astype(np.uint8) * 255
    if images.dtype != np.uint8:
        raise InputError(
            f"{path}: images are {images.dtype}, expected uint8 from 0 to 255; "
            "for pixels from 0 to 1 store (images * 255).round().astype('uint8')"
        )
    if images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        raise InputError(
            f"{path}: images {images.shape} have their channels first, expected last; "
            "store images.transpose(0, 2, 3, 1)"
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)) or 0 in images.shape:
        raise InputError(f"{path}: images {images.shape}, expected (N, H, W) or (N, H, W, 1 or 3), none of them 0")
    return images


def _checked_labels(path: Path, labels: np.ndarray, names: np.ndarray | None) -> tuple[np.ndarray, list[str]]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"{path}: labels {labels.shape}, expected one for each image, (N,)")
    if labels.dtype.kind == "U":
        if names is not None:
            raise InputError(f"{path}: labels are texts and label_names are given too; give one of them")
        found, numbers = np.unique(labels, return_inverse=True)
        return numbers.astype(np.int64), [str(name) for name in found]
    if labels.dtype.kind not in "iu":
        raise InputError(f"{path}: labels are {labels.dtype}, expected integers from 0 or texts")
    if len(labels) and int(labels.min()) < 0:
        raise InputError(f"{path}: label {int(labels.min())} is negative, expected integers from 0")
    if names is None:  # numbers may have gaps: only those that occur become classes
        found, numbers = np.unique(labels, return_inverse=True)
        return numbers.astype(np.int64), [str(number) for number in found]
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(f"{path}: label_names are {names.dtype} {names.shape}, expected texts (n_classes,)")
    return labels, [str(name) for name in names]
