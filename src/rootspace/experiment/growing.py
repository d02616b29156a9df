"""A trained model learns more classes: enrolled from their images, then trained on among a replay of old ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rootspace import report
from rootspace.data import ImageSet, ImageStore, epoch_order, with_label_names
from rootspace.data.views import Joined
from rootspace.errors import InputError
from rootspace.evaluate import accuracy, own_part
from rootspace.experiment.recipe import AUGMENTATIONS, Recipe, loss_of, settled
from rootspace.experiment.training import CALIBRATION_LEAST, split_for_calibration
from rootspace.files import write_json
from rootspace.models import Recogniser
from rootspace.train import History, TrainConfig, fit, processes

#: Stages at which accuracy is measured: as the model came, with the new classes enrolled, and trained on.
STAGES = ("before", "enrolled", "trained")

#: The most that is replayed where nothing else is asked for: nine old images with each new one.
MOST_REPLAY = 0.9


@dataclass(frozen=True)
class Grown:
    """What growing a model did: top-1 accuracy[stage][held-out set] in [0, 1], and the history of the training.

    "before" has the old classes alone to choose from; "enrolled" and "trained" have all.
    """

    accuracy: dict[str, dict[str, float]]
    history: History
    old_classes: int
    new_classes: int


def grow(
    model: Recogniser,
    new: ImageSet,
    heldout: Mapping[str, ImageSet],
    config: TrainConfig,
    output: Path,
    *,
    old: ImageSet | None = None,
    replay_share: float | None = None,
    recipe: Recipe | None = None,
    system: str | None = None,
    enrol: bool = True,
    resume: bool = False,
    progress: bool | None = None,
) -> Grown:
    """Teach `model` the classes of `new`, in place, and write `model/`, `results.json` and `training/` into `output`.

    new: training images of classes that the model does not know. old: images of classes that it knows, to be replayed:
    `replay_share` of what is trained on, others in each epoch; None takes `balanced`. Without `old`, new images alone,
    at the price of what was known. heldout: sets to measure on, of old or new classes or both. The old classes'
    vectors stay; new ones get vectors near their mean embeddings (enrol), or as `Recogniser.add_classes` gives them
    without images, and keep them too. system: a larger one to move to first (`Recogniser.enlarge`). The recipe says
    which loss and augmentation; the threshold is set anew on a share of both kinds of images kept apart, if these are
    `CALIBRATION_LEAST`, and stays else.
    Several processes must all call this; the first one writes.

    Raises `InputError`, before anything is trained or written, where classes of `new` are known or those of `old`
    are not, or where the system has no room for them.
    """
    cpu = config.device == "cpu"
    processes.join(cpu)
    model.to(processes.device(cpu))
    recipe = settled(recipe or Recipe(), new)
    new, apart = _kept_apart(new, config.seed)
    names = [new.label_names[label] for label in np.unique(new.labels)]
    if old is not None:
        old, old_apart = _kept_apart(with_label_names(old, model.label_names), config.seed)
        apart += old_apart
    n_old = len(model.label_names)
    known = {name: images for name, images in heldout.items() if not set(_names(images)) & set(names)}
    found = {"before": _measured(model, known)}
    if system is not None:
        model.enlarge(system)
    model.add_classes(names, new if enrol else None)
    sets = {name: with_label_names(images, model.label_names) for name, images in heldout.items()}
    found["enrolled"] = _measured(model, sets)
    if replay_share is None:
        replay_share = balanced(n_old, len(names))
    images, epoch_images = replayed(
        with_label_names(new, model.label_names),
        None if old is None else with_label_names(old, model.label_names),
        replay_share,
        config.epochs,
        config.seed,
    )
    history = fit(
        model.embedder,
        loss_of(recipe, model.assignment),
        images,
        replace(config, epoch_images=epoch_images),
        output=output / "training" / "rootspace",
        heldout=sets,
        augment=AUGMENTATIONS[recipe.augment](),
        resume=resume,
        progress=progress,
    )
    model.eval()
    found["trained"] = _measured(model, sets)
    if sum(map(len, apart)) >= CALIBRATION_LEAST:
        model.calibrate(joined([with_label_names(part, model.label_names) for part in apart]))
    grown = Grown(found, history, n_old, len(names))
    if processes.is_main():
        model.save(output / "model")
        write_json(output / "results.json", _as_json(grown, model, config, replay_share if old is not None else 0.0))
    return grown


def balanced(n_old: int, n_new: int) -> float:
    """The share of replay by which an old class has as many images as a new one, but at most `MOST_REPLAY`.

    >>> balanced(30, 10), balanced(10_000, 10)
    (0.75, 0.9)
    """
    return min(MOST_REPLAY, n_old / (n_old + n_new))


def replayed(new: ImageSet, old: ImageSet | None, share: float, epochs: int, seed: int = 0) -> tuple[ImageSet, int]:
    """All that `epochs` epochs train on, and how many images an epoch takes (`TrainConfig.epoch_images`).

    Every new image comes once an epoch; old ones are drawn so that they make up `share` of the whole, each as often
    as the others, and other ones in each epoch. Both count their labels alike. No image is copied. Raises `InputError`
    unless 0 <= share < 1.

    >>> new = ImageSet.from_arrays(np.zeros((4, 8, 8), np.uint8), np.array([2, 2, 3, 3]))
    >>> old = ImageSet.from_arrays(np.zeros((10, 8, 8), np.uint8), np.arange(10) % 2, list("abcd"))
    >>> images, epoch_images = replayed(new, old, share=0.5, epochs=2)
    >>> len(images), epoch_images, np.bincount(images.labels).tolist()
    (16, 8, [4, 4, 4, 4])
    """
    if not 0 <= share < 1:
        raise InputError(f"replay_share: expected a share in [0, 1), got {share}")
    again = 0 if old is None else round(len(new) * share / (1 - share))
    indices = np.tile(np.arange(len(new)), epochs)
    if old is None or not again:
        return new.select(indices), len(new)
    drawn, places = np.unique(epoch_order(len(old), seed, 0, images=again * epochs), return_inverse=True)
    both = joined([new, old.select(drawn)])
    return both.select(np.concatenate([indices, len(new) + places])), len(new) + again


def joined(parts: list[ImageSet]) -> ImageSet:
    """Images of several sets, which count their labels alike, as one; `InputError` where shapes differ.

    No image is copied: each is read from its own set when it is asked for.
    """
    if shapes := {part.image_shape for part in parts} - {parts[0].image_shape}:
        raise InputError(f"images to be joined: expected all of shape {parts[0].image_shape}, got {shapes.pop()} too")
    labels = np.concatenate([part.labels for part in parts])
    return ImageStore(
        Joined(parts),
        labels,
        np.zeros(len(labels), dtype=np.int32),
        parts[-1].label_names,
        ("0",),
        parts[0].preprocessing,
    ).all()


def _kept_apart(images: ImageSet, seed: int) -> tuple[ImageSet, list[ImageSet]]:
    """Images to train on, and some to calibrate on; none of those where classes have too few."""
    training, apart = split_for_calibration(images, seed, least=1)  # of both kinds together there may be enough
    return training, [apart] if len(apart) else []


def _names(images: ImageSet) -> list[str]:
    """The names of the classes that have images."""
    return [images.label_names[label] for label in np.unique(images.labels)]


def _measured(model: Recogniser, sets: Mapping[str, ImageSet]) -> dict[str, float]:
    """Top-1 accuracy on each set, each process on its part of the images."""
    found = {}
    for name, images in sets.items():
        part = with_label_names(images, model.label_names).select(own_part(len(images)))
        found[name] = accuracy(model, model.assignment, part, k=(1,), collective=True).top1
    return found


def _as_json(grown: Grown, model: Recogniser, config: TrainConfig, replay_share: float) -> dict[str, object]:
    return {
        "classes": {"old": grown.old_classes, "new": grown.new_classes},
        "system": model.assignment.system.spec,
        "replay_share": replay_share,
        "accuracy": grown.accuracy,
        "loss": [epoch.loss for epoch in grown.history.epochs],
        "heldout": [epoch.heldout for epoch in grown.history.epochs],
        "seconds": sum(epoch.seconds for epoch in grown.history.epochs),
        "config": config.to_dict(),
        "machine": report.environment(next(model.parameters()).device),
    }
