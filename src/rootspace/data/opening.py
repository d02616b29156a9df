"""The one entrance for all kinds of own data."""

from __future__ import annotations

from pathlib import Path

from rootspace.data import rows
from rootspace.data.arrays import load_arrays, refit
from rootspace.data.build import Samples, cached
from rootspace.data.fields import Fields
from rootspace.data.folders import folder_samples, image_folder
from rootspace.data.huggingface import dataset_samples, saved_dataset
from rootspace.data.images import Preprocessing
from rootspace.data.manifest import is_store
from rootspace.data.preparing import AnyPreprocessing, check_kind, is_text
from rootspace.data.shards import ENDINGS, shard_files, shard_samples
from rootspace.data.store import ImageSet, ImageStore
from rootspace.data.tables import are_texts, table_samples
from rootspace.data.texts import TextPreprocessing
from rootspace.errors import InputError

PHOTOS = Preprocessing(size=64, channels=3, fit="crop")
"""How pictures are prepared where nothing else is asked for."""

TEXTS = TextPreprocessing()
"""How texts are prepared where nothing else is asked for."""

KINDS = (
    "an image folder (<class name>/<image>), WebDataset shards (.tar), a saved Hugging Face data set (folder or "
    "folder:split), a table (.csv, .tsv, .parquet, .jsonl) with the columns path and label, or text and label, a"
    "n image store (a folder with manifest.json), or an .npz file with images and labels"
)


def open_data(
    path: str | Path,
    preprocessing: AnyPreprocessing | None = None,
    skip_bad: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
    fields: Fields | None = None,
) -> ImageSet:
    """Open own data, whatever its kind: see `KINDS`. Pictures and texts are prepared once, into the cache.

    `preprocessing` None takes what the data has (stores, arrays), `PHOTOS` (pictures) or `TEXTS`; given, the data are
    brought to it, and where there are pictures and texts it says which are meant. `skip_bad` leaves out what cannot be
    read. `fields` names the columns or keys of image or text, label and source where they are not the usual ones.
    Anything else is an `InputError`.
    """
    path = Path(path)
    if path.is_dir() and is_store(path):
        return refit(ImageStore.open(path, skip_bad=skip_bad).all(), preprocessing)
    if path.is_dir() and (path / "images.npy").is_file():
        return load_arrays(path / "images.npy", preprocessing)
    if path.suffix.lower() in (".npz", ".npy") and path.exists():
        return load_arrays(path, preprocessing)
    chosen = fields or Fields()
    samples = find_samples(path, chosen, None if preprocessing is None else is_text(preprocessing))
    if preprocessing is not None:
        check_kind(preprocessing, samples.texts, str(path))
    if samples.texts:
        asked = [chosen.text, chosen.label, chosen.source]
        return cached(samples, preprocessing or TEXTS, skip_bad, cache, progress, asked)
    photos = preprocessing if isinstance(preprocessing, Preprocessing) else PHOTOS
    if samples.kind == "folder":
        return image_folder(path, photos, skip_bad, cache, progress)
    return cached(samples, photos, skip_bad, cache, progress, [chosen.image, chosen.label, chosen.source])


def needs_decoding(path: str | Path) -> bool:
    """Whether `open_data` would take the path for pictures or texts to prepare, so that any size may be asked for."""
    path = Path(path)
    return not (path.is_dir() and (path / "images.npy").is_file()) and path.suffix.lower() not in (".npz", ".npy")


def holds_texts(path: str | Path, fields: Fields | None = None) -> bool:
    """Whether `open_data` would take the path for texts to prepare; no more than a table's head is read.

    A table without the columns asked for is an `InputError`.
    """
    path, chosen = Path(path), fields or Fields()
    saved = saved_dataset(path)
    if saved is None and not (path.suffix.lower() in rows.SUFFIXES and path.is_file()):
        return False
    return dataset_samples(*saved, chosen).texts if saved else are_texts(path, chosen)


def find_samples(path: Path, fields: Fields, texts: bool | None = None) -> Samples:
    """The labelled pictures or texts that a path means; an `InputError` that lists the kinds where it means none.

    `texts` says which are wanted where there may be both; None takes texts where there are no pictures.
    """
    if saved := saved_dataset(path):
        return dataset_samples(*saved, fields, texts)
    if files := shard_files(path):
        return shard_samples(path, files, fields)
    if path.is_dir():
        if fields != Fields():
            raise InputError(f"{path}: is an image folder, which has no columns or keys to name")
        return folder_samples(path)
    if path.suffix.lower() in rows.SUFFIXES and path.is_file():
        return table_samples(path, fields, texts)
    came = "it is a file of another kind" if path.exists() else "there is no such file or folder"
    if not path.exists() and path.name.lower().endswith(ENDINGS):
        came = "there is no such shard"
    raise InputError(f"{path}: {came}; expected {KINDS}")
