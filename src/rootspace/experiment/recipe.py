"""A recipe: which encoder learns which targets with which loss, and what that means for a training set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.assign import Assignment, by_name, by_similarity, shuffled
from rootspace.data import ImageSet, to_tensor
from rootspace.errors import InputError
from rootspace.losses import BatchSoftmax, ClassSoftmax, CosineLoss, SquaredEuclideanLoss, SystemSoftmax
from rootspace.systems import SpecError, VectorSystem, dense, parse, smallest
from rootspace.train import Augment

ASSIGNMENTS = ("similarity", "shuffled", "names")
LOSSES = {
    "classes": ClassSoftmax,
    "batch": BatchSoftmax,
    "system": SystemSoftmax,
    "cosine": CosineLoss,
    "euclidean": SquaredEuclideanLoss,
}
AUGMENTATIONS = {"glyph": Augment, "photo": Augment.photo, "none": Augment.none}

#: Up to this many classes the softmax over all of them is the default loss; above, the one over the batch's.
CLASS_SOFTMAX_UP_TO = 20_000

#: Class means are taken of images pooled to this side.
POOLED_SIDE = 16


@dataclass(frozen=True)
class Recipe:
    """Which encoder learns which targets with which loss; a value that cannot work raises `InputError`.

    system: a spec such as "V22:41" or "dense:128", "auto" (`choose_system`; V22 for the loss "system"), or
    "paper" (V22 at n_min).
    assignment: "similarity" (vectors near the class's mean image), "shuffled" (the paper's) or "names".
    loss: "classes", "batch", "system", "cosine", "euclidean", or "auto" by the number of classes; scale, margin
    and smoothing are for the first three.
    reassign: points in epochs at which classes move to vectors near their mean embedding.
    normalise: "batch" gives every coordinate of the embedding mean 0 and variance 1 over a batch, or "none".
    backbone: a registered encoder's configuration, e.g. {"name": "small_conv", "width": 32}.

    >>> Recipe.paper().assignment, Recipe.paper().loss
    ('shuffled', 'cosine')
    """

    system: str = "auto"
    assignment: str = "similarity"
    loss: str = "auto"
    scale: float = 24.0
    learn_scale: bool = False
    label_smoothing: float = 0.0
    margin: float = 0.1
    reassign: tuple[float, ...] = ()
    key: int = 0
    backbone: dict[str, Any] = field(default_factory=lambda: {"name": "small_conv"})
    normalise: str = "batch"
    augment: str = "photo"

    def __post_init__(self) -> None:
        for name, choices in (
            ("assignment", ASSIGNMENTS),
            ("loss", ("auto", *LOSSES)),
            ("augment", tuple(AUGMENTATIONS)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.reassign and self.assignment == "shuffled":
            raise InputError("reassign: a shuffled assignment stores no vectors that could move")

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


def choose_system(n_classes: int) -> VectorSystem:
    """The default system: a dense orbit with room for each class's vector to lie near its mean.

    >>> choose_system(10).spec, choose_system(1000).spec
    ('V16,16:64', 'V32,32:128')
    """
    return dense(64 if n_classes <= 256 else 128)


def system_of(recipe: Recipe, n_classes: int) -> VectorSystem:
    """The vector system a recipe asks for; a spec that does not parse is an `InputError`."""
    if recipe.system == "auto" and recipe.loss != "system":
        return choose_system(n_classes)
    if recipe.system in ("auto", "paper"):
        # a softmax over the whole system wants few vectors that no class uses
        return smallest("V22", n_classes)
    try:
        return parse(recipe.system)
    except SpecError as error:
        raise InputError(f"system: {error}") from None


def class_means(images: ImageSet, side: int = POOLED_SIDE, chunk: int = 4096) -> Tensor:
    """The mean of each class's images, pooled to a side of at most `side`: float32 (n_classes, C side side).

    Classes without an image get the mean of all.
    """
    sums, counts = None, torch.zeros(images.n_classes)
    for start in range(0, len(images), chunk):
        positions = np.arange(start, min(start + chunk, len(images)))
        pixels = to_tensor(images.images_at(positions))
        pooled = nn.functional.adaptive_avg_pool2d(pixels, min(side, *pixels.shape[2:])).flatten(1)
        labels = torch.from_numpy(images.labels[positions])
        sums = torch.zeros(images.n_classes, pooled.shape[1]) if sums is None else sums
        sums.index_add_(0, labels, pooled)
        counts.index_add_(0, labels, torch.ones(len(labels)))
    if sums is None:
        raise InputError("the training set holds no images")
    return torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], sums.sum(0) / counts.sum())


def assign(recipe: Recipe, images: ImageSet, seed: int) -> Assignment:
    """The class vectors a recipe asks for, on a training set."""
    system = system_of(recipe, images.n_classes)
    if recipe.assignment == "shuffled":
        return shuffled(system, images.n_classes, recipe.key)
    if recipe.assignment == "names":
        return by_name(system, images.label_names, recipe.key)
    return by_similarity(system, class_means(images), torch.Generator().manual_seed(seed))


def loss_of(recipe: Recipe, assignment: Assignment) -> nn.Module:
    """The loss a recipe asks for."""
    name = recipe.loss
    if name == "auto":
        name = "classes" if assignment.n_classes <= CLASS_SOFTMAX_UP_TO else "batch"
    if name in ("cosine", "euclidean"):
        return LOSSES[name](assignment)
    try:
        return LOSSES[name](assignment, recipe.scale, recipe.learn_scale, recipe.label_smoothing, recipe.margin)
    except ValueError as error:
        raise InputError(str(error)) from None
