"""The demonstration: a thousand characters, learned from some typefaces, recognised in typefaces never seen."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rootspace import experiment, report
from rootspace.data import ImageSet, demo_glyphs, with_label_names
from rootspace.errors import require
from rootspace.evaluate import Rejection, predict_all, rejection
from rootspace.experiment import Findings, Recipe
from rootspace.files import atomic_folder
from rootspace.models import Recogniser
from rootspace.train import TrainConfig

#: Characters beyond the classes, to see whether the model notices that it does not know them.
UNKNOWN_CLASSES = 250

#: How many sample files the demo leaves for `rootspace predict`.
SAMPLE_FILES = 6

RECIPE = Recipe(augment="glyph")

#: The best rate measured for it (benchmarks/convergence.py).
LEARNING_RATE = 2.4e-2


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
) -> report.RunReport | None:
    """Train, compare, and write model, report, picture and sample images into `output`; as `experiment.run`."""
    designs = [data.train.source_names[source] for source in np.unique(data.train.sources)]
    typefaces = f"{len(data.train):,} images of {len(designs)} typefaces: {', '.join(designs)}"
    say(f"{data.train.n_classes:,} characters, {typefaces}; held out: {', '.join(data.heldout)}")
    samples = choose_samples(data.heldout, config.seed)
    model, picture = (shlex.quote(str(output / part)) for part in ("model", f"samples/{next(iter(samples))}"))
    found = experiment.run(
        f"{data.train.n_classes:,} characters, no classification layer",
        data.train,
        data.heldout,
        recipe,
        config,
        output,
        baseline=baseline,
        resume=resume,
        progress=progress,
        say=say,
        judge=lambda model, findings: notice_unknown(model, findings, data.unknown),
        data={"training": typefaces},
        next_steps=(
            report.NextStep(f"rootspace predict {model} {picture}", "recognise a picture"),
            report.NextStep("rootspace train YOUR_FOLDER --output runs/own", "train on your own images"),
        ),
    )
    if found is not None:
        write_samples(output / "samples", samples)
    return found


def notice_unknown(model: Recogniser, findings: Findings, sets: dict[str, ImageSet]) -> Rejection | None:
    """How well the best cosine tells known characters from those in `sets`, over all held-out typefaces."""
    known = [predictions.scores for predictions in findings.predictions.values()]
    unknown = [predict_all(model, model.assignment, images).scores for images in sets.values() if len(images)]
    if not (known and unknown):
        return None
    found = rejection(np.concatenate(known)[:, 0], np.concatenate(unknown)[:, 0])
    if model.threshold is None:
        return found
    # the model's own threshold, set on training typefaces, is the one that is judged
    wrongly, refused = (
        1 - float(model.threshold.accepts(torch.from_numpy(np.concatenate(scores))).float().mean())
        for scores in (known, unknown)
    )
    return replace(found, threshold=model.threshold.cosine, unknown_rejected=refused, false_rejection_rate=wrongly)


def choose_samples(heldout: dict[str, ImageSet], seed: int) -> dict[str, np.ndarray]:
    """Some held-out glyphs (H, W), by file names that tell typeface and label."""
    generator = np.random.default_rng(seed)
    chosen = {}
    for source, images in heldout.items():
        count = min(len(images), -(-SAMPLE_FILES // len(heldout)))
        for position in generator.choice(len(images), count, replace=False):
            label = images.label_names[images.labels[position]]
            chosen[f"{source.replace(' ', '-')}_{label}.png"] = images.images_at([position])[0, :, :, 0]
    return chosen


def write_samples(folder: Path, samples: dict[str, np.ndarray]) -> None:
    """Write glyphs as PNG files, three times as large, as a user's own picture might be."""
    pil = require("PIL.Image", extra="train")
    with atomic_folder(folder) as temporary:
        for name, glyph in samples.items():
            picture = pil.fromarray(glyph)
            side = 3 * picture.width
            picture.resize((side, side), pil.Resampling.BICUBIC).save(temporary / name)
