"""Splitting data into what trains and what tests."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from rootspace.data.store import ImageSet
from rootspace.errors import InputError


def split_by_source(data: ImageSet, held_out: Sequence[str]) -> tuple[ImageSet, dict[str, ImageSet]]:
    """Split off whole sources: (all other images, {name: the images of that source}).

    >>> data = ImageSet.from_arrays(np.zeros((3, 4, 4), np.uint8), np.array([0, 0, 0]), None,
    ...                             np.array([0, 1, 1]), ["print", "hand"])
    >>> train, test = split_by_source(data, ["hand"])
    >>> len(train), len(test["hand"])
    (1, 2)
    """
    names = [held_out] if isinstance(held_out, str) else list(held_out)
    known = {name: number for number, name in enumerate(data.source_names)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(list(known)[:12])}"
            raise InputError(f"no source is called {name!r}; {hint}")
    tests = {name: data.select(data.sources == known[name]) for name in names}
    train = data.select(~np.isin(data.sources, [known[name] for name in names]))
    if len(train) == 0:
        raise InputError(f"holding out {', '.join(names)} leaves nothing to train on; hold out fewer sources")
    for name, test in tests.items():
        if len(test) == 0:
            raise InputError(f"the source {name!r} has no image in this data; hold out another")
    return train, tests


def split_random(data: ImageSet, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Split off a `fraction` of every class at random: (train, test); every class keeps a training image.

    >>> data = ImageSet.from_arrays(np.zeros((10, 4, 4), np.uint8), np.arange(10) % 2)
    >>> train, test = split_random(data, 0.2, seed=0)
    >>> len(train), np.bincount(test.labels).tolist()
    (8, [1, 1])
    """
    if not 0 < fraction < 1:
        raise InputError(f"the fraction to hold out must lie between 0 and 1, got {fraction}")
    rng = np.random.default_rng((seed, 0x5B117))
    labels = data.labels
    counts = np.bincount(labels, minlength=data.n_classes)
    # a class's share is rarely whole: the rest decides by lot, so that the total comes out near the fraction
    wanted = np.floor(counts * fraction + rng.random(len(counts)) * (1 - 1e-9)).astype(np.int64)
    exact = np.isclose(counts * fraction, np.round(counts * fraction))
    wanted[exact] = np.round(counts[exact] * fraction).astype(np.int64)
    wanted = np.minimum(wanted, np.maximum(counts - 1, 0))
    order = np.lexsort((rng.random(len(labels)), labels))
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[order] = place < np.repeat(wanted, counts)
    if not chosen.any():
        raise InputError("too few images a class to hold any out; give more images a class or a larger fraction")
    return data.select(~chosen), data.select(chosen)
