"""Commands that train: demo and train."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.errors import out_of_memory
from rootspace.cli.launched import TogetherCommand, in_turn, is_first
from rootspace.cli.options import (
    CONTINUE,
    DATA,
    OUTPUT,
    PATH,
    option,
    run_options,
    together,
)
from rootspace.cli.output import check_output, held
from rootspace.cli.reading import read_data
from rootspace.errors import InputError, require

if TYPE_CHECKING:
    from rootspace.data import ImageSet
    from rootspace.experiment import Recipe
    from rootspace.report import RunReport

# The library's own lists and defaults, written again: --help must not wait for torch. A test compares them.
ASSIGNMENTS = ("similarity", "shuffled", "names")
FEATURES = ("pixels", "backbone")
LOSSES = ("classes", "neighbours", "batch", "system", "cosine", "euclidean")
AUGMENTATIONS = ("glyph", "photo", "none")
FITS = ("ink", "stretch", "crop")
SCHEDULES = ("one_cycle", "cosine", "constant")
PRECISIONS = ("no", "bf16", "fp16")
DEVICES = ("auto", "cpu")
NORMALISATIONS = ("none", "batch")
CLASSES_FROM = ("labels", "samples")

#: Of a training set whose every sample is its own class, so many are tested on a view never seen.
UNSEEN_VIEWS = 10_000

_POSITIVE = click.FloatRange(min=0, min_open=True)
_SHARE = click.FloatRange(min=0, max=1, max_open=True)
_DEMO = "Characters and typefaces"
_TEST, _TARGETS, _IMAGES = "What to test on", "Targets and loss", "Images and encoder"


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
    _use_threads(threads)
    data = in_turn(lambda: demo_data(classes, fonts, system_fonts=not packaged_fonts_only))
    with held(output, asdict(RECIPE), resume, overwrite):
        found = run(output, data, config, RECIPE, baseline, resume, say=click.echo if is_first() else lambda text: None)
    _show(output, found)


_TARGET_OPTIONS = together(
    option(
        "--recipe",
        heading=_TARGETS,
        type=click.Choice(["default", "paper"]),
        default="default",
        help="Where the other options start from.",
    ),
    option(
        "--system",
        heading=_TARGETS,
        metavar="SPEC",
        help='A vector system such as "V22:41" or "dense:128".  [default: by the classes]',
    ),
    option(
        "--assignment",
        heading=_TARGETS,
        type=click.Choice(ASSIGNMENTS),
        help="How classes get their vectors.  [default: similarity]",
    ),
    option(
        "--loss",
        heading=_TARGETS,
        type=click.Choice(LOSSES),
        help="What the softmax runs over, or a plain distance.  [default: by the classes]",
    ),
    option("--scale", heading=_TARGETS, type=_POSITIVE, help="The factor from cosines to logits.  [default: 24]"),
    option(
        "--margin", heading=_TARGETS, type=float, help="Subtracted from the cosine of the own class.  [default: 0.1]"
    ),
    option(
        "--label-smoothing",
        heading=_TARGETS,
        type=_SHARE,
        help="The share of the target given to all classes alike.  [default: 0]",
    ),
    option(
        "--normalise",
        heading=_TARGETS,
        type=click.Choice(NORMALISATIONS),
        help="batch: every coordinate of the embeddings gets mean 0 and variance 1.  [default: batch]",
    ),
    option(
        "--follow",
        heading=_TARGETS,
        type=click.FloatRange(0, 1),
        metavar="SHARE",
        help="The share of training in which class vectors follow their embeddings.  [default: 0.9 with many classes]",
    ),
    option(
        "--features",
        heading=_TARGETS,
        type=click.Choice(FEATURES),
        help="What similarity is seen in: pixels, or what the backbone makes of them.  [default: pixels]",
    ),
    option("--baseline", heading=_TARGETS, is_flag=True, help="Also train a linear layer with cross-entropy."),
)

_IMAGE_OPTIONS = together(
    option("--size", heading=_IMAGES, type=click.IntRange(4, 4096), help="Bring images to this side, in pixels."),
    option("--channels", heading=_IMAGES, type=click.Choice(["1", "3"]), help="1: grey, 3: colour."),
    option("--fit", heading=_IMAGES, type=click.Choice(FITS), help="How a picture fills its square cell."),
    option("--augment", heading=_IMAGES, type=click.Choice(AUGMENTATIONS), help="Random changes while training."),
    option("--backbone", heading=_IMAGES, default="small_conv", help="A registered encoder: small_conv, small_vit."),
    option("--width", heading=_IMAGES, type=click.IntRange(min=1), help="The encoder's width."),
    option("--skip-bad", heading=_IMAGES, is_flag=True, help="Leave out images that cannot be read, and count them."),
)

_ENGINE = "Optimiser and machine"
_ENGINE_OPTIONS = together(
    option(
        "--epoch-images",
        heading=_ENGINE,
        type=click.IntRange(min=0),
        default=0,
        help="Images an epoch takes, then it is tested and saved; 0: all of the training set.",
    ),
    option("--weight-decay", heading=_ENGINE, type=click.FloatRange(min=0), default=0.05, help="Of AdamW."),
    option("--schedule", heading=_ENGINE, type=click.Choice(SCHEDULES), default="one_cycle", help="Of the rate."),
    option("--warmup", heading=_ENGINE, type=_SHARE, default=0.25, help="The share of steps the rate rises."),
    option("--clip-norm", heading=_ENGINE, type=click.FloatRange(min=0), default=0.0, help="0: no clipping."),
    option(
        "--gradient-accumulation",
        heading=_ENGINE,
        type=click.IntRange(min=1),
        default=1,
        help="Batches summed up for one step.",
    ),
    option("--mixed-precision", heading=_ENGINE, type=click.Choice(PRECISIONS), default="no", help="For GPUs."),
    option("--device", heading=_ENGINE, type=click.Choice(DEVICES), default="auto", help="auto: a GPU if there is."),
    option(
        "--shard",
        heading=_ENGINE,
        is_flag=True,
        default=False,
        help="Share out the encoder's weights among several processes.",
    ),
    option("--num-workers", heading=_ENGINE, type=click.IntRange(min=0), default=0, help="Processes that load."),
    option("--checkpoint-every", heading=_ENGINE, type=click.IntRange(min=0), default=0, help="Steps; 0: every epoch."),
)


@click.command(
    cls=TogetherCommand,
    short_help="Train on your own images.",
    examples=(
        "rootspace train photos --output runs/photos",
        "rootspace train photos --test photos-of-another-camera --output runs/photos --baseline",
        'rootspace train digits.npz --output runs/digits --system "V22:16" --epochs 10',
        "rootspace train photos --output runs/photos --classes-from samples",
        "rootspace train photos --output runs/photos --resume",
    ),
)
@DATA
@option("--output", heading=OUTPUT, type=PATH, required=True, help="The folder for report and model.")
@CONTINUE
@option("--test", heading=_TEST, type=PATH, help="Data to test on, with the same class names.")
@option("--hold-out", heading=_TEST, metavar="SOURCE", multiple=True, help="A source of DATA (a store), repeatable.")
@option(
    "--classes-from",
    heading=_TEST,
    type=click.Choice(CLASSES_FROM),
    default="labels",
    help="samples: every image is its own class, tested on views of it never seen.",
)
@option("--test-share", heading=_TEST, type=_SHARE, default=0.2, help="A share of DATA, without the two above.")
@run_options(learning_rate=6e-3)
@_TARGET_OPTIONS
@_IMAGE_OPTIONS
@_ENGINE_OPTIONS
def train(
    data: Path,
    output: Path,
    resume: bool,
    overwrite: bool,
    test: Path | None,
    hold_out: tuple[str, ...],
    classes_from: str,
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
    **options: Any,
) -> None:
    """Train an encoder on DATA with no classification layer.

    DATA is a folder with one folder of images a class, an image store, or an .npz file (images, labels).
    """
    if test is not None and hold_out:
        raise InputError("--test and --hold-out: each says what to test on; give one of them")
    own_class = classes_from == "samples"
    if own_class and (test is not None or hold_out):
        raise InputError("--classes-from samples: tests on unseen views of DATA; leave --test and --hold-out out")
    check_output(output, resume, overwrite)
    _require_report()
    from rootspace import experiment, report
    from rootspace.data import every_sample, unseen_views
    from rootspace.experiment import AUGMENTATIONS, Recipe
    from rootspace.train import TrainConfig

    names = TrainConfig.__dataclass_fields__
    config = TrainConfig(**{name: options.pop(name) for name in list(options) if name in names})
    _use_threads(threads)
    chosen = {name: value for name, value in options.items() if value not in (None, ())}
    encoder = {"name": backbone} if width is None else {"name": backbone, "width": width}
    asked = {"size": size, "channels": int(channels) if channels else None, "fit": fit}
    asked = {name: value for name, value in asked.items() if value is not None}
    images, training, heldout = in_turn(
        lambda: read_data(data, asked, test, hold_out, 0.0 if own_class else test_share, config.seed, skip_bad)
    )
    if "augment" not in chosen:
        chosen["augment"] = "glyph" if images.preprocessing.fit == "ink" else "photo"
    plan = (Recipe.paper if recipe == "paper" else Recipe)(backbone=encoder, **chosen)
    if own_class:
        images = training = every_sample(images)
        heldout = {"unseen views": unseen_views(images, AUGMENTATIONS[plan.augment](), config.seed, UNSEEN_VIEWS)}
    _check_plan(plan, chosen, images, data)
    model = shlex.quote(str(output / "model"))
    with held(output, asdict(plan), resume, overwrite):
        found = experiment.run(
            f"{images.n_classes:,} classes of {data.name}",
            training,
            heldout,
            plan,
            config,
            output,
            baseline=baseline,
            resume=resume,
            data={"training": f"{len(training):,} images of {data}"},
            next_steps=(report.NextStep(f"rootspace predict {model} IMAGE...", "recognise pictures"),),
        )
    _show(output, found)


def _require_report() -> None:
    """Fail before the training, not after it, where the packages that write the report are missing."""
    for module in ("matplotlib", "jinja2"):
        require(module, extra="report")


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _check_plan(plan: Recipe, chosen: dict[str, Any], images: ImageSet, data: Path) -> None:
    """What would fail, or silently do nothing, fails before the training starts."""
    from rootspace.assign import check_room
    from rootspace.experiment import system_of

    if images.n_classes < 2:
        raise InputError(f"{data}: only one class ({images.label_names[0]!r}); at least two are needed")
    check_room(system_of(plan, images.n_classes), images.n_classes)
    if plan.loss in ("cosine", "euclidean"):
        for name in ("scale", "margin", "label_smoothing"):
            if name in chosen:
                raise InputError(
                    f"--{name.replace('_', '-')} means nothing to the loss {plan.loss!r}, which has no softmax; "
                    "leave it out, or take --loss classes, neighbours, batch or system"
                )
    if "features" in chosen and plan.assignment != "similarity":
        raise InputError(f"--features means nothing to --assignment {plan.assignment}, which looks at no images")
    check_encoder(plan.backbone, images.image_shape)


def check_encoder(config: dict[str, Any], shape: tuple[int, int, int]) -> None:
    """Raise `InputError` unless the encoder exists and takes images of this (H, W, C)."""
    import torch

    from rootspace.models import build

    height, width, channels = shape
    # on real numbers: without them ("meta") the first batch norm would import a compiler, which takes seconds
    encoder = build({"in_channels": channels, **config}).eval()
    try:
        with torch.no_grad():
            encoder(torch.zeros(1, channels, height, width))
    except (RuntimeError, InputError) as error:
        if out_of_memory(error):
            raise
        raise InputError(
            f"{config['name']}: cannot take images of {height} x {width} pixels ({error}); give another --size"
        ) from None


def _show(output: Path, found: RunReport | None) -> None:
    from rootspace import report

    if found is None:  # the first process shows it
        return
    report.print_table(found)
    click.echo(f"report   {output / 'report.html'}")
    click.echo(f"model    {output / 'model'}")
    for step in found.next_steps:
        click.echo(f"try      {step.command}")
