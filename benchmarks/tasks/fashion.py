"""Fashion-MNIST: ten kinds of clothes, 28 x 28 grey, from the Debian package dataset-fashion-mnist (MIT licence).

Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747.
"""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from rootspace.data import ImageSet, split_random
from rootspace.errors import InputError
from rootspace.models import build
from rootspace.train import Augment
from tasks.base import Task

FOLDER = Path("/usr/share/datasets/fashion-mnist")
NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TUNING_SHARE = 1 / 12  # 5,000 of the 60,000

_BACKBONE = {"name": "small_conv"}


def fashion(folder: Path | None = None, seed: int = 0) -> Task:
    """55,000 images to train on, 5,000 of the training set to tune on (drawn by `seed`), the 10,000 of the test set.

    `folder` holds the four .gz files; the default is where Debian puts them. `InputError` where they are not.
    """
    folder = FOLDER if folder is None else Path(folder)
    train, tuning = split_random(_read(folder, "train"), TUNING_SHARE, seed)
    return Task(
        name="fashion",
        train=train,
        tuning={"tuning": tuning},
        untouched={"test": _read(folder, "t10k")},
        backbone=partial(build, _BACKBONE),
        augment=Augment.photo(),
        features=None,
        about={"source": "Debian package dataset-fashion-mnist", "folder": str(folder), "split seed": seed},
    )


def _read(folder: Path, part: str) -> ImageSet:
    images = _read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
    return ImageSet.from_arrays(images, labels, NAMES)


def _read_idx(path: Path, ndim: int) -> np.ndarray:
    """The bytes of a gzip file in the IDX format: a type and a number of axes, the sizes as big-endian int32, data."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; apt install dataset-fashion-mnist")
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a readable gzip file ({error}); install dataset-fashion-mnist again") from None
    start = 4 + 4 * ndim
    shape = tuple(np.frombuffer(content[4:start], ">i4").tolist()) if len(content) >= start else ()
    if content[:4] != bytes((0, 0, 8, ndim)) or len(content) - start != int(np.prod(shape)):
        raise InputError(f"{path}: expected an IDX file of bytes with {ndim} axes; install dataset-fashion-mnist again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
