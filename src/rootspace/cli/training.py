"""Commands that train: demo and train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import torch

from rootspace import experiment, report
from rootspace.data import ImageSet, open_data, refit, split_by_source, split_random, with_label_names
from rootspace.demo import RECIPE, demo_data
from rootspace.demo import run as run_demo
from rootspace.errors import InputError
from rootspace.experiment import ASSIGNMENTS, AUGMENTATIONS, LOSSES, Recipe
from rootspace.train import TrainConfig
from rootspace.train.config import DEVICES, PRECISIONS, SCHEDULES

_DEFAULT = TrainConfig()


def _run_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that demo and train share."""
    options = (
        click.option("--epochs", type=int, default=_DEFAULT.epochs, show_default=True),
        click.option("--batch-size", type=int, default=_DEFAULT.batch_size, show_default=True),
        click.option("--learning-rate", type=float, default=_DEFAULT.learning_rate, show_default=True),
        click.option("--seed", type=int, default=0, show_default=True, help="Makes a run on a CPU reproducible."),
        click.option("--threads", type=click.IntRange(min=1), help="Processor threads to use.  [default: all cores]"),
        click.option("--resume", is_flag=True, help="Go on with the interrupted run in --output."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@click.option("--classes", type=click.IntRange(2, 3000), default=1000, show_default=True, help="How many characters.")
@click.option(
    "--fonts", type=click.Path(path_type=Path), multiple=True, help="A folder or file of typefaces, repeatable."
)
@click.option("--packaged-fonts-only", is_flag=True, help="Leave out the typefaces installed on the system.")
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="Also train a linear layer.")
@_run_options
def demo(
    output: Path,
    classes: int,
    fonts: tuple[Path, ...],
    packaged_fonts_only: bool,
    baseline: bool,
    threads: int | None,
    resume: bool,
    **options: Any,
) -> None:
    """Train on a thousand characters in some typefaces and recognise them in typefaces never seen.

    Compares predefined vectors with a learned linear layer at the same budget; leaves a report, a model and
    sample images in --output.
    """
    config = TrainConfig(**options)
    _use_threads(threads)
    data = demo_data(classes, fonts, system_fonts=not packaged_fonts_only)
    found = run_demo(output, data, config, RECIPE, baseline, resume, say=click.echo)
    _show(output, found)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder for model and report.")
@click.option("--test", type=click.Path(path_type=Path), help="Data to test on, with the same class names.")
@click.option("--hold-out", multiple=True, help="A source of DATA (an image store) to test on, repeatable.")
@click.option("--test-share", type=float, default=0.2, show_default=True, help="Test on this share, without the above.")
@click.option("--recipe", type=click.Choice(["default", "paper"]), default="default", show_default=True)
@click.option("--system", help='A vector system such as "V22:41" or "dense:128".  [default: by the classes]')
@click.option("--assignment", type=click.Choice(ASSIGNMENTS), help="How classes get their vectors.")
@click.option("--loss", type=click.Choice(list(LOSSES)), help="What the softmax runs over, or a plain distance.")
@click.option("--scale", type=float, help="The factor from cosines to logits.")
@click.option("--margin", type=float, help="Subtracted from the cosine of the own class.")
@click.option("--label-smoothing", type=float)
@click.option("--backbone", default="small_conv", show_default=True, help="A registered encoder.")
@click.option("--width", type=int, help="The encoder's width.")
@click.option("--size", type=int, help="Bring images to this side, in pixels.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="1: grey, 3: colour.")
@click.option("--fit", type=click.Choice(["ink", "stretch", "crop"]), help="How a picture fills its cell.")
@click.option("--augment", type=click.Choice(list(AUGMENTATIONS)), help="Random changes while training.")
@click.option("--weight-decay", type=float, default=_DEFAULT.weight_decay, show_default=True)
@click.option("--schedule", type=click.Choice(SCHEDULES), default=_DEFAULT.schedule, show_default=True)
@click.option("--warmup", type=float, default=_DEFAULT.warmup, show_default=True, help="Share of the steps.")
@click.option("--clip-norm", type=float, default=_DEFAULT.clip_norm, show_default=True, help="0: no clipping.")
@click.option("--gradient-accumulation", type=int, default=1, show_default=True)
@click.option("--mixed-precision", type=click.Choice(PRECISIONS), default="no", show_default=True)
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--num-workers", type=int, default=0, show_default=True)
@click.option("--checkpoint-every", type=int, default=0, show_default=True, help="Steps; 0: every epoch.")
@click.option("--baseline", is_flag=True, help="Also train a linear layer with cross-entropy, to compare.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and count them.")
@_run_options
def train(
    data: Path,
    output: Path,
    test: Path | None,
    hold_out: tuple[str, ...],
    test_share: float,
    recipe: str,
    size: int | None,
    channels: str | None,
    fit: str | None,
    backbone: str,
    width: int | None,
    baseline: bool,
    skip_bad: bool,
    threads: int | None,
    resume: bool,
    **options: Any,
) -> None:
    """Train an encoder on DATA with no classification layer.

    DATA is a folder with one folder of images a class, an image store, or an .npz file (images, labels).
    """
    config = TrainConfig(**{name: options.pop(name) for name in list(options) if name in _CONFIG})
    _use_threads(threads)
    chosen = {name: value for name, value in options.items() if value is not None}
    encoder = {"name": backbone} if width is None else {"name": backbone, "width": width}
    images = _prepared(open_data(data, skip_bad=skip_bad), data, size, channels, fit, skip_bad)
    if "augment" not in chosen:
        chosen["augment"] = "glyph" if images.preprocessing.fit == "ink" else "photo"
    plan = (Recipe.paper if recipe == "paper" else Recipe)(backbone=encoder, **chosen)
    experiment.system_of(plan, images.n_classes)
    training, heldout = _split(images, test, hold_out, test_share, config.seed, skip_bad)
    training, calibration = experiment.split_for_calibration(training, config.seed)
    runs = []
    for is_baseline in (False, True) if baseline else (False,):
        folder = output / "training" / ("baseline" if is_baseline else "rootspace")
        trained = experiment.train(
            training,
            heldout,
            plan,
            config,
            baseline=is_baseline,
            output=folder,
            resume=resume and folder.exists(),
        )
        runs.append((trained, experiment.examine(trained, heldout)))
    experiment.recogniser_of(runs[0][0], training, calibration).save(output / "model")
    found = experiment.report_of(
        f"{images.n_classes:,} classes of {data.name}",
        runs,
        training,
        heldout,
        plan,
        config,
        data={
            "training": f"{len(training):,} images, {images.n_classes:,} classes, {data}",
            "held out": "; ".join(f"{name}: {len(part):,} images" for name, part in heldout.items()),
        },
        next_steps=(report.NextStep(f"rootspace predict {output}/model IMAGE...", "recognise pictures"),),
    )
    report.write_report(output, found)
    _show(output, found)


_CONFIG = {field.name for field in fields(TrainConfig)}


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)


def _prepared(
    images: ImageSet, path: Path, size: int | None, channels: str | None, fit: str | None, skip_bad: bool
) -> ImageSet:
    """The data brought to the preprocessing asked for, where any was."""
    asked: dict[str, Any] = {"size": size, "channels": int(channels) if channels else None, "fit": fit}
    wanted = replace(images.preprocessing, **{name: value for name, value in asked.items() if value is not None})
    if wanted == images.preprocessing:
        return images
    # a folder of pictures is read again at the new size rather than rescaled from the old one
    return open_data(path, wanted, skip_bad) if path.is_dir() else refit(images, wanted)


def _split(
    images: ImageSet, test: Path | None, hold_out: tuple[str, ...], share: float, seed: int, skip_bad: bool
) -> tuple[ImageSet, dict[str, ImageSet]]:
    """Training images, and the sets to test on by name."""
    if test is not None:
        other = open_data(test, images.preprocessing, skip_bad)
        return images, {test.name: with_label_names(other, images.label_names)}
    if hold_out:
        return split_by_source(images, list(hold_out))
    if not 0 <= share < 1:
        raise InputError(f"--test-share: expected a share in [0, 1), got {share}")
    if share == 0:
        return images, {}
    training, kept = split_random(images, share, seed)
    return training, {"random share": kept} if len(kept) else {}


def _show(output: Path, found: report.RunReport) -> None:
    report.print_table(found)
    click.echo(f"report   {output / 'report.html'}")
    click.echo(f"model    {output / 'model'}")
    for step in found.next_steps:
        click.echo(f"try      {step.command}")
