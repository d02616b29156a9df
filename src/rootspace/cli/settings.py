"""The options of `rootspace train`, each with the setting it sets, and the settings they make with a file of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rootspace.cli.options import OUTPUT, PATH, given, option, together

if TYPE_CHECKING:
    from rootspace.experiment import Settings

# The library's own lists and defaults, written again: --help must not wait for torch. A test compares them.
ASSIGNMENTS = ("similarity", "shuffled", "names")
FEATURES = ("pixels", "backbone")
LOSSES = ("classes", "neighbours", "batch", "system", "cosine", "euclidean")
AUGMENTATIONS = ("glyph", "photo", "text", "none")
FITS = ("ink", "stretch", "crop")
SCHEDULES = ("one_cycle", "cosine", "constant")
PRECISIONS = ("no", "bf16", "fp16")
DEVICES = ("auto", "cpu")
NORMALISATIONS = ("none", "batch")
CLASSES_FROM = ("labels", "samples")
BASES = ("default", "paper")

_POSITIVE = click.FloatRange(min=0, min_open=True)
_SHARE = click.FloatRange(min=0, max=1, max_open=True)
_TEST, _TARGETS, _IMAGES = "What to test on", "Targets and loss", "Images and encoder"
_ENGINE, _TABLES = "Optimiser and machine", "Texts and tables"

FROM_FILE = together(
    option("--config", "config_file", heading=OUTPUT, type=PATH, help="Settings in YAML; options come before them."),
    option(
        "--set",
        "assignments",
        heading=OUTPUT,
        metavar="KEY=VALUE",
        multiple=True,
        help="Any setting by its dotted key, such as recipe.follow_every=1; repeatable.",
    ),
)

TEST_OPTIONS = together(
    option("--test", heading=_TEST, key="data.test", type=PATH, help="Data to test on, with the same class names."),
    option(
        "--hold-out",
        heading=_TEST,
        key="data.hold_out",
        metavar="SOURCE",
        multiple=True,
        help="A source of DATA (a store), repeatable.",
    ),
    option(
        "--classes-from",
        heading=_TEST,
        key="data.classes_from",
        type=click.Choice(CLASSES_FROM),
        default="labels",
        help="samples: every image is its own class, tested on views of it never seen.",
    ),
    option(
        "--test-share",
        heading=_TEST,
        key="data.test_share",
        type=_SHARE,
        default=0.2,
        help="A share of DATA, without the two above.",
    ),
)

TARGET_OPTIONS = together(
    option(
        "--recipe",
        heading=_TARGETS,
        key="recipe.base",
        type=click.Choice(BASES),
        default="default",
        help="Where the other options start from.",
    ),
    option(
        "--system",
        heading=_TARGETS,
        key="recipe.system",
        metavar="SPEC",
        help='A vector system such as "V22:41" or "dense:128".  [default: by the classes]',
    ),
    option(
        "--assignment",
        heading=_TARGETS,
        key="recipe.assignment",
        type=click.Choice(ASSIGNMENTS),
        help="How classes get their vectors.  [default: similarity]",
    ),
    option(
        "--loss",
        heading=_TARGETS,
        key="recipe.loss",
        type=click.Choice(LOSSES),
        help="What the softmax runs over, or a plain distance.  [default: by the classes]",
    ),
    option(
        "--scale",
        heading=_TARGETS,
        key="recipe.scale",
        type=_POSITIVE,
        help="The factor from cosines to logits.  [default: 24]",
    ),
    option(
        "--margin",
        heading=_TARGETS,
        key="recipe.margin",
        type=float,
        help="Subtracted from the cosine of the own class.  [default: 0.1]",
    ),
    option(
        "--label-smoothing",
        heading=_TARGETS,
        key="recipe.label_smoothing",
        type=_SHARE,
        help="The share of the target given to all classes alike.  [default: 0]",
    ),
    option(
        "--normalise",
        heading=_TARGETS,
        key="recipe.normalise",
        type=click.Choice(NORMALISATIONS),
        help="batch: every coordinate of the embeddings gets mean 0 and variance 1.  [default: batch]",
    ),
    option(
        "--follow",
        heading=_TARGETS,
        key="recipe.follow",
        type=click.FloatRange(0, 1),
        metavar="SHARE",
        help="The share of training in which class vectors follow their embeddings.  [default: 0.9 with many classes]",
    ),
    option(
        "--features",
        heading=_TARGETS,
        key="recipe.features",
        type=click.Choice(FEATURES),
        help="What similarity is seen in.  [default: the backbone if it is pretrained, else pixels]",
    ),
    option(
        "--baseline",
        heading=_TARGETS,
        key="baseline",
        is_flag=True,
        help="Also train a linear layer with cross-entropy.",
    ),
)

IMAGE_OPTIONS = together(
    option(
        "--size",
        heading=_IMAGES,
        key="data.size",
        type=click.IntRange(4, 4096),
        help="Bring images to this side, in pixels.",
    ),
    option(
        "--channels",
        heading=_IMAGES,
        key="data.channels",
        type=click.Choice(["1", "3"]),
        callback=lambda context, parameter, value: None if value is None else int(value),
        help="1: grey, 3: colour.",
    ),
    option("--fit", heading=_IMAGES, key="data.fit", type=click.Choice(FITS), help="How a picture fills its cell."),
    option(
        "--augment",
        heading=_IMAGES,
        key="recipe.augment",
        type=click.Choice(AUGMENTATIONS),
        help="Random changes while training.  [default: by the data]",
    ),
    option(
        "--backbone",
        heading=_IMAGES,
        key="recipe.backbone.name",
        metavar="NAME",
        help="The encoder: small_conv, small_vit, or others by name.  [default: by the data]",
    ),
    option("--width", heading=_IMAGES, key="recipe.backbone.width", type=click.IntRange(min=1), help="Its width."),
    option(
        "--pretrained",
        heading=_IMAGES,
        key="recipe.backbone.pretrained",
        is_flag=True,
        help="Start from the weights that are published for it.",
    ),
    option(
        "--checkpoint",
        heading=_IMAGES,
        key="recipe.backbone.checkpoint",
        type=PATH,
        help="Start from weights of yours: a .safetensors file or a model folder.",
    ),
    option(
        "--skip-bad",
        heading=_IMAGES,
        key="data.skip_bad",
        is_flag=True,
        help="Leave out images that cannot be read, and count them.",
    ),
)

TEXT_OPTIONS = together(
    option(
        "--length",
        heading=_TABLES,
        key="data.length",
        type=click.IntRange(1, 65536),
        help="Bytes or tokens of a text.  [default: 64]",
    ),
    option(
        "--tokenizer",
        heading=_TABLES,
        key="data.tokenizer",
        type=PATH,
        help="A tokenizer.json, or its folder, to cut texts into tokens.",
    ),
    *(
        option(f"--{kind}-column", heading=_TABLES, key=f"data.{kind}_column", metavar="NAME", help=text)
        for kind, text in (
            ("image", "Of a table: where an image's path stands."),
            ("text", "Of a table: where a text stands."),
            ("label", "Of a table: where the class stands."),
        )
    ),
)

ENGINE_OPTIONS = together(
    option(
        "--epoch-images",
        heading=_ENGINE,
        key="train.epoch_images",
        type=click.IntRange(min=0),
        default=0,
        help="Images an epoch takes, then it is tested and saved; 0: all of the training set.",
    ),
    option(
        "--weight-decay",
        heading=_ENGINE,
        key="train.weight_decay",
        type=click.FloatRange(min=0),
        default=0.05,
        help="Of AdamW.",
    ),
    option(
        "--backbone-rate",
        heading=_ENGINE,
        key="train.backbone_rate",
        type=click.FloatRange(min=0),
        default=1.0,
        help="The encoder's share of the learning rate; 0 freezes it.",
    ),
    option(
        "--schedule",
        heading=_ENGINE,
        key="train.schedule",
        type=click.Choice(SCHEDULES),
        default="one_cycle",
        help="Of the rate.",
    ),
    option(
        "--warmup",
        heading=_ENGINE,
        key="train.warmup",
        type=_SHARE,
        default=0.25,
        help="The share of steps the rate rises.",
    ),
    option(
        "--clip-norm",
        heading=_ENGINE,
        key="train.clip_norm",
        type=click.FloatRange(min=0),
        default=0.0,
        help="0: no clipping.",
    ),
    option(
        "--gradient-accumulation",
        heading=_ENGINE,
        key="train.gradient_accumulation",
        type=click.IntRange(min=1),
        default=1,
        help="Batches summed up for one step.",
    ),
    option(
        "--mixed-precision",
        heading=_ENGINE,
        key="train.mixed_precision",
        type=click.Choice(PRECISIONS),
        default="no",
        help="For GPUs.",
    ),
    option(
        "--device",
        heading=_ENGINE,
        key="train.device",
        type=click.Choice(DEVICES),
        default="auto",
        help="auto: a GPU if there is.",
    ),
    option(
        "--shard",
        heading=_ENGINE,
        key="train.shard",
        is_flag=True,
        default=False,
        help="Share out the encoder's weights among several processes.",
    ),
    option(
        "--num-workers",
        heading=_ENGINE,
        key="train.num_workers",
        type=click.IntRange(min=0),
        default=0,
        help="Processes that load.",
    ),
    option(
        "--track",
        heading=_ENGINE,
        key="train.track",
        metavar="NAME",
        multiple=True,
        help="Log to a tracker too: tensorboard, wandb, ...; repeatable.",
    ),
    option(
        "--checkpoint-every",
        heading=_ENGINE,
        key="train.checkpoint_every",
        type=click.IntRange(min=0),
        default=0,
        help="Steps; 0: every epoch.",
    ),
)


def settings_from(
    context: click.Context, data: Path | None, config_file: Path | None, assignments: tuple[str, ...]
) -> tuple[Settings, dict[str, object]]:
    """The settings of a file, changed by DATA, options and --set; and those asked for beside the file, by key."""
    from rootspace.experiment.settings import override, read_settings, settings_of

    asked = dict(given(context))
    if data is not None:
        asked["data.path"] = str(data)
    asked |= map(override, assignments)
    return settings_of(read_settings(config_file) if config_file else {}, asked), asked
