"""The one entrance for all kinds of own data."""

from __future__ import annotations

from pathlib import Path

from rootspace.data import tables
from rootspace.data.arrays import load_arrays, refit
from rootspace.data.build import Samples, cached
from rootspace.data.fields import Fields
from rootspace.data.folders import folder_samples, image_folder
from rootspace.data.huggingface import dataset_samples, saved_dataset
from rootspace.data.images import Preprocessing
from rootspace.data.manifest import is_store
from rootspace.data.shards import ENDINGS, shard_files, shard_samples
from rootspace.data.store import ImageSet, ImageStore
from rootspace.errors import InputError

PHOTOS = Preprocessing(size=64, channels=3, fit="crop")
"""How pictures are prepared where nothing else is asked for."""

KINDS = (
    "an image folder (<class name>/<image>), WebDataset shards (.tar), a saved Hugging Face data set (folder or "
    "folder:split), a .csv or .parquet file with the columns path and label, an image store (a folder with "
    "manifest.json), or an .npz file with images and labels"
)


def open_data(
    path: str | Path,
    preprocessing: Preprocessing | None = None,
    skip_bad: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
    fields: Fields | None = None,
) -> ImageSet:
    """Open own data, whatever its kind: see `KINDS`. Pictures are decoded once, into the cache.

    `preprocessing` None takes what the data has (stores, arrays) or `PHOTOS` (pictures); given, the images are
    brought to it. `skip_bad` leaves out images that cannot be read. `fields` names the columns or keys of image,
    label and source where they are not the usual ones. Anything else is an `InputError`.
    """
    path = Path(path)
    if path.is_dir() and is_store(path):
        return refit(ImageStore.open(path, skip_bad=skip_bad).all(), preprocessing)
    if path.is_dir() and (path / "images.npy").is_file():
        return load_arrays(path / "images.npy", preprocessing)
    if path.suffix.lower() in (".npz", ".npy") and path.exists():
        return load_arrays(path, preprocessing)
    chosen = fields or Fields()
    samples = find_samples(path, chosen)
    if samples.kind == "folder":
        return image_folder(path, preprocessing or PHOTOS, skip_bad, cache, progress)
    asked = [chosen.image, chosen.label, chosen.source]
    return cached(samples, preprocessing or PHOTOS, skip_bad, cache, progress, asked)


def needs_decoding(path: str | Path) -> bool:
    """Whether `open_data` would take the path for pictures to decode, so that any size may be asked for."""
    path = Path(path)
    return not (path.is_dir() and (path / "images.npy").is_file()) and path.suffix.lower() not in (".npz", ".npy")


def find_samples(path: Path, fields: Fields) -> Samples:
    """The labelled pictures that a path means; an `InputError` that lists the kinds where it means none."""
    if saved := saved_dataset(path):
        return dataset_samples(*saved, fields)
    if files := shard_files(path):
        return shard_samples(path, files, fields)
    if path.is_dir():
        if fields != Fields():
            raise InputError(f"{path}: is an image folder, which has no columns or keys to name")
        return folder_samples(path)
    if path.suffix.lower() in tables.SUFFIXES and path.is_file():
        return tables.table_samples(path, fields)
    came = "it is a file of another kind" if path.exists() else "there is no such file or folder"
    if not path.exists() and path.name.lower().endswith(ENDINGS):
        came = "there is no such shard"
    raise InputError(f"{path}: {came}; expected {KINDS}")
