"""The command that teaches a trained model more classes: grow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.launched import TogetherCommand, in_turn, is_first
from rootspace.cli.options import (
    COLUMNS,
    CONTINUE,
    DATA,
    MODEL,
    OUTPUT,
    PATH,
    SKIP_BAD,
    announce_skipped,
    fields_of,
    option,
    run_options,
    use_threads,
)
from rootspace.cli.output import check_output, held
from rootspace.cli.reading import columns_for
from rootspace.cli.settings import AUGMENTATIONS, DEVICES, LOSSES
from rootspace.errors import InputError

if TYPE_CHECKING:
    from rootspace.data import Fields, ImageSet
    from rootspace.experiment.growing import Grown
    from rootspace.models import Recogniser

_SHARE = click.FloatRange(min=0, max=1, max_open=True)
_CLASSES, _TEST, _TARGETS = "Old and new classes", "What to test on", "Loss and images"


@click.command(
    cls=TogetherCommand,
    short_help="Teach a trained model more classes.",
    examples=(
        "rootspace grow runs/photos/model new-photos --replay photos --output runs/more",
        "rootspace grow MODEL NEW --replay OLD --replay-share 0.5 --epochs 3 --output runs/more",
        'rootspace grow MODEL NEW --replay OLD --system "V22:50" --output runs/larger',
    ),
)
@MODEL
@DATA
@option("--output", heading=OUTPUT, type=PATH, required=True, help="The folder for the grown model and its results.")
@CONTINUE
@option("--replay", heading=_CLASSES, type=PATH, help="Images of classes that MODEL knows, so that it keeps them.")
@option(
    "--replay-share",
    heading=_CLASSES,
    type=_SHARE,
    help="Their share of what is trained on.  [default: so that classes have equal shares, up to 0.9]",
)
@option("--system", heading=_CLASSES, metavar="SPEC", help="A larger vector system to move to, where MODEL's is full.")
@option(
    "--enrol/--no-enrol",
    heading=_CLASSES,
    default=True,
    help="Whether new classes get vectors near their mean embeddings, or any.",
)
@option("--test", heading=_TEST, type=PATH, help="Data to test on, of old and new classes.")
@option("--test-share", heading=_TEST, type=_SHARE, default=0.2, help="A share of DATA and --replay, without it.")
@run_options(learning_rate=2e-3)
@option("--device", heading=_TARGETS, type=click.Choice(DEVICES), default="auto", help="auto: a GPU if there is.")
@option("--loss", heading=_TARGETS, type=click.Choice(LOSSES), help="As of train.  [default: by the classes]")
@option("--scale", heading=_TARGETS, type=click.FloatRange(min=0, min_open=True), help="As of train.  [default: 24]")
@option("--margin", heading=_TARGETS, type=float, help="As of train.  [default: 0.1]")
@option("--augment", heading=_TARGETS, type=click.Choice(AUGMENTATIONS), help="Random changes while training.")
@COLUMNS
@SKIP_BAD
def grow(
    model: Path,
    data: Path,
    output: Path,
    resume: bool,
    overwrite: bool,
    replay: Path | None,
    replay_share: float | None,
    system: str | None,
    enrol: bool,
    test: Path | None,
    test_share: float,
    threads: int | None,
    skip_bad: bool,
    **options: Any,
) -> None:
    """Teach MODEL the classes of DATA, which it does not know, and keep those it knows.

    New classes are enrolled from their images, and then trained on, among images of old classes from --replay.
    Says how many are recognised of either kind, before and after. Leaves the grown model in --output; MODEL stays.
    """
    check_output(output, resume, overwrite)
    from rootspace import models
    from rootspace.experiment import Recipe
    from rootspace.experiment.growing import grow as grow_model
    from rootspace.files import sha256
    from rootspace.models.folder import WEIGHTS
    from rootspace.train import TrainConfig

    fields = fields_of({name: options.pop(name) for name in list(options) if name.endswith("_column")})
    names = TrainConfig.__dataclass_fields__
    config = TrainConfig(**{name: options.pop(name) for name in list(options) if name in names})
    use_threads(threads)
    chosen = {name: value for name, value in options.items() if value is not None}
    recipe = Recipe(**chosen)

    def read() -> tuple[Path, Recogniser, tuple[ImageSet, ImageSet | None, dict[str, ImageSet]]]:
        folder = models.located(model)
        recogniser = models.load(folder)
        return folder, recogniser, _opened(recogniser, data, replay, test, test_share, config.seed, skip_bad, fields)

    folder, recogniser, (new, old, heldout) = in_turn(read)
    growth = {"model": sha256(folder / WEIGHTS), "system": system, "enrol": enrol, "replay_share": replay_share}
    settings = {"growth": growth, "recipe": asdict(recipe), "train": config.to_dict()}
    with held(output, settings, resume, overwrite):
        found = grow_model(
            recogniser,
            new,
            heldout,
            config,
            output,
            old=old,
            replay_share=replay_share,
            recipe=recipe,
            system=system,
            enrol=enrol,
            resume=resume,
        )
    if is_first():
        _show(output, found)


def _opened(
    model: Recogniser,
    data: Path,
    replay: Path | None,
    test: Path | None,
    share: float,
    seed: int,
    skip_bad: bool,
    fields: Fields,
) -> tuple[ImageSet, ImageSet | None, dict[str, ImageSet]]:
    """New images, old ones if there are, and the sets to test on: "old" and "new"."""
    import numpy as np

    from rootspace.data import open_data, split_random, with_label_names

    paths = [path for path in (data, replay, test) if path is not None]
    named = dict(zip(paths, columns_for(fields, *paths), strict=True))

    def opened(path: Path) -> ImageSet:
        images = open_data(path, model.preprocessing, skip_bad, fields=named[path])
        if is_first():
            announce_skipped(images)
        return images

    known = set(model.label_names)
    new, old, heldout = opened(data), None, {}
    names = [new.label_names[label] for label in np.unique(new.labels)]
    if again := [name for name in names if name in known]:
        raise InputError(
            f"{data}: the model knows {again[0]!r} already ({len(again):,} of {len(names):,} classes); "
            "give new classes alone, and old ones as --replay"
        )
    if replay is not None:
        try:
            old = with_label_names(opened(replay), model.label_names)
        except InputError as error:
            raise InputError(f"{replay}: {error}") from None
    if test is not None:
        everything = opened(test)
        try:
            everything = with_label_names(everything, [*model.label_names, *names])
        except InputError as error:
            raise InputError(f"{test}: {error}") from None
        is_old = everything.labels < len(known)
        heldout = {"old": everything.select(is_old), "new": everything.select(~is_old)}
    elif share:
        new, heldout["new"] = split_random(new, share, seed)
        if old is not None:
            old, heldout["old"] = split_random(old, share, seed)
    return new, old, {name: heldout[name] for name in ("old", "new") if len(heldout.get(name, ()))}


def _show(output: Path, found: Grown) -> None:
    click.echo(f"{'top-1':<20}" + "".join(f"{stage:>10}" for stage in found.accuracy))
    for name, count in (("old", found.old_classes), ("new", found.new_classes)):
        shares = [stage.get(name) for stage in found.accuracy.values()]
        if any(share is not None for share in shares):
            cells = "".join(f"{'-' if share is None else f'{share:.2%}':>10}" for share in shares)
            click.echo(f"{f'{count:,} {name} classes':<20}{cells}")
    click.echo(f"results  {output / 'results.json'}")
    click.echo(f"model    {output / 'model'}")
