"""From data to a model folder: the recipe, one training run, and what it is worth on images it never saw.

`rootspace train` and `rootspace demo` are this module with different data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rootspace import report
from rootspace.assign import Assignment, TableAssignment, by_name, by_similarity, shuffled
from rootspace.data import ImageSet, split_random, to_tensor
from rootspace.errors import InputError
from rootspace.evaluate import Histogram, Predictions, cosine_histogram, embed_all, predict_all
from rootspace.losses import BatchSoftmax, ClassSoftmax, CosineLoss, LinearHead, SquaredEuclideanLoss, SystemSoftmax
from rootspace.models import Embedder, Recogniser
from rootspace.models.encoders import build
from rootspace.systems import SpecError, VectorSystem, dense, parse, smallest
from rootspace.train import Augment, History, TrainConfig, fit
from rootspace.train.reassign import Reassign

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

#: The learned linear layer does best without normalised embeddings and at half our rate (benchmarks/characters.py).
BASELINE_NORMALISE = "none"
BASELINE_RATE = 0.5

#: Class means are taken of images pooled to this side.
POOLED_SIDE = 16

#: The share of the training images kept apart to set the threshold below which an image is of no known class.
CALIBRATION_SHARE = 0.05


@dataclass(frozen=True)
class Recipe:
    """Which encoder learns which targets with which loss; a value that cannot work raises `InputError`.

    system: a spec such as "V22:41" or "dense:128", or "auto" (`choose_system`).
    assignment: "similarity" (vectors near the class's mean image), "shuffled" (the paper's) or "names".
    loss: "classes", "batch", "system", "cosine", "euclidean", or "auto" by the number of classes.
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
        return cls(**{"system": "paper", "assignment": "shuffled", "loss": "cosine", "normalise": "none", **changes})


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


def choose_system(n_classes: int) -> VectorSystem:
    """The default system: a dense orbit with room for each class's vector to lie near its mean.

    >>> choose_system(10).spec, choose_system(1000).spec
    ('V16,16:64', 'V32,32:128')
    """
    return dense(64 if n_classes <= 256 else 128)


def system_of(recipe: Recipe, n_classes: int) -> VectorSystem:
    """The vector system a recipe asks for; a spec that does not parse or is too small is an `InputError`."""
    if recipe.system == "auto":
        return choose_system(n_classes)
    if recipe.system == "paper":
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


# ---------------------------------------------------------------------- what it is worth


@dataclass(frozen=True)
class Findings:
    """What a trained model does with the held-out sets."""

    predictions: dict[str, Predictions]
    histogram: Histogram | None


def examine(trained: Trained, heldout: Mapping[str, ImageSet]) -> Findings:
    """Predict every held-out set, and collect own-class against nearest-other-class cosines over all of them."""
    predictions, histogram = {}, None
    for name, images in heldout.items():
        predictions[name] = predict_all(trained.embedder, trained.classifier, images)
    if isinstance(trained.classifier, Assignment) and heldout:
        parts = [embed_all(trained.embedder, images) for images in heldout.values()]
        embeddings, labels = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        histogram = cosine_histogram(embeddings, labels, trained.classifier)
    return Findings(predictions, histogram)


def method_row(trained: Trained, findings: Findings) -> report.Method:
    """A method's line in the summary and its curves."""
    epochs = trained.history.epochs
    seconds = np.cumsum([epoch.seconds for epoch in epochs]).tolist()
    numbers = [float(epoch.epoch + 1) for epoch in epochs]
    per_set = {name: found.accuracy((1, 5)) for name, found in findings.predictions.items()}
    mean = [float(np.mean([shares["top1"] for shares in e.heldout.values()])) if e.heldout else 0.0 for e in epochs]
    return report.Method(
        name=trained.name,
        top1={name: found.top[1] for name, found in per_set.items()},
        topk={name: found.top[max(found.top)] for name, found in per_set.items()},
        parameters=sum(p.numel() for p in trained.embedder.parameters()) + trained.head_parameters,
        head_parameters=trained.head_parameters,
        seconds=seconds[-1] if seconds else 0.0,
        images_per_second=epochs[-1].images_per_second if epochs else 0.0,
        accuracy=report.Curve(tuple(numbers), tuple(seconds), tuple(mean)) if per_set else None,
        loss=report.Curve(tuple(numbers), tuple(seconds), tuple(epoch.loss for epoch in epochs)),
    )


def report_of(
    title: str,
    methods: list[tuple[Trained, Findings]],
    images: ImageSet,
    heldout: Mapping[str, ImageSet],
    recipe: Recipe,
    config: TrainConfig,
    **more: Any,
) -> report.RunReport:
    """Everything the report page shows; the first method's samples and cosines are the ones pictured."""
    trained, findings = methods[0]
    first = bool(findings.predictions)
    described = {key: str(value) for key, value in {**asdict(recipe), **config.to_dict()}.items()}
    return report.RunReport(
        title=title,
        methods=tuple(method_row(*method) for method in methods),
        system=report.system_facts(trained.classifier, _how(recipe)),
        samples=report.pick_samples(heldout, findings.predictions, examples=images) if first else (),
        histogram=findings.histogram,
        confusions=report.pick_confusions(heldout, findings.predictions, examples=images) if first else (),
        configuration=described,
        environment=report.environment(),
        **more,
    )


def _how(recipe: Recipe) -> str:
    text = {
        "similarity": "each class has the free vector nearest to its whitened mean image",
        "shuffled": "a keyed shuffle of the class number",
        "names": "a hash of the class name",
    }[recipe.assignment]
    if recipe.reassign:
        points = ", ".join(f"{point:g}" for point in recipe.reassign)
        text += f"; moved to the vector nearest to its mean embedding after {points} epochs"
    return text
