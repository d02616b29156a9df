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
    labelled: bool = True,
) -> tuple[ImageSet, ImageSet, dict[str, ImageSet]]:
    """All images or texts of DATA, those to train on, and the sets to test on by name.

    asked: fields of its preprocessing, those of pictures or those of texts; fields: the columns of both tables;
    labelled: False reads no labels, and makes every sample its own class.
    """
    named = columns_for(fields, *([path] if test is None else [path, test]))
    images = _open(path, asked, skip_bad, named[0], labelled)
    return images, *_split(images, test, hold_out, test_share, seed, skip_bad, named[-1])


def columns_for(fields: Fields | None, *paths: Path) -> list[Fields | None]:
    """The columns to read each of several data by: those named, where it has any; where none has, an `InputError`."""
    from rootspace.data import Fields, has_columns

    if fields is None or fields == Fields():
        return [None] * len(paths)
    having = [has_columns(path) or not path.exists() for path in paths]
    if not any(having):
        raise InputError(f"{paths[0]}: has no columns or keys to name; leave the options out that name them")
    return [fields if has else None for has in having]


def _open(path: Path, asked: dict[str, Any], skip_bad: bool, fields: Fields | None, labelled: bool) -> ImageSet:
    """The data, brought to what is asked of its preprocessing."""
    from rootspace.data import PHOTOS, TEXTS, find_samples, needs_decoding, open_data, open_samples, refit

    if needs_decoding(path):
        # at the size asked for, not at the usual one first
        samples = find_samples(path, fields, labelled=labelled)
        images = open_samples(samples, changed(TEXTS if samples.texts else PHOTOS, asked, path), skip_bad)
    else:
        images = open_data(path, skip_bad=skip_bad, labelled=labelled)
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
    from rootspace.data import open_data, split_by_source, split_random, with_label_names

    if test is not None:
        other = open_data(test, images.preprocessing, skip_bad, fields=fields)
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
