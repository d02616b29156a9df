"""One training run by a recipe, and the run of the same encoder with a learned linear layer to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.data import ImageSet, split_random
from rootspace.experiment.recipe import (
    AUGMENTATIONS,
    Recipe,
    assign,
    hooks_of,
    loss_of,
    plain_features,
    settled,
    system_of,
)
from rootspace.losses import LinearHead
from rootspace.models import Embedder, Recogniser, build, check_texts, fitted
from rootspace.train import History, Hook, TrainConfig, fit

#: The learned linear layer does best with normalised embeddings, as we do, and at half our rate
#: (benchmarks/convergence.py).
BASELINE_NORMALISE = "batch"
BASELINE_RATE = 0.5

#: The share of the training images kept apart to set the threshold below which an image is of no known class.
CALIBRATION_SHARE = 0.05


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
    prepared = prepare(images, recipe, config.seed, baseline=baseline)
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
) -> Prepared:
    """The networks, loss and hooks of a recipe; with `baseline`, a learned linear layer in place of vectors.

    backbone: instead of the recipe's, one of your own. features: what similarity is seen in, instead of the
    recipe's choice: (B, C, H, W) in [-1, 1] -> (B, d).
    """
    recipe = settled(recipe, images)
    torch.manual_seed(seed)
    system = system_of(recipe, images.n_classes)
    if backbone is None:
        backbone = build(fitted(recipe.backbone, images.image_shape))
    check_texts(backbone, images.preprocessing)
    embedder = Embedder(backbone, system.dim, normalise=BASELINE_NORMALISE if baseline else recipe.normalise)
    if baseline:
        return Prepared("linear layer + cross-entropy", embedder, LinearHead(system.dim, images.n_classes), [])
    if features is None:
        features = embedder.eval().features if recipe.features == "backbone" else plain_features(images)
    assignment = assign(recipe, images, seed, features)
    loss = loss_of(recipe, assignment)
    return Prepared(f"rootspace, {system.spec}", embedder, loss, list(hooks_of(recipe, loss, assignment)))


def baseline_config(config: TrainConfig) -> TrainConfig:
    """The same budget at the learning rate the learned linear layer does best at."""
    return replace(config, learning_rate=config.learning_rate * BASELINE_RATE)


def recogniser_of(trained: Trained, images: ImageSet, calibration: ImageSet) -> Recogniser:
    """The model in use, with its threshold for "none of the known" set on images kept apart from training."""
    model = Recogniser(trained.embedder, trained.classifier, images.label_names, images.preprocessing)
    if len(calibration):
        model.calibrate(calibration)
    return model


def split_for_calibration(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Keep a small share of the training images apart, of classes that have more than one."""
    if len(images) * CALIBRATION_SHARE < 1 or np.bincount(images.labels).max() < 2:
        return images, images.select(np.zeros(0, dtype=np.int64))
    return split_random(images, CALIBRATION_SHARE, seed)
