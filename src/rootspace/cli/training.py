"""Commands that train: demo and train."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.errors import out_of_memory
from rootspace.cli.launched import TogetherCommand, in_turn, is_first
from rootspace.cli.options import CONTINUE, OUTPUT, PATH, option, run_options, use_threads
from rootspace.cli.output import check_output, held
from rootspace.cli.reading import read_data
from rootspace.cli.settings import (
    ENGINE_OPTIONS,
    FROM_FILE,
    IMAGE_OPTIONS,
    TARGET_OPTIONS,
    TEST_OPTIONS,
    TEXT_OPTIONS,
    settings_from,
)
from rootspace.errors import InputError, require

if TYPE_CHECKING:
    from rootspace.data import ImageSet
    from rootspace.experiment import Recipe, Settings
    from rootspace.report import RunReport

#: Of a training set whose every sample is its own class, so many are tested on a view never seen.
UNSEEN_VIEWS = 10_000

_DEMO = "Characters and typefaces"


@click.command(
    cls=TogetherCommand,
    short_help="Train, compare and test on real characters: start here.",
    examples=(
        "rootspace demo",
        "rootspace demo --classes 200 --epochs 3 --no-baseline --output runs/small",
        "rootspace demo --fonts ~/fonts --resume",
    ),
)
@option("--output", heading=OUTPUT, type=PATH, default=Path("runs/demo"), help="For report, model and samples.")
@CONTINUE
@option("--classes", heading=_DEMO, type=click.IntRange(2, 3000), default=1000, help="How many characters.")
@option("--fonts", heading=_DEMO, type=PATH, multiple=True, help="A folder or file of typefaces, repeatable.")
@option("--packaged-fonts-only", heading=_DEMO, is_flag=True, help="Leave out those installed on the system.")
@option("--baseline/--no-baseline", heading=_DEMO, default=True, help="Also train a linear layer, to compare.")
@run_options(learning_rate=2.4e-2)  # the best measured for it: benchmarks/convergence.py
def demo(
    output: Path,
    classes: int,
    fonts: tuple[Path, ...],
    packaged_fonts_only: bool,
    baseline: bool,
    threads: int | None,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Train on a thousand characters in some typefaces and recognise them in typefaces never seen.

    Compares predefined vectors with a learned linear layer at the same budget; leaves a report, a model and
    sample images in --output.
    """
    check_output(output, resume, overwrite)
    _require_report()
    from rootspace.demo import RECIPE, demo_data, run
    from rootspace.train import TrainConfig

    config = TrainConfig(**options)
    use_threads(threads)
    data = in_turn(lambda: demo_data(classes, fonts, system_fonts=not packaged_fonts_only))
    with held(output, {"recipe": asdict(RECIPE), "train": config.to_dict()}, resume, overwrite):
        found = run(output, data, config, RECIPE, baseline, resume, say=click.echo if is_first() else lambda text: None)
    _show(output, found)


@click.command(
    cls=TogetherCommand,
    short_help="Train on your own images.",
    examples=(
        "rootspace train photos --output runs/photos",
        "rootspace train photos --test photos-of-another-camera --output runs/photos --baseline",
        'rootspace train digits.npz --output runs/digits --system "V22:16" --epochs 10',
        "rootspace train photos --output runs/photos --classes-from samples",
        "rootspace train photos --output runs/photos --resume",
        "rootspace train --config runs/photos/training/settings.yaml --epochs 20 --output runs/longer",
    ),
)
@click.argument("data", type=PATH, required=False)
@option("--output", heading=OUTPUT, type=PATH, required=True, help="The folder for report and model.")
@CONTINUE
@FROM_FILE
@TEST_OPTIONS
@run_options(learning_rate=6e-3)
@TARGET_OPTIONS
@IMAGE_OPTIONS
@TEXT_OPTIONS
@ENGINE_OPTIONS
@click.pass_context
def train(
    context: click.Context,
    data: Path | None,
    output: Path,
    resume: bool,
    overwrite: bool,
    config_file: Path | None,
    overrides: tuple[str, ...],
    threads: int | None,
    **options: Any,
) -> None:
    """Train an encoder on DATA with no classification layer.

    DATA is a folder with one folder of images a class, a table of images or texts (CSV, Parquet), shards, a saved
    data set, a store, or an .npz file (images, labels).
    """
    check_output(output, resume, overwrite)
    _require_report()
    from rootspace import experiment, report
    from rootspace.data import is_text
    from rootspace.experiment import settled
    from rootspace.experiment.checks import check
    from rootspace.experiment.settings import as_yaml

    stored = output / "training" / "settings.yaml"
    if resume and data is None and config_file is None and stored.is_file():
        config_file = stored  # everything as it began
    settings, asked = settings_from(context, data, config_file, overrides)
    check(settings, output)
    use_threads(threads)
    images, training, heldout = in_turn(lambda: _read(settings))
    recipe = settled(settings.recipe, images)
    _check_plan(recipe, asked, images, settings.data.path)
    model, sample = shlex.quote(str(output / "model")), "TEXT" if is_text(images.preprocessing) else "IMAGE"
    described = settings.to_dict()
    with held(output, described, resume, overwrite):
        if is_first():
            click.echo(as_yaml(described))
        found = experiment.run(
            f"{images.n_classes:,} classes of {Path(settings.data.path).name}",
            training,
            heldout,
            recipe,
            settings.train,
            output,
            baseline=settings.baseline,
            resume=resume,
            next_steps=(report.NextStep(f"rootspace predict {model} {sample}...", "recognise others"),),
        )
    _show(output, found)


def _read(settings: Settings) -> tuple[ImageSet, ImageSet, dict[str, ImageSet]]:
    """All images, those to train on, and the sets to test on by name."""
    from rootspace.data import unseen_views
    from rootspace.experiment import AUGMENTATIONS, settled

    data, seed = settings.data, settings.train.seed
    own_class = data.classes_from == "samples"
    images, training, heldout = read_data(
        Path(data.path),
        _with_usual_size(settings),
        None if data.test is None else Path(data.test),
        data.hold_out,
        0.0 if own_class else data.test_share,
        seed,
        data.skip_bad,
        data.fields,
        labelled=not own_class,
    )
    if own_class:
        augment = AUGMENTATIONS[settled(settings.recipe, images).augment]()
        heldout = {"unseen views": unseen_views(images, augment, seed, UNSEEN_VIEWS)}
    return images, training, heldout


def _with_usual_size(settings: Settings) -> dict[str, Any]:
    """What is asked of the preprocessing; pictures yet to be decoded get the size that the backbone is used to."""
    from rootspace.data import holds_texts, needs_decoding
    from rootspace.models import usual_input

    data, backbone = settings.data, settings.recipe.backbone
    if backbone.get("name", "auto") == "auto" or not needs_decoding(Path(data.path)):
        return data.preprocessing
    usual = usual_input(backbone)
    if usual is None or holds_texts(Path(data.path), data.fields):
        return data.preprocessing
    return {"size": usual[0], "channels": usual[1], **data.preprocessing}


def _require_report() -> None:
    """Fail before the training, not after it, where the packages that write the report are missing."""
    for module in ("matplotlib", "jinja2"):
        require(module, extra="report")


def _check_plan(plan: Recipe, asked: Mapping[str, object], images: ImageSet, data: str) -> None:
    """What would fail, or silently do nothing, fails before the training starts."""
    from rootspace.assign import check_room
    from rootspace.experiment import system_of

    if images.n_classes < 2:
        raise InputError(f"{data}: only one class ({images.label_names[0]!r}); at least two are needed")
    check_room(system_of(plan, images.n_classes), images.n_classes)
    if plan.loss in ("cosine", "euclidean"):
        for name in ("scale", "margin", "label_smoothing"):
            if f"recipe.{name}" in asked:
                raise InputError(
                    f"--{name.replace('_', '-')} means nothing to the loss {plan.loss!r}, which has no softmax; "
                    "leave it out, or take --loss classes, neighbours, batch or system"
                )
    if "recipe.features" in asked and plan.assignment != "similarity":
        raise InputError(f"--features means nothing to --assignment {plan.assignment}, which looks at no images")
    check_encoder(plan.backbone, images)


def check_encoder(config: dict[str, Any], images: ImageSet) -> None:
    """Raise `InputError` unless the encoder exists and takes these images, or texts."""
    import torch

    from rootspace.data import is_text
    from rootspace.models import build, check_texts, fitted

    height, width, channels = images.image_shape
    # whatever its weights, it takes the same images: they are read once, for the training
    config = {name: value for name, value in config.items() if name not in ("pretrained", "checkpoint")}
    # on real numbers: without them ("meta") the first batch norm would import a compiler, which takes seconds
    encoder = build(fitted(config, images.image_shape)).eval()
    check_texts(encoder, images.preprocessing)
    try:
        with torch.no_grad():
            encoder(torch.zeros(1, channels, height, width))
    except (RuntimeError, InputError) as error:
        if out_of_memory(error):
            raise
        what, cure = f"images of {height} x {width} pixels", "--size"
        if is_text(images.preprocessing):
            what, cure = f"texts of {width} {'bytes' if channels == 1 else 'tokens'}", "--length"
        raise InputError(f"{config['name']}: cannot take {what} ({error}); give another {cure}") from None


def _show(output: Path, found: RunReport | None) -> None:
    from rootspace import report

    if found is None:  # the first process shows it
        return
    report.print_table(found)
    click.echo(f"report   {output / 'report.html'}")
    click.echo(f"model    {output / 'model'}")
    for step in found.next_steps:
        click.echo(f"try      {step.command}")
