"""Which typefaces are one design: weights and regional cuts of a typeface are not different hands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rootspace.data.fonts import Face, design_name
from rootspace.data.render import render

SAME_DESIGN = 0.962
"""Two faces are one design where half of the sampled characters correlate at least so much.

Measured on 120 Han faces of 16 designs: two designs reach at most 0.960 (two sans faces of near weight), while a
face and the next weight or region of its own design reach 0.965 to 1.0. A step from regular straight to bold can
fall to 0.952: there the families' names join them. A typeface derived from another (0.968) counts as the same.
"""

_SAMPLE = 64
_SIDE = 32


@dataclass(frozen=True)
class Design:
    """One design, under a readable name, with the faces that show it."""

    name: str
    faces: tuple[Face, ...]


def sample_of(characters: Sequence[str]) -> list[str]:
    """At most 64 characters spread over the list: what faces are compared on."""
    step = max(1, len(characters) // _SAMPLE)
    return list(characters[::step])[:_SAMPLE]


def fingerprints(faces: Sequence[Face], characters: Sequence[str]) -> np.ndarray:
    """(F, m, 1024) float32: a blurred, centred picture of length 1 per face and character; zeros where it has none."""
    prints = np.zeros((len(faces), len(characters), _SIDE * _SIDE), dtype=np.float32)
    for row, face in enumerate(faces):
        images, positions = render(face, characters, _SIDE)
        if len(images) == 0:
            continue
        ink = _blur(255.0 - images.astype(np.float32)).reshape(len(images), -1)
        ink -= ink.mean(axis=1, keepdims=True)
        prints[row, positions] = ink / np.maximum(np.linalg.norm(ink, axis=1, keepdims=True), 1e-6)
    return prints


def similarity(prints: np.ndarray) -> np.ndarray:
    """(F, F) float32: the median over characters that both faces have of the correlation of their pictures.

    Two faces with fewer than a quarter of the characters in common get 0.
    """
    count, sampled, _ = prints.shape
    has = np.abs(prints).sum(axis=2) > 0
    result = np.zeros((count, count), dtype=np.float32)
    for row in range(count):
        each = np.einsum("mp,fmp->fm", prints[row], prints)
        shared = has & has[row]
        each[~shared] = np.nan
        enough = shared.sum(axis=1) >= max(1, sampled // 4)
        if enough.any():
            result[row, enough] = np.nanmedian(each[enough], axis=1)
    return (result + result.T) / 2


def cluster(
    faces: Sequence[Face], characters: Sequence[str], max_faces: int | None = 6
) -> tuple[list[Design], np.ndarray]:
    """Group faces into designs, sorted by name, and the similarity (D, D) of the nearest faces of two designs.

    Faces are joined when their pictures are near (`SAME_DESIGN`), directly or through a third face, or when
    their families' names differ only in weight and region. Of each design at most `max_faces` faces are kept:
    the most different ones, without those that repeat another.
    """
    if not faces:
        return [], np.zeros((0, 0), dtype=np.float32)
    prints = fingerprints(faces, sample_of(characters))
    near = similarity(prints)
    names = [design_name(face.family) for face in faces]
    group = list(range(len(faces)))
    for one in range(len(faces)):
        for other in range(one):
            if group[one] != group[other] and (near[one, other] >= SAME_DESIGN or names[one] == names[other]):
                old, new = group[one], group[other]
                group = [new if number == old else number for number in group]
    members = [[row for row, number in enumerate(group) if number == chosen] for chosen in sorted(set(group))]
    named = sorted(zip(_readable([[names[row] for row in rows] for rows in members]), members, strict=True))
    designs = [
        Design(name, tuple(faces[row] for row in _different(rows, near, faces, max_faces))) for name, rows in named
    ]
    between = np.array([[near[np.ix_(a, b)].max() for _, b in named] for _, a in named], dtype=np.float32)
    return designs, between


def _readable(groups: list[list[str]]) -> list[str]:
    taken: Counter[str] = Counter()
    result = []
    for names in groups:
        counts = Counter(names)
        name = min(counts, key=lambda n: (-counts[n], len(n), n))
        taken[name] += 1
        result.append(name if taken[name] == 1 else f"{name} ({taken[name]})")
    return result


def _different(rows: list[int], near: np.ndarray, faces: Sequence[Face], limit: int | None) -> list[int]:
    """Farthest-first choice, starting from the face nearest to a regular weight."""
    regular = ("regular", "normal", "book", "roman", "medium", "w3", "r", "")
    first = min(rows, key=lambda r: (abs((faces[r].weight or 400) - 400), faces[r].style.lower() not in regular, r))
    chosen = [first]
    while limit is None or len(chosen) < limit:
        closest = {row: max(near[row, kept] for kept in chosen) for row in rows if row not in chosen}
        if not closest:
            break
        farthest = min(closest, key=lambda row: (closest[row], row))
        if closest[farthest] > 0.9995:
            break
        chosen.append(farthest)
    return sorted(chosen)


def _blur(images: np.ndarray) -> np.ndarray:
    """A [1 2 4 2 1] / 10 blur along both axes: strokes of different weight then overlap."""
    for axis in (1, 2):
        padding = [(0, 0)] * 3
        padding[axis] = (2, 2)
        wide = np.pad(images, padding)
        length = images.shape[axis]
        parts = [np.take(wide, range(shift, shift + length), axis=axis) for shift in range(5)]
        images = (parts[0] + 2 * parts[1] + 4 * parts[2] + 2 * parts[3] + parts[4]) / 10
    return images
