"""Data sets that the library `datasets` has saved to disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rootspace.data.build import Sample, Samples
from rootspace.data.cache import key_of
from rootspace.data.fields import TEXTS, Fields, class_name, column, written
from rootspace.data.tables import picture_of, text_sample
from rootspace.errors import InputError, require
from rootspace.files import read_json

_PART = 1024
_LABELS = ("label", "labels", "fine_label", "class")
_ONE, _MANY = "dataset_info.json", "dataset_dict.json"


def saved_dataset(path: Path) -> tuple[Path, str | None] | None:
    """(folder, split) where `path` is a saved data set, or "folder:split" of one; else None."""
    folder, split = path, None
    if not path.exists() and ":" in path.name:
        name, _, split = path.name.rpartition(":")
        folder = path.with_name(name) if name else path.parent
    if (folder / _MANY).is_file() or ((folder / _ONE).is_file() and (folder / "state.json").is_file()):
        return folder, split
    return None


def dataset_samples(
    folder: Path,
    split: str | None,
    fields: Fields = Fields(),  # noqa: B008
    texts: bool | None = None,
    labelled: bool = True,
) -> Samples:
    """The rows of a data set saved to `folder`, or of its `split`.

    The image column is the one whose feature is an image, or the text column one of strings (where there is no image,
    or as `texts` says), the label column the `ClassLabel` (whose names are kept, in their order) or one called label;
    `fields` names others. Where `labelled`, a row without a label is an `InputError`; else nobody looks at labels.
    """
    library = require("datasets", extra="data")
    folder = folder.resolve()  # the cache knows it by this
    where = str(folder) if split is None else f"{folder}:{split}"
    rows = _opened(library, _place(folder, split))
    features, found = rows.features, _kinds(library, rows.features, fields)
    label = column(where, list(features), fields.label, found.labels, "label", "--label-column") if labelled else None
    are_texts = fields.are_texts(bool(found.images), bool(found.strings), texts)
    if are_texts:
        strings = found.strings
        usual = [name for name in TEXTS if name in strings] or (strings if len(strings) == 1 else TEXTS)
        image, kind = column(where, list(features), fields.text, usual, "text", "--text-column"), "a column of strings"
    else:
        usual, kind = found.images[:1] or ["image"], "datasets.Image"
        image = column(where, list(features), fields.image, usual, "image", "--image-column")
    if not (_is_string(features[image]) if are_texts else isinstance(features[image], library.Image)):
        raise InputError(f"{where}: the column {image!r} is {features[image]}; expected {kind}")
    if fields.source is not None:
        column(where, list(features), fields.source, (), "source", "--source-column")
    wanted = list(dict.fromkeys(name for name in (image, label, fields.source) if name is not None))
    rows = rows.select_columns(wanted)
    if not are_texts:
        rows = rows.cast_column(image, library.Image(decode=False))
    names = None if label is None else getattr(features[label], "names", None)
    source = split or folder.name or "dataset"

    def read(part: int) -> Iterator[Sample]:
        first = part * _PART
        for number, row in enumerate(rows.select(range(first, min(first + _PART, len(rows)))), first):
            name = f"{where}: row {number}"
            origin = source if fields.source is None else written(name, fields.source, row[fields.source], "source")
            value = "" if label is None else class_name(name, label, row[label], names)
            if are_texts:
                yield text_sample(name, row[image], value, origin)
            else:
                yield Sample(name, value, origin, picture_of(name, row[image]))

    state = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.rglob("*.*"))]
    asked = [fields.text] if are_texts else []
    return Samples(
        where,
        "dataset",
        key_of([state, split, fields.image, fields.label, fields.source, *asked]),
        -(-len(rows) // _PART),
        read,
        None if names is None else list(names),
        len(rows),
        are_texts,
        labelled,
        [fields.text if are_texts else fields.image, fields.label, fields.source],
    )


def holds_texts(folder: Path, split: str | None, fields: Fields) -> bool:
    """Whether `dataset_samples` would take the rows for texts; of a data set only its description is read."""
    library = require("datasets", extra="data")
    place = _place(folder, split)
    try:
        features = library.DatasetInfo.from_directory(str(place)).features
    except Exception as error:  # of json, of the file system
        raise _unreadable(place, error) from None
    found = _kinds(library, _opened(library, place).features if features is None else features, fields)
    return fields.are_texts(bool(found.images), bool(found.strings), None)


class _Kinds(NamedTuple):
    """The columns that may be meant: of pictures, of texts, of labels."""

    images: list[str]
    strings: list[str]
    labels: Sequence[str]


def _kinds(library: Any, features: Any, fields: Fields) -> _Kinds:
    images = [name for name, feature in features.items() if isinstance(feature, library.Image)]
    classes = [name for name, feature in features.items() if isinstance(feature, library.ClassLabel)]
    labels = classes[:1] or _LABELS
    label = fields.label or next((name for name in labels if name in features), None)
    strings = [name for name, feature in features.items() if _is_string(feature) and name != label]
    return _Kinds(images, strings, labels)


def _place(folder: Path, split: str | None) -> Path:
    """The folder of the one data set that is meant: that of a split, where there are any."""
    if not (folder / _MANY).is_file():
        if split is not None:
            raise InputError(f"{folder}: has no splits; leave out ':{split}'")
        return folder
    try:
        splits = list(map(str, read_json(folder / _MANY)["splits"]))
    except (InputError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from None
    if split is None and len(splits) == 1:
        split = splits[0]
    if split is None or split not in splits:
        came = f"no split {split!r}" if split is not None else "several splits"
        raise InputError(f"{folder}: {came}; name one of {', '.join(f'{folder.name}:{name}' for name in splits)}")
    return folder / split


def _opened(library: Any, place: Path) -> Any:
    try:
        found = library.load_from_disk(str(place))
    except Exception as error:  # of pyarrow, of json, of the file system
        raise _unreadable(place, error) from None
    if not len(found):
        raise InputError(f"{place}: holds no row")
    return found


def _unreadable(place: Path, error: Exception) -> InputError:
    return InputError(f"{place}: not a readable data set ({' '.join(str(error).split())[:160]})")


def _is_string(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")
