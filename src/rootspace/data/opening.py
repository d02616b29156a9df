"""The one entrance for all kinds of own data."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rootspace.data import huggingface, rows, tables
from rootspace.data.arrays import load_arrays, refit
from rootspace.data.build import Samples, cached
from rootspace.data.fields import Fields
from rootspace.data.folders import checked, folder_samples
from rootspace.data.huggingface import dataset_samples, saved_dataset
from rootspace.data.images import Preprocessing
from rootspace.data.manifest import is_store
from rootspace.data.preparing import AnyPreprocessing, check_kind, is_text
from rootspace.data.shards import ENDINGS, archives_in, shard_files, shard_samples
from rootspace.data.store import ImageSet, ImageStore
from rootspace.data.tables import table_samples
from rootspace.data.texts import TextPreprocessing
from rootspace.data.views import every_sample
from rootspace.errors import InputError

PHOTOS = Preprocessing(size=64, channels=3, fit="crop")
"""How pictures are prepared where nothing else is asked for."""

TEXTS = TextPreprocessing()
"""How texts are prepared where nothing else is asked for."""

KINDS = (
    "an image folder (<class name>/<image>), WebDataset shards (.tar), a saved Hugging Face data set (folder or "
    "folder:split), a table (.csv, .tsv, .parquet, .jsonl) with the columns path and label, or text and label, "
    "an image store (a folder with manifest.json), or an .npz file with images and labels"
)

_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")  # user/name


def open_data(
    path: str | Path,
    preprocessing: AnyPreprocessing | None = None,
    skip_bad: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
    fields: Fields | None = None,
    labelled: bool = True,
) -> ImageSet:
    """Open own data, whatever its kind: see `KINDS`. Pictures and texts are prepared once, into the cache.

    `preprocessing` None takes what the data has (stores, arrays), `PHOTOS` (pictures) or `TEXTS`; given, the data are
    brought to it, and where there are pictures and texts it says which are meant. `skip_bad` leaves out what cannot be
    read. `fields` names the columns or keys of image or text, label and source where they are not the usual ones.
    `labelled` False looks at no labels, so that there need not be any: every sample is its own class (`every_sample`),
    and images may lie anywhere in a folder. Anything else is an `InputError`.
    """
    path = Path(path)
    if path.is_dir() and is_store(path):
        data = ImageStore.open(path, skip_bad=skip_bad).all()
        if labelled and not data.store.labelled:
            raise InputError(
                f"{path}: holds no labels, because it was built for --classes-from samples; use it with that option of "
                "'rootspace train', or build it anew with labels"
            )
        data = refit(data, preprocessing)
        return data if labelled else every_sample(data)
    if path.is_dir() and (path / "images.npy").is_file():
        return load_arrays(path / "images.npy", preprocessing, labelled)
    if path.suffix.lower() in (".npz", ".npy") and path.exists():
        return load_arrays(path, preprocessing, labelled)
    texts = None if preprocessing is None else is_text(preprocessing)
    return open_samples(find_samples(path, fields, texts, labelled), preprocessing, skip_bad, cache, progress)


def open_samples(
    samples: Samples,
    preprocessing: AnyPreprocessing | None = None,
    skip_bad: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
) -> ImageSet:
    """What `find_samples` found, prepared once, into the cache: see `open_data`."""
    usual = TEXTS if samples.texts else PHOTOS
    check_kind(preprocessing or usual, samples.texts, samples.where)
    data = cached(samples, preprocessing or usual, skip_bad, cache, progress)
    if not samples.labelled:
        return every_sample(data)
    return checked(data, Path(samples.where)) if samples.kind == "folder" else data


def needs_decoding(path: str | Path) -> bool:
    """Whether `open_data` would take the path for pictures or texts to prepare, so that any size may be asked for."""
    path = Path(path)
    return not (path.is_dir() and (path / "images.npy").is_file()) and path.suffix.lower() not in (".npz", ".npy")


def holds_texts(path: str | Path, fields: Fields | None = None) -> bool:
    """Whether `open_data` would take the path for texts to prepare.

    No row is read: of a table the names of the columns, of a saved data set what it says of its columns. A file that is
    none is an `InputError`.
    """
    path, chosen = Path(path), fields or Fields()
    if saved := saved_dataset(path):
        return huggingface.holds_texts(*saved, chosen)
    return _is_table(path) and tables.holds_texts(path, chosen)


def has_columns(path: str | Path) -> bool:
    """Whether the data at the path have columns or keys that `Fields` may name."""
    path = Path(path)
    return needs_decoding(path) and bool(_is_table(path) or saved_dataset(path) or shard_files(path))


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in rows.SUFFIXES and path.is_file()


def _with_archives(samples: Samples, archives: list[Path]) -> Samples:
    """The images of a folder, with a note of the archives in it, which might be meant."""
    if not archives:
        return samples
    which = f"{len(archives):,} archives, such as {archives[0].name}" if len(archives) > 1 else archives[0].name
    note = f"left out {which}: beside folders of images an archive is not read"
    return replace(samples, notes=(*samples.notes, note))


def _may_be_on_hub(path: Path) -> bool:
    """Whether the path may be meant as the name of a data set there, user/name, and not as a file or folder here."""
    known = path.suffix.lower() in (*rows.SUFFIXES, ".npz", ".npy")
    return bool(_ON_HUB.fullmatch(path.as_posix())) and not known and not path.parent.exists()


def find_samples(
    path: str | Path, fields: Fields | None = None, texts: bool | None = None, labelled: bool = True
) -> Samples:
    """The pictures or texts that a path means, with their labels where `labelled`; see `open_data`.

    `texts` says which are wanted where there may be both; None takes texts where there are no pictures. Where the path
    means none, an `InputError` lists the kinds.
    """
    path, fields = Path(path), fields or Fields()
    if not labelled and fields.label is not None:
        raise InputError(
            f"{path}: the labels of {fields.label!r} mean nothing where every sample is its own class; leave them out"
        )
    if saved := saved_dataset(path):
        return dataset_samples(*saved, fields, texts, labelled)
    if files := shard_files(path):
        return shard_samples(path, files, fields, labelled)
    if path.is_dir():
        if fields != Fields():
            raise InputError(f"{path}: is an image folder, which has no columns or keys to name")
        return _with_archives(folder_samples(path, labelled), archives_in(path))
    if _is_table(path):
        return table_samples(path, fields, texts, labelled)
    came = "it is a file of another kind" if path.exists() else "there is no such file or folder"
    if not path.exists() and path.name.lower().endswith(ENDINGS):
        came = "there is no such shard"
    elif _may_be_on_hub(path):
        came = (
            f"{came} (of a data set on the Hugging Face hub, give a copy: the folder that "
            f"datasets.load_dataset({path.as_posix()!r}).save_to_disk({path.name!r}) makes, or a Parquet file of it)"
        )
    raise InputError(f"{path}: {came}; expected {KINDS}")
