"""The demonstration: a thousand characters, learned from some typefaces, recognised in typefaces never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rootspace import experiment, report
from rootspace.data import ImageSet, demo_glyphs, with_label_names
from rootspace.errors import require
from rootspace.evaluate import Rejection, predict_all, rejection
from rootspace.experiment import Recipe
from rootspace.files import atomic_folder
from rootspace.models import Recogniser
from rootspace.train import TrainConfig

#: Characters beyond the classes, to see whether the model notices that it does not know them.
UNKNOWN_CLASSES = 250

#: How many sample files the demo leaves for `rootspace predict`.
SAMPLE_FILES = 6

RECIPE = Recipe(augment="glyph")


@dataclass(frozen=True)
class DemoData:
    """Glyphs to train on, glyphs of held-out typefaces, and glyphs of other characters in those typefaces."""

    train: ImageSet
    heldout: dict[str, ImageSet]
    unknown: dict[str, ImageSet]


def demo_data(n_classes: int, fonts: Sequence[Path] = (), system_fonts: bool = True) -> DemoData:
    """Draw n_classes characters, and some more that stay unknown, in every typeface found."""
    train, heldout = demo_glyphs(n_classes + UNKNOWN_CLASSES, fonts, system=system_fonts)
    known = train.label_names[:n_classes]

    def kept(images: ImageSet) -> ImageSet:
        return with_label_names(images, known, unknown="drop")

    unknown = {name: images.select(images.labels >= n_classes) for name, images in heldout.items()}
    return DemoData(kept(train), {name: kept(images) for name, images in heldout.items()}, unknown)


def run(
    output: Path,
    data: DemoData,
    config: TrainConfig,
    recipe: Recipe = RECIPE,
    baseline: bool = True,
    resume: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] = print,
) -> report.RunReport:
    """Train, compare, and write model, report, picture and sample images into `output`."""
    train, calibration = experiment.split_for_calibration(data.train, config.seed)
    designs = [train.source_names[source] for source in np.unique(train.sources)]
    say(
        f"{train.n_classes:,} classes, {len(train):,} training images of {len(designs)} typefaces "
        f"({', '.join(designs)}); held out: {', '.join(data.heldout)}"
    )
    runs = []
    for is_baseline in (False, True) if baseline else (False,):
        say(
            "Training the same network with a linear layer and cross-entropy, to compare"
            if is_baseline
            else f"Training to predefined vectors of {experiment.system_of(recipe, train.n_classes).spec}, no layer"
        )
        trained = experiment.train(
            train,
            data.heldout,
            recipe,
            experiment.baseline_config(config) if is_baseline else config,
            baseline=is_baseline,
            output=output / "training" / ("baseline" if is_baseline else "rootspace"),
            resume=resume and (output / "training" / ("baseline" if is_baseline else "rootspace")).exists(),
            progress=progress,
        )
        runs.append((trained, experiment.examine(trained, data.heldout)))
    model = experiment.recogniser_of(runs[0][0], train, calibration)
    model.save(output / "model")
    samples = write_samples(output / "samples", data.heldout, config.seed)
    found = experiment.report_of(
        f"{train.n_classes:,} characters, no classification layer",
        runs,
        train,
        data.heldout,
        recipe,
        config,
        rejection=notice_unknown(model, data),
        data={
            "classes": f"{train.n_classes:,} characters",
            "training": f"{len(train):,} images of {len(designs)} typefaces: {', '.join(designs)}",
            "held out": "; ".join(f"{name}: {len(images):,} images" for name, images in data.heldout.items()),
        },
        next_steps=(
            report.NextStep(f"rootspace predict {output}/model {samples[0]}", "recognise a picture"),
            report.NextStep(f"rootspace train YOUR_FOLDER --output {output}-own", "train on your own images"),
        ),
    )
    report.write_report(output, found)
    report.save_figure(output / "figure.png", found)
    return found


def notice_unknown(model: Recogniser, data: DemoData) -> Rejection | None:
    """How well the best cosine tells known characters from unknown ones, over all held-out typefaces."""
    known, unknown = (
        [predict_all(model, model.assignment, images).scores[:, 0] for images in sets.values() if len(images)]
        for sets in (data.heldout, data.unknown)
    )
    if not (known and unknown):
        return None
    found = rejection(np.concatenate(known), np.concatenate(unknown))
    if model.threshold is None:
        return found
    # the model's own threshold, set on training typefaces, is the one that is judged
    scores = torch.from_numpy(np.concatenate(unknown))
    refused = float((scores < model.threshold.cosine).float().mean())
    wrongly = float((torch.from_numpy(np.concatenate(known)) < model.threshold.cosine).float().mean())
    return replace(found, threshold=model.threshold.cosine, unknown_rejected=refused, false_rejection_rate=wrongly)


def write_samples(folder: Path, heldout: dict[str, ImageSet], seed: int) -> list[Path]:
    """Write some held-out glyphs as PNG files named after their typeface and label; return their paths."""
    pil = require("PIL.Image", extra="train")
    generator = np.random.default_rng(seed)
    names = []
    with atomic_folder(folder) as temporary:
        for source, images in heldout.items():
            count = min(len(images), -(-SAMPLE_FILES // len(heldout)))
            for position in generator.choice(len(images), count, replace=False):
                label = images.label_names[images.labels[position]]
                name = f"{source.replace(' ', '-')}_{label}.png"
                picture = pil.fromarray(images.images_at([position])[0, :, :, 0])
                picture.resize((96, 96), pil.Resampling.BICUBIC).save(temporary / name)
                names.append(name)
    return [folder / name for name in names]
