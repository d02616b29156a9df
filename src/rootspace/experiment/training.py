"""One training run by a recipe, and the run of the same encoder with a learned linear layer to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rootspace.assign import TableAssignment
from rootspace.data import ImageSet, split_random
from rootspace.experiment.recipe import AUGMENTATIONS, Recipe, assign, loss_of
from rootspace.losses import LinearHead
from rootspace.models import Embedder, Recogniser, build
from rootspace.train import History, TrainConfig, fit
from rootspace.train.reassign import Reassign

#: The learned linear layer does best without normalised embeddings and at half our rate (benchmarks/characters.py).
BASELINE_NORMALISE = "none"
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
    torch.manual_seed(config.seed)
    assignment = assign(recipe, images, config.seed)
    loss: nn.Module = loss_of(recipe, assignment)
    dim = assignment.system.dim
    hooks = []
    if baseline:
        loss = LinearHead(dim, images.n_classes)
    elif recipe.reassign and isinstance(assignment, TableAssignment):
        hooks = [Reassign(assignment, recipe.reassign)]
    backbone = build({"in_channels": images.image_shape[2], **recipe.backbone})
    embedder = Embedder(backbone, dim, normalise=BASELINE_NORMALISE if baseline else recipe.normalise)
    history = fit(
        embedder,
        loss,
        images,
        config,
        output=output,
        heldout=heldout,
        augment=AUGMENTATIONS[recipe.augment](),
        hooks=hooks,
        resume=resume,
        progress=progress,
    )
    name = "linear layer + cross-entropy" if baseline else f"rootspace, {assignment.system.spec}"
    return Trained(name, embedder, loss, history)


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
    if len(images) * CALIBRATION_SHARE < 1:
        return images, images.select(np.zeros(0, dtype=np.int64))
    return split_random(images, CALIBRATION_SHARE, seed)
