"""A recipe: which encoder learns which targets with which loss, and what that means for a training set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from rootspace.assign import Assignment, TableAssignment, by_name, by_similarity, load, save, shuffled
from rootspace.data import ImageSet, is_text
from rootspace.errors import InputError
from rootspace.experiment.ngrams import ngram_features
from rootspace.experiment.statistics import class_statistics, pooled_pixels
from rootspace.losses import (
    BatchSoftmax,
    ClassSoftmax,
    CosineLoss,
    NeighbourSoftmax,
    SquaredEuclideanLoss,
    SystemSoftmax,
)
from rootspace.systems import SpecError, VectorSystem, graded, parse, smallest
from rootspace.train import Augment, Follow, HideText, processes

ASSIGNMENTS = ("similarity", "shuffled", "names")
FEATURES = ("pixels", "backbone")
LOSSES = {
    "classes": ClassSoftmax,
    "neighbours": NeighbourSoftmax,
    "batch": BatchSoftmax,
    "system": SystemSoftmax,
    "cosine": CosineLoss,
    "euclidean": SquaredEuclideanLoss,
}
AUGMENTATIONS: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "glyph": Augment,
    "photo": Augment.photo,
    "text": HideText,
    "none": Augment.none,
}

#: What a recipe leaves to be chosen by the data.
AUTO = "auto"

#: Up to this many classes the softmax over all of them is the default loss; above, that over near neighbours.
CLASS_SOFTMAX_UP_TO = 4096

#: Losses that push classes apart, so that class vectors may follow their embeddings.
COMPETITIVE = ("classes", "neighbours", "batch")

#: The share of training in which class vectors follow their embeddings, where nothing else is asked for.
FOLLOW = 0.9

#: Up to so many classes 64 dimensions are taken, and vectors stay.
FEW_CLASSES = 256

#: Bits a coordinate that a system needs for it: signs alone have 1, `dense` 1.4, `graded` 2.6.
BITS_TO_FOLLOW = 1.2


@dataclass(frozen=True)
class Recipe:
    """Which encoder learns which targets with which loss; a value that cannot work raises `InputError`.

    system: a spec such as "V22:41" or "graded:128", a family such as "V21" (at its n_min), "auto" (`choose_system`;
    V22 for the loss "system"), or "paper" (V22 at n_min).
    assignment: where classes start: "similarity" (vectors near the class's discriminant mean), "shuffled" (the
    paper's) or "names"; features: what similarity is seen in, "pixels" (of texts: n-grams), what the "backbone" makes
    of them, or "auto": the latter where the backbone is pretrained.
    loss: "classes", "neighbours", "batch", "system", "cosine", "euclidean", or "auto" by the number of classes;
    scale, margin and smoothing are for the softmaxes, neighbours (how many a class has) for the second.
    follow: the share of training in which class vectors follow their embeddings before they stay; None takes 0.9
    from similarity with one of the first three losses, and 0 else. follow_every: points, in epochs, at which they
    jump; 0 lets them glide. (When nothing follows by itself: `follow_share`.)
    normalise: "batch" gives every coordinate of the embedding mean 0 and variance 1 over a batch, or "none".
    backbone: an encoder's configuration, e.g. {"name": "small_conv", "width": 32}; the name "auto" takes what suits
    the data (`settled`). augment: "glyph", "photo", "none", or "auto" by the data.

    >>> Recipe.paper().assignment, Recipe.paper().loss
    ('shuffled', 'cosine')
    """

    system: str = AUTO
    assignment: str = "similarity"
    loss: str = AUTO
    scale: float = 24.0
    learn_scale: bool = False
    label_smoothing: float = 0.0
    margin: float = 0.1
    neighbours: int = 16
    features: str = AUTO
    follow: float | None = None
    follow_every: float = 0.0
    key: int = 0
    backbone: dict[str, Any] = field(default_factory=lambda: {"name": AUTO})
    normalise: str = "batch"
    augment: str = AUTO

    def __post_init__(self) -> None:
        for name, choices in (
            ("assignment", ASSIGNMENTS),
            ("loss", (AUTO, *LOSSES)),
            ("features", (AUTO, *FEATURES)),
            ("augment", (AUTO, *AUGMENTATIONS)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.follow and self.loss not in ("auto", *COMPETITIVE):
            raise InputError(
                f"follow: with the loss {self.loss!r} nothing keeps classes apart that follow their embeddings; "
                f"expected one of {', '.join(COMPETITIVE)}, or follow 0"
            )
        if self.follow is not None and not 0 <= self.follow <= 1:
            raise InputError(f"follow: expected a share of the training in [0, 1], got {self.follow}")

    @classmethod
    def paper(cls, **changes: Any) -> Recipe:
        """The recipe of arXiv 2512.07509: V_n^22 at n_min, random assignment, cosine loss."""
        return cls(
            **{
                "system": "paper",
                "assignment": "shuffled",
                "loss": "cosine",
                "normalise": "none",
                "margin": 0.0,
                **changes,
            }
        )


def settled(recipe: Recipe, images: ImageSet) -> Recipe:
    """The recipe with backbone, features and augmentation chosen by the data, where it leaves them open.

    >>> import numpy as np
    >>> photos = ImageSet.from_arrays(np.zeros((2, 32, 32, 3), np.uint8), np.arange(2))
    >>> chosen = settled(Recipe(), photos)
    >>> chosen.augment, chosen.backbone["name"]
    ('photo', 'small_conv')
    """
    augment, backbone, features = recipe.augment, recipe.backbone, recipe.features
    texts = is_text(images.preprocessing)
    if augment == AUTO:
        augment = "text" if texts else "glyph" if getattr(images.preprocessing, "fit", None) == "ink" else "photo"
    if augment != "none" and (augment == "text") != texts:
        raise InputError(f"augment: {augment!r} is not for {'texts' if texts else 'pictures'}; take 'auto' or 'none'")
    if backbone.get("name", AUTO) == AUTO:
        backbone = {**backbone, "name": "small_text" if texts else "small_conv"}
    if features == AUTO:
        features = "backbone" if backbone.get("pretrained") or backbone.get("checkpoint") else "pixels"
    return replace(recipe, augment=augment, backbone=backbone, features=features)


def choose_system(n_classes: int) -> VectorSystem:
    """The default system: a graded orbit, in which a vector lies near any direction a class wants.

    >>> choose_system(10).dim, choose_system(1000).dim
    (64, 128)
    """
    return graded(64 if n_classes <= FEW_CLASSES else 128)


def system_of(recipe: Recipe, n_classes: int) -> VectorSystem:
    """The vector system a recipe asks for; a spec that does not parse is an `InputError`."""
    if recipe.system == "auto" and recipe.loss != "system":
        return choose_system(n_classes)
    if recipe.system in ("auto", "paper"):
        # a softmax over the whole system wants few vectors that no class uses
        return smallest("V22", n_classes)
    if ":" not in recipe.system:
        with suppress(ValueError):
            return smallest(recipe.system, n_classes)
    try:
        return parse(recipe.system)
    except SpecError as error:
        raise InputError(f"system: {error}") from None


def follow_share(recipe: Recipe, system: VectorSystem, n_classes: int) -> float:
    """The share of training in which class vectors follow their embeddings.

    Where the recipe does not say: 0.9 from similarity, with a loss that pushes classes apart, with many classes, in a
    system that has a vector near any direction. In a sparse one the vectors that classes settle on are far from where
    they were, and what was learned is lost; and few classes have statistics that are hard to better.

    >>> [follow_share(Recipe(), system, 1000) for system in (graded(128), smallest("V22", 1000))]
    [0.9, 0.0]
    """
    if recipe.follow is not None:
        return recipe.follow
    roomy = system.bits >= BITS_TO_FOLLOW * system.dim and n_classes > FEW_CLASSES
    return FOLLOW if roomy and recipe.assignment == "similarity" and recipe.loss in ("auto", *COMPETITIVE) else 0.0


def assign(
    recipe: Recipe,
    images: ImageSet,
    seed: int,
    features: Callable[[Tensor], Tensor] | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: bool = False,
    collective: bool = False,
) -> Assignment:
    """The class vectors a recipe starts from, on a training set.

    features: (B, C, H, W) in [-1, 1] on `device` -> (B, d), what similarity is seen in; None takes `plain_features`.
    progress, collective: as of `class_statistics`.
    """
    system = system_of(recipe, images.n_classes)
    if recipe.assignment == "names":
        return by_name(system, images.label_names, recipe.key)
    if recipe.assignment == "shuffled":
        start = shuffled(system, images.n_classes, recipe.key)
        # vectors that are to move need a table
        return TableAssignment.of(start) if follow_share(recipe, system, images.n_classes) > 0 else start
    seen_in = features or plain_features(images)
    found = class_statistics(images, seen_in, device=device, progress=progress, collective=collective)

    def near_the_means() -> Assignment:
        return by_similarity(system, found.means, torch.Generator().manual_seed(seed), found.within)

    return _made_once(near_the_means) if collective else near_the_means()


def _made_once(make: Callable[[], Assignment]) -> Assignment:
    """What the first process makes, in all of them: it may take long, and machines may round differently."""
    made = processes.by_main(make)
    config, tensors = save(made) if made is not None else ({}, {})
    config = processes.from_main(config)
    given = dict(processes.handed_out(tensors, processes.device()))
    return load(config, given) if made is None else made


def plain_features(images: ImageSet) -> Callable[[Tensor], Tensor]:
    """What similarity is seen in without an encoder: `pooled_pixels`, of texts `ngram_features`."""
    return ngram_features if is_text(images.preprocessing) else pooled_pixels


def hooks_of(recipe: Recipe, loss: nn.Module, assignment: Assignment) -> list[Follow]:
    """What moves the class vectors while a recipe trains."""
    share = follow_share(recipe, assignment.system, assignment.n_classes)
    return [Follow(loss, share, every=recipe.follow_every)] if share else []


def loss_of(recipe: Recipe, assignment: Assignment) -> nn.Module:
    """The loss a recipe asks for."""
    name = recipe.loss
    if name == "auto":
        name = "classes" if assignment.n_classes <= CLASS_SOFTMAX_UP_TO else "neighbours"
    if name in ("cosine", "euclidean"):
        return LOSSES[name](assignment)
    more = (recipe.neighbours,) if name == "neighbours" else ()
    try:
        return LOSSES[name](assignment, recipe.scale, recipe.learn_scale, recipe.label_smoothing, recipe.margin, *more)
    except ValueError as error:
        raise InputError(str(error)) from None
