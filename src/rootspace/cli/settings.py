"""The options of `rootspace train`, each with the setting it sets, and the settings they make with a file of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rootspace.cli.options import COLUMNS, OUTPUT, PATH, POSITIVE, given, option, section, setting, together

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

DEVICE = option("--device", type=click.Choice(DEVICES), default="auto", help="auto: a GPU if there is.")
"""Where a model in use runs."""

_SHARE = click.FloatRange(min=0, max=1, max_open=True)
_NOT_NEGATIVE = click.FloatRange(min=0)

FROM_FILE = together(
    option("--config", "config_file", heading=OUTPUT, type=PATH, help="Settings in YAML; options come before them."),
    option(
        "--set",
        "overrides",
        heading=OUTPUT,
        metavar="KEY=VALUE",
        multiple=True,
        help="Any setting by its dotted key, such as recipe.follow_every=1; repeatable.",
    ),
)

TEST_OPTIONS = section(
    "What to test on",
    setting("data.test", PATH, help="Data to test on, with the same class names."),
    setting("data.hold_out", help="A source of DATA (a store), repeatable.", metavar="SOURCE", multiple=True),
    setting(
        "data.classes_from",
        click.Choice(CLASSES_FROM),
        "labels",
        "samples: every image is its own class, tested on views of it never seen.",
    ),
    setting("data.test_share", _SHARE, 0.2, "A share of DATA, without the two above."),
)

TARGET_OPTIONS = section(
    "Targets and loss",
    setting(
        "recipe.base",
        click.Choice(BASES),
        "default",
        "Where the other options start from, in place of a file's recipe.",
        flag="--recipe",
    ),
    setting(
        "recipe.system",
        help='A vector system such as "V22:41" or "dense:128".  [default: by the classes]',
        metavar="SPEC",
    ),
    setting(
        "recipe.assignment", click.Choice(ASSIGNMENTS), help="How classes get their vectors.  [default: similarity]"
    ),
    setting(
        "recipe.loss",
        click.Choice(LOSSES),
        help="What the softmax runs over, or a plain distance.  [default: by the classes]",
    ),
    setting("recipe.scale", POSITIVE, help="The factor from cosines to logits.  [default: 24]"),
    setting("recipe.margin", float, help="Subtracted from the cosine of the own class.  [default: 0.1]"),
    setting("recipe.label_smoothing", _SHARE, help="The share of the target given to all classes alike.  [default: 0]"),
    setting(
        "recipe.normalise",
        click.Choice(NORMALISATIONS),
        help="batch: every coordinate of the embeddings gets mean 0 and variance 1.  [default: batch]",
    ),
    setting(
        "recipe.follow",
        click.FloatRange(0, 1),
        help="The share of training in which class vectors follow their embeddings.  [default: 0.9 with many classes]",
        metavar="SHARE",
    ),
    setting(
        "recipe.features",
        click.Choice(FEATURES),
        help="What similarity is seen in.  [default: the backbone if it is pretrained, else pixels]",
    ),
    setting("baseline", help="Also train a linear layer with cross-entropy.", is_flag=True),
)

IMAGE_OPTIONS = section(
    "Images and encoder",
    setting("data.size", click.IntRange(4, 4096), help="Bring images to this side, in pixels."),
    setting(
        "data.channels",
        click.Choice(["1", "3"]),
        help="1: grey, 3: colour.",
        callback=lambda context, parameter, value: None if value is None else int(value),
    ),
    setting("data.fit", click.Choice(FITS), help="How a picture fills its cell."),
    setting(
        "recipe.augment", click.Choice(AUGMENTATIONS), help="Random changes while training.  [default: by the data]"
    ),
    setting(
        "recipe.backbone.name",
        help="The encoder: small_conv, small_vit, small_text, a model of timm (resnet50) or of transformers "
        "(hf:facebook/dinov2-small).  [default: by the data]",
        flag="--backbone",
        metavar="NAME",
    ),
    setting("recipe.backbone.width", click.IntRange(min=1), help="The width of a small encoder."),
    setting("recipe.backbone.pretrained", help="Start from the weights that are published for it.", is_flag=True),
    setting(
        "recipe.backbone.checkpoint", PATH, help="Start from weights of yours: a .safetensors file or a model folder."
    ),
    setting("data.skip_bad", help="Leave out images that cannot be read, and count them.", is_flag=True),
)

TEXT_OPTIONS = together(
    section(
        "Texts",
        setting("data.length", click.IntRange(1, 65536), help="Bytes or tokens of a text.  [default: 64]"),
        setting("data.tokenizer", PATH, help="A tokenizer.json, or its folder, to cut texts into tokens."),
    ),
    COLUMNS,
)

ENGINE_OPTIONS = section(
    "Optimiser and machine",
    setting(
        "train.epoch_images",
        click.IntRange(min=0),
        0,
        "Images an epoch takes, then it is tested and saved; 0: all of the training set.",
    ),
    setting("train.weight_decay", _NOT_NEGATIVE, 0.05, "Of AdamW."),
    setting("train.backbone_rate", _NOT_NEGATIVE, 1.0, "The encoder's share of the learning rate; 0 freezes it."),
    setting("train.schedule", click.Choice(SCHEDULES), "one_cycle", "Of the rate."),
    setting("train.warmup", _SHARE, 0.25, "The share of steps the rate rises."),
    setting("train.clip_norm", _NOT_NEGATIVE, 0.0, "0: no clipping."),
    setting("train.gradient_accumulation", click.IntRange(min=1), 1, "Batches summed up for one step."),
    setting("train.mixed_precision", click.Choice(PRECISIONS), "no", "For GPUs."),
    setting("train.device", click.Choice(DEVICES), "auto", "auto: a GPU if there is."),
    setting("train.shard", None, False, "Share out the encoder's weights among several processes.", is_flag=True),
    setting("train.num_workers", click.IntRange(min=0), 0, "Processes that load."),
    setting(
        "train.track",
        help="Log to a tracker too: tensorboard, wandb, ...; repeatable.",
        metavar="NAME",
        multiple=True,
    ),
    setting("train.checkpoint_every", click.IntRange(min=0), 0, "Steps; 0: every epoch."),
)


def settings_from(
    context: click.Context, data: Path | None, config_file: Path | None, overrides: tuple[str, ...]
) -> tuple[Settings, dict[str, object]]:
    """The settings of a file, changed by DATA, options and --set; and those asked for beside the file, by key."""
    from rootspace.experiment.settings import override, read_settings, settings_of

    asked = dict(given(context))
    if data is not None:
        asked["data.path"] = str(data)
    asked |= map(override, overrides)
    if config_file is None:
        return settings_of({}, asked), asked
    return settings_of(read_settings(config_file), asked, str(config_file)), asked
