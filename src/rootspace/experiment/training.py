"""One training run by a recipe, and the run of the same encoder with a learned linear layer to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.assign import Assignment, TableAssignment, shuffled
from rootspace.data import ImageSet, split_random
from rootspace.errors import InputError
from rootspace.experiment.recipe import (
    AUGMENTATIONS,
    Recipe,
    assign,
    hooks_of,
    loss_of,
    settled,
    system_of,
)
from rootspace.losses import LinearHead
from rootspace.models import Embedder, Recogniser, build, check_texts, fitted
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX
from rootspace.train import History, Hook, TrainConfig, checkpoint, fit, processes

#: The learned linear layer does best with normalised embeddings, as we do, and at half our rate
#: (benchmarks/convergence.py).
BASELINE_NORMALISE = "batch"
BASELINE_RATE = 0.5

#: The share of the training images kept apart to set the threshold below which an image is of no known class.
CALIBRATION_SHARE = 0.05

#: So many of them it takes. Of 50 images two are 4 %, the nearest that a threshold comes below the 5 % it promises; the
#: share it really refuses is then known to +- 6 points or so, and a temperature rests on several mistakes, not on one.
CALIBRATION_LEAST = 50


@dataclass(frozen=True)
class Trained:
    """One finished training run: the networks, what they classify with, and the history."""

    name: str
    embedder: Embedder
    loss: nn.Module
    history: History

    @property
    def classifier(self) -> Any:
        return getattr(self.loss, "assignment", self.loss)

    @property
    def head_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.loss.parameters())


def train(
    images: ImageSet,
    heldout: Mapping[str, ImageSet],
    recipe: Recipe,
    config: TrainConfig,
    *,
    baseline: bool = False,
    output: Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Trained:
    """Train by a recipe; with `baseline`, the same encoder with a learned linear layer and cross-entropy instead."""
    recipe = settled(recipe, images)
    processes.join(cpu=config.device == "cpu")
    stored = resume and output is not None and checkpoint.latest(output / "checkpoints") is not None
    prepared = prepare(
        images,
        recipe,
        config.seed,
        baseline=baseline,
        device=config.device,
        progress=progress,
        stored=processes.from_main(stored),
    )
    history = fit(
        prepared.embedder,
        prepared.loss,
        images,
        config,
        output=output,
        heldout=heldout,
        augment=AUGMENTATIONS[recipe.augment](),
        hooks=prepared.hooks,
        resume=resume,
        progress=progress,
    )
    return Trained(prepared.name, prepared.embedder, prepared.loss, history)


@dataclass(frozen=True)
class Prepared:
    """What `fit` needs of a recipe."""

    name: str
    embedder: Embedder
    loss: nn.Module
    hooks: list[Hook]


def prepare(
    images: ImageSet,
    recipe: Recipe,
    seed: int,
    *,
    baseline: bool = False,
    backbone: nn.Module | None = None,
    features: Callable[[Tensor], Tensor] | None = None,
    device: str = "auto",
    progress: bool | None = None,
    stored: bool = False,
) -> Prepared:
    """The networks, loss and hooks of a recipe; with `baseline`, a learned linear layer in place of vectors.

    backbone: instead of the recipe's, one of your own. features: what similarity is seen in, instead of the
    recipe's choice: (B, C, H, W) in [-1, 1] -> (B, d). device: "auto" or "cpu", as in the training's configuration;
    where similarity is seen in the backbone's features, the embedder is taken there. progress: as of `fit`.
    stored: a checkpoint will give the class vectors, so that none are looked for. Several processes must all call
    this; each passes its part of the images through the features, and the first one looks for the class vectors.
    """
    recipe = settled(recipe, images)
    processes.join(cpu=device == "cpu")
    torch.manual_seed(seed)
    system = system_of(recipe, images.n_classes)
    if backbone is None:
        backbone = build(fitted(recipe.backbone, images.image_shape))
    check_texts(backbone, images.preprocessing)
    embedder = Embedder(backbone, system.dim, normalise=BASELINE_NORMALISE if baseline else recipe.normalise)
    if baseline:
        return Prepared("linear layer + cross-entropy", embedder, LinearHead(system.dim, images.n_classes), [])
    if stored and recipe.assignment == "similarity":
        assignment: Assignment = _any_vectors(system, images.n_classes)
    else:
        where = torch.device("cpu")
        if features is None and recipe.features == "backbone" and recipe.assignment == "similarity":
            where = processes.device(cpu=device == "cpu")
            features = embedder.eval().to(where).features
        show, several = progress is not False and processes.is_main(), processes.count() > 1
        assignment = assign(recipe, images, seed, features, device=where, progress=show, collective=several)
    loss = loss_of(recipe, assignment)
    return Prepared(f"rootspace, {system.spec}", embedder, loss, list(hooks_of(recipe, loss, assignment)))


def _any_vectors(system: VectorSystem, n_classes: int) -> TableAssignment:
    """A table like that of a checkpoint, which will take its place; found fast."""
    if system.size <= INT64_MAX:
        return TableAssignment.of(shuffled(system, n_classes))
    return TableAssignment(system, system.random(n_classes, torch.Generator().manual_seed(0)))


def baseline_config(config: TrainConfig) -> TrainConfig:
    """The same budget at the learning rate the learned linear layer does best at."""
    return replace(config, learning_rate=config.learning_rate * BASELINE_RATE)


def recogniser_of(trained: Trained, images: ImageSet, calibration: ImageSet) -> Recogniser:
    """The model in use, with its threshold for "none of the known" set on images kept apart from training.

    Of fewer than `CALIBRATION_LEAST` none is set: whatever comes gets a class.
    """
    model = Recogniser(trained.embedder, trained.classifier, images.label_names, images.preprocessing)
    if len(calibration) >= CALIBRATION_LEAST:
        model.calibrate(calibration)
    return model


def split_for_calibration(images: ImageSet, seed: int, least: int | None = None) -> tuple[ImageSet, ImageSet]:
    """Keep a small share of the training images apart, of classes that have more than one; none where that would be
    fewer than `least` (None: `CALIBRATION_LEAST`), which say too little.
    """
    least = CALIBRATION_LEAST if least is None else least
    # some to spare: how many come out is by lot
    if len(images) * CALIBRATION_SHARE >= max(1, least / 2) and np.bincount(images.labels).max() > 1:
        with suppress(InputError):  # of no class a whole image
            training, apart = split_random(images, CALIBRATION_SHARE, seed)
            if len(apart) >= least:
                return training, apart
    return images, images.select(np.zeros(0, dtype=np.int64))
