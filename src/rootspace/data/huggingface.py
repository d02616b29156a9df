"""Data sets that the library `datasets` has saved to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.data.build import Label, Sample, Samples
from rootspace.data.cache import key_of
from rootspace.data.fields import TEXTS, Fields, column
from rootspace.data.tables import text_sample
from rootspace.errors import InputError, require

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
) -> Samples:
    """The rows of a data set saved to `folder`, or of its `split`.

    The image column is the one whose feature is an image, or the text column one of strings (where there is no image,
    or as `texts` says), the label column the `ClassLabel` (whose names are kept, in their order) or one called label;
    `fields` names others. A row without a label is an `InputError`.
    """
    library = require("datasets", extra="data")
    folder = folder.resolve()  # the cache knows it by this
    where = str(folder) if split is None else f"{folder}:{split}"
    rows = _opened(library, folder, split)
    features = rows.features
    images = [name for name, feature in features.items() if isinstance(feature, library.Image)]
    classes = [name for name, feature in features.items() if isinstance(feature, library.ClassLabel)]
    label = column(where, list(features), fields.label, classes[:1] or _LABELS, "label")
    strings = [name for name, feature in features.items() if _is_string(feature) and name != label]
    are_texts = fields.are_texts([*features, *TEXTS[: len(strings)]], images, texts)
    if are_texts:
        usual = [name for name in TEXTS if name in strings] or (strings if len(strings) == 1 else TEXTS)
        image, kind = column(where, list(features), fields.text, usual, "text"), "a column of strings"
    else:
        image, kind = column(where, list(features), fields.image, images[:1] or ["image"], "image"), "datasets.Image"
    if not (_is_string(features[image]) if are_texts else isinstance(features[image], library.Image)):
        raise InputError(f"{where}: the column {image!r} is {features[image]}; expected {kind}")
    if fields.source is not None:
        column(where, list(features), fields.source, (), "source")
    wanted = list(dict.fromkeys(name for name in (image, label, fields.source) if name is not None))
    rows = rows.select_columns(wanted)
    if not are_texts:
        rows = rows.cast_column(image, library.Image(decode=False))
    name_of, names = _labels(where, label, features[label])
    source = split or folder.name or "dataset"

    def read(part: int) -> Iterator[Sample]:
        first = part * _PART
        for number, row in enumerate(rows.select(range(first, min(first + _PART, len(rows)))), first):
            name = f"{where}: row {number}"
            origin = source if fields.source is None else str(row[fields.source])
            value = name_of(number, row[label])
            if are_texts:
                yield text_sample(name, row[image], value, origin)
            else:
                yield Sample(name, value, origin, _picture(name, row[image]))

    state = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.rglob("*.*"))]
    asked = [fields.text] if are_texts else []
    stamp = key_of([state, split, fields.image, fields.label, fields.source, *asked])
    return Samples(where, "dataset", stamp, -(-len(rows) // _PART), read, names, len(rows), are_texts)


def _opened(library: Any, folder: Path, split: str | None) -> Any:
    try:
        found = library.load_from_disk(str(folder))
    except Exception as error:  # of pyarrow, of json, of the file system
        raise InputError(f"{folder}: not a readable data set ({' '.join(str(error).split())[:160]})") from None
    if isinstance(found, library.DatasetDict):
        splits = list(found)
        if split is None and len(splits) == 1:
            split = splits[0]
        if split not in found:
            came = f"no split {split!r}" if split is not None else "several splits"
            raise InputError(f"{folder}: {came}; name one of {', '.join(f'{folder.name}:{name}' for name in splits)}")
        found = found[split]
    elif split is not None:
        raise InputError(f"{folder}: has no splits; leave out ':{split}'")
    if not len(found):
        raise InputError(f"{folder}: holds no row")
    return found


def _labels(where: str, label: str, feature: Any) -> tuple[Callable[[int, Any], Label], list[str] | None]:
    """What turns a row's value into a label, and the names where the feature has them."""
    names = getattr(feature, "names", None)

    def name_of(number: int, value: Any) -> Label:
        if names is not None and isinstance(value, int) and 0 <= value < len(names):
            return names[value]
        if names is None and isinstance(value, str | int | np.integer) and not isinstance(value, bool) and value != "":
            return value if isinstance(value, str) else int(value)
        raise InputError(f"{where}: row {number} has no label ({label!r} is {value!r}); take such rows out first")

    return name_of, None if names is None else list(names)


def _is_string(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _picture(name: str, value: Any) -> Path | bytes | InputError:
    if value is not None and value.get("bytes"):
        return value["bytes"]
    if value is not None and value.get("path"):
        return Path(value["path"])
    return InputError(f"{name}: holds no image")
