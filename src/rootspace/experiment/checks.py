"""What of a run's settings cannot work whatever the data are, said before any are read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rootspace.assign import Assignment, TableAssignment, shuffled
from rootspace.errors import InputError
from rootspace.experiment.recipe import AUTO, loss_of, system_of
from rootspace.experiment.settings import Settings
from rootspace.models import backbones
from rootspace.models.embedder import NORMALISATIONS
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX
from rootspace.train import tracking

#: The encoders of which the data choose one, where none is named.
BY_DATA = ("small_conv", "small_text")


def check(settings: Settings, output: Path | None = None) -> None:
    """Raise `InputError` for what cannot work whatever the data are; nothing is built or fetched.

    That is a value of the recipe, its system, its encoder's name and options, a checkpoint that is not there, and a
    tracker that is not known or installed. output: the folder of the run, in which some trackers write.
    """
    recipe = settings.recipe
    if recipe.normalise not in NORMALISATIONS:
        raise InputError(f"recipe.normalise: expected one of {', '.join(NORMALISATIONS)}, got {recipe.normalise!r}")
    if recipe.follow_every < 0:
        raise InputError(f"recipe.follow_every: expected passes over the data, 0 or more, got {recipe.follow_every}")
    try:
        system = system_of(recipe, 2)
        classes = _two_classes(system, recipe.key)
        # the losses check their own values
        for loss in ("classes", "neighbours") if recipe.loss == AUTO else (recipe.loss,):
            loss_of(replace(recipe, loss=loss), classes)
    except InputError as error:
        raise InputError(f"recipe.{error}") from None
    check_backbone(recipe.backbone)
    tracking.options(settings.train.track, output)


def check_backbone(config: dict[str, Any]) -> None:
    """Raise `InputError` for a backbone that cannot be; of one that the data will choose, the options are checked."""
    names = BY_DATA if config.get("name", AUTO) == AUTO else (config["name"],)
    *others, first = ({**config, "name": name} for name in reversed(names))
    try:
        backbones.check(first)
    except InputError:
        for other in others:
            with suppress(InputError):
                backbones.check(other)
                return
        raise


def _two_classes(system: VectorSystem, key: int) -> Assignment:
    if system.size <= INT64_MAX:
        return shuffled(system, 2, key)
    return TableAssignment(system, system.random(2, torch.Generator().manual_seed(0)))
