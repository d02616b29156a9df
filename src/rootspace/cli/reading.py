"""The data that a training command reads: what to train on, and what to test on."""

from __future__ import annotations

from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.launched import is_first
from rootspace.cli.options import announce_skipped
from rootspace.errors import InputError

if TYPE_CHECKING:
    from rootspace.data import AnyPreprocessing, Fields, ImageSet


def read_data(
    path: Path,
    asked: dict[str, Any],
    test: Path | None,
    hold_out: tuple[str, ...],
    test_share: float,
    seed: int,
    skip_bad: bool,
    fields: Fields | None = None,
) -> tuple[ImageSet, ImageSet, dict[str, ImageSet]]:
    """All images or texts of DATA, those to train on, and the sets to test on by name.

    asked: fields of its preprocessing, those of pictures or those of texts; fields: the columns of both tables.
    """
    images = _open(path, asked, skip_bad, fields)
    return images, *_split(images, test, hold_out, test_share, seed, skip_bad, fields)


def _open(path: Path, asked: dict[str, Any], skip_bad: bool, fields: Fields | None) -> ImageSet:
    """The data, brought to what is asked of its preprocessing."""
    from rootspace.data import PHOTOS, TEXTS, holds_texts, needs_decoding, open_data, refit

    if needs_decoding(path):
        # at the size asked for, not at the usual one first
        usual = TEXTS if holds_texts(path, fields) else PHOTOS
        images = open_data(path, changed(usual, asked, path), skip_bad, fields=fields)
    else:
        images = open_data(path, skip_bad=skip_bad)
        images = refit(images, changed(images.preprocessing, asked, path))
    _announce(images)
    return images


def changed(preprocessing: AnyPreprocessing, asked: dict[str, Any], path: Path) -> AnyPreprocessing:
    """The preprocessing with what is asked of it; `InputError` where that is of the other kind."""
    from rootspace.data import is_text

    own = {field.name for field in fields_of(preprocessing)}
    if wrong := [name for name in asked if name not in own]:
        kinds = ("pictures", "texts") if is_text(preprocessing) else ("texts", "pictures")
        raise InputError(f"{path}: holds {kinds[1]}; {', '.join(wrong)} is for {kinds[0]}, leave it out")
    return replace(preprocessing, **asked)


def _split(
    images: ImageSet,
    test: Path | None,
    hold_out: tuple[str, ...],
    share: float,
    seed: int,
    skip_bad: bool,
    fields: Fields | None,
) -> tuple[ImageSet, dict[str, ImageSet]]:
    """Training images, and the sets to test on by name."""
    from rootspace.data import needs_decoding, open_data, split_by_source, split_random, with_label_names

    if test is not None:
        named = fields if needs_decoding(test) else None
        other = open_data(test, images.preprocessing, skip_bad, fields=named)
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
    if not is_first():
        return
    announce_skipped(images)
    repeats = images.store.about.get("repeats") or {}
    if any(repeats.values()):
        click.echo(
            f"{repeats['rows']:,} of {len(images.store):,} rows repeat another, text and class; "
            f"{repeats['ambiguous']:,} texts stand under several classes",
            err=True,
        )
