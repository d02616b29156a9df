"""Glyphs as a data set: each character a class, each typeface design a source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rootspace.data.cache import cache_folder, digests, key_of, open_or_build
from rootspace.data.characters import check_characters, common_han, is_compatibility
from rootspace.data.designs import Design, cluster
from rootspace.data.fonts import INSTALL_HINT, find_faces, find_font_files
from rootspace.data.images import Preprocessing
from rootspace.data.progress import tracked
from rootspace.data.render import RENDERER, claims, render
from rootspace.data.splits import split_by_source
from rootspace.data.store import ImageSet, ImageStore
from rootspace.data.writing import writing
from rootspace.errors import InputError

HOLD_OUT_EASY = ("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAexGothic", "NanumGothic")
"""Held out as the easy hand: the first of these that is there, a plain sans face like those that train."""

HOLD_OUT_UNLIKE = ("LXGW WenKai", "AR PL UKai", "TW-Kai", "IPAmjMincho", "TakaoMincho", "Noto Serif")
"""Held out as the unlike hand: the first of these that is there, brush-like faces before serif ones."""


def find_designs(
    characters: Sequence[str],
    extra: Iterable[str | Path] = (),
    packages: bool = True,
    system: bool = True,
    coverage: float = 0.9,
    max_faces: int | None = 6,
) -> tuple[list[Design], np.ndarray]:
    """The designs of this machine that have at least `coverage` of the characters, and their similarity (D, D).

    `extra` names further folders or files. No design at all is an `InputError` that says what to install.
    """
    check_characters(list(characters))
    faces = find_faces(find_font_files(extra, packages, system), characters, coverage)
    designs, between = cluster(faces, characters, max_faces)
    if not designs:
        raise InputError(f"found no typeface with the {len(characters):,} characters wanted; {INSTALL_HINT}")
    return designs, between


def glyph_store(
    designs: Sequence[Design],
    characters: Sequence[str],
    size: int = 32,
    cache: str | Path | None = None,
    progress: bool = True,
) -> ImageStore:
    """Draw every character of every face of the designs, once: later calls open the cached store.

    Labels are the characters, sources the designs; images (N, size, size, 1), dark ink on white. The cache key
    covers the typeface files' contents, the characters, the size and the renderer. Compatibility characters,
    which repeat the shape of another, are refused with an `InputError`.
    """
    check_characters(list(characters))
    if double := [character for character in characters if is_compatibility(character)]:
        raise InputError(
            f"{double[0]!r} (U+{ord(double[0]):04X}) is a compatibility character, which repeats another's shape; "
            "leave it out"
        )
    folder = cache_folder(cache)
    faces = [(number, face) for number, design in enumerate(designs) for face in design.faces]
    content = digests(sorted({face.path for _, face in faces}), folder)
    described = [
        {
            "design": designs[number].name,
            "face": str(face),
            "file": face.path.name,
            "sha256": content[face.path],
            "index": face.index,
            "weight": face.weight,
        }
        for number, face in faces
    ]
    key = key_of({"faces": described, "characters": "".join(characters), "size": size, "renderer": RENDERER})

    def build(path: Path) -> None:
        names = [design.name for design in designs]
        about = {"kind": "glyphs", "renderer": RENDERER, "faces": described}
        with writing(path, Preprocessing(size, 1, "ink"), list(characters), names, about) as writer:
            for number, face in tracked(faces, "drawing typefaces", progress):
                images, labels = render(face, characters, size)
                writer.add(images[..., None], labels, np.full(len(labels), number))

    return open_or_build(folder / "glyphs" / key, build)


def demo_glyphs(
    n_classes: int = 1000,
    extra_font_dirs: Iterable[str | Path] = (),
    size: int = 32,
    cache: str | Path | None = None,
    hold_out: Sequence[str] | None = None,
    packages: bool = True,
    system: bool = True,
    max_faces: int = 6,
    progress: bool = True,
) -> tuple[ImageSet, dict[str, ImageSet]]:
    """Han characters over all designs found: (train, {held-out design: its images}).

    Classes are the first `n_classes` of `common_han` that every design used has. Every design trains but
    those held out: the designs named in `hold_out`, else one easy and one unlike hand (see `choose_held_out`).
    Fewer than two designs, or a name that is not there, is an `InputError`.
    """
    ordered = common_han()
    if not 2 <= n_classes <= len(ordered):
        raise InputError(f"the number of classes must lie between 2 and {len(ordered):,}, got {n_classes}")
    designs, between = find_designs(ordered[:n_classes], extra_font_dirs, packages, system, 0.9, max_faces)
    if len(designs) < 2:
        raise InputError(
            f"found one design only ({designs[0].name}), and a hand to test on must differ from those that train; "
            f"{INSTALL_HINT}"
        )
    names = [design.name for design in designs]
    held_out = list(hold_out) if hold_out is not None else choose_held_out(names, between)
    characters = shared_characters(designs, ordered[: 2 * n_classes + 200], n_classes)
    return split_by_source(glyph_store(designs, characters, size, cache, progress).all(), held_out)


def shared_characters(designs: Sequence[Design], candidates: Sequence[str], n: int) -> list[str]:
    """The n candidates that the fewest designs lack, earlier ones first: those that all have, if there are n."""
    missing = np.zeros(len(candidates), dtype=np.int64)
    for design in designs:
        missing += ~np.any([claims(face, candidates) for face in design.faces], axis=0)
    chosen = np.sort(np.argsort(missing, kind="stable")[:n])
    return [candidates[position] for position in chosen]


def choose_held_out(names: Sequence[str], between: np.ndarray) -> list[str]:
    """Which designs test: [easy, unlike], or [easy] alone where fewer than four designs are there.

    Each is the first of its preference list that is there; without one, the easy hand is the design most
    similar to another, the unlike hand the one least similar to any other.

    >>> choose_held_out(["A", "B", "LXGW WenKai", "WenQuanYi Micro Hei"], np.eye(4))
    ['WenQuanYi Micro Hei', 'LXGW WenKai']
    >>> near = np.array([[1, 0.9, 0.2, 0.3], [0.9, 1, 0.1, 0.4], [0.2, 0.1, 1, 0.1], [0.3, 0.4, 0.1, 1]])
    >>> choose_held_out(["A", "B", "C", "D"], near)
    ['A', 'C']
    """
    others = np.where(np.eye(len(names), dtype=bool), -np.inf, between).max(axis=1)
    order = [names[position] for position in np.argsort(-others, kind="stable")]
    unlike = next((name for name in HOLD_OUT_UNLIKE if name in names), order[-1])
    easy = next((name for name in HOLD_OUT_EASY if name in names and name != unlike), "")
    easy = easy or next(name for name in order if name != unlike)
    return [easy, unlike] if len(names) >= 4 else [easy]
