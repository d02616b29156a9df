"""The data that a training command reads: what to train on, and what to test on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rootspace.cli.launched import is_first
from rootspace.cli.options import announce_skipped
from rootspace.errors import InputError

if TYPE_CHECKING:
    from rootspace.data import ImageSet


def read_data(
    path: Path,
    asked: dict[str, Any],
    test: Path | None,
    hold_out: tuple[str, ...],
    test_share: float,
    seed: int,
    skip_bad: bool,
) -> tuple[ImageSet, ImageSet, dict[str, ImageSet]]:
    """All images of DATA, those to train on, and the sets to test on by name."""
    images = _open(path, asked, skip_bad)
    return images, *_split(images, test, hold_out, test_share, seed, skip_bad)


def _open(path: Path, asked: dict[str, Any], skip_bad: bool) -> ImageSet:
    """The data, brought to what is asked of its preprocessing."""
    from rootspace.data import PHOTOS, needs_decoding, open_data, refit

    if needs_decoding(path):
        # at the size asked for, not at the usual one first
        images = open_data(path, replace(PHOTOS, **asked), skip_bad)
    else:
        images = open_data(path, skip_bad=skip_bad)
        images = refit(images, replace(images.preprocessing, **asked))
    _announce(images)
    return images


def _split(
    images: ImageSet, test: Path | None, hold_out: tuple[str, ...], share: float, seed: int, skip_bad: bool
) -> tuple[ImageSet, dict[str, ImageSet]]:
    """Training images, and the sets to test on by name."""
    from rootspace.data import open_data, split_by_source, split_random, with_label_names

    if test is not None:
        other = open_data(test, images.preprocessing, skip_bad)
        _announce(other)
        try:
            return images, {test.name: with_label_names(other, images.label_names)}
        except InputError as error:
            raise InputError(f"{test}: {error}") from None
    if hold_out:
        return split_by_source(images, list(hold_out))
    if share == 0:
        return images, {}
    training, kept = split_random(images, share, seed)
    return training, {"random share": kept}


def _announce(images: ImageSet) -> None:
    if is_first():
        announce_skipped(images)
