"""What an image store holds, and whether all of it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rootspace.data.manifest import read_store
from rootspace.data.store import ImageStore

_SHOWN = 12


def describe(store: ImageStore) -> dict[str, Any]:
    """The facts of a store as JSON: counts, classes (None without labels), sources, preprocessing, how it was made."""
    by_source = np.bincount(store.sources, minlength=len(store.source_names))
    largest = np.argsort(-by_source, kind="stable")[:_SHOWN]
    skipped = store.about.get("skipped") or []
    return {
        "images": len(store),
        "shape": list(store.images.shape[1:]),
        **_classes(store),
        "sources": len(store.source_names),
        "largest_sources": {store.source_names[number]: int(by_source[number]) for number in largest.tolist()},
        "preprocessing": store.preprocessing.to_dict(),
        "bytes_of_images": int(np.prod(store.images.shape)),
        "made_from": {key: value for key, value in store.about.items() if isinstance(value, str)},
        "skipped": {"images": len(skipped), "first": list(skipped[:_SHOWN])},
    }


def _classes(store: ImageStore) -> dict[str, Any]:
    if not store.labelled:
        return {"classes": None, "first_classes": [], "images_a_class": None}
    counts = np.bincount(store.labels, minlength=len(store.label_names))
    return {
        "classes": len(store.label_names),
        "first_classes": list(store.label_names[:_SHOWN]),
        "images_a_class": {"least": int(counts.min()), "median": float(np.median(counts)), "most": int(counts.max())},
    }


def damaged_rows(path: str | Path, progress: bool = True) -> tuple[int, list[range]]:
    """Verify all of a store: how many blocks it has, and the rows of the images in damaged ones.

    Damage anywhere else is an `InputError`, as when it is opened; in a store of version 1 also that of images.
    """
    images = read_store(Path(path)).images
    return len(images.digests), [images.rows_of(block) for block in images.damaged(progress)]
