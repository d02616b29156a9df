"""Embeddings of characters by small networks that differ in dimension and in what they were trained to.

The network learns the first classes of a task, in six faces of two designs. Embedded are the images of these and of
further classes, which it never saw, in all faces. An embedding is kept in a folder: nothing is trained twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.data import ImageSet, with_label_names
from rootspace.evaluate import embed_all
from rootspace.experiment import Recipe, prepare
from rootspace.files import atomic_file
from rootspace.losses import LinearHead
from rootspace.models import Embedder
from rootspace.train import TrainConfig, fit
from tasks import open_task
from tasks.base import Task

#: Dimensions at which the nested loss trains a layer (Matryoshka, arXiv 2205.13147); the last is the whole embedding.
NESTED = (13, 41, 64, 128, 384)


class NestedHead(nn.Module):
    """The mean of the cross-entropies of learned layers on the first d coordinates, for each d of `dims`."""

    def __init__(self, dims: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        self.dim, self.n_classes = dims[-1], n_classes
        self.heads = nn.ModuleList(LinearHead(dim, n_classes) for dim in dims)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        losses = [head(embeddings[:, : head.dim].contiguous(), labels) for head in self.heads]
        return torch.stack(losses).mean()

    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.heads[-1].nearest(embeddings, k)
        return found


@dataclass(frozen=True)
class Kind:
    """What a network is trained to: the vectors of a recipe, or a learned layer of `dim` coordinates."""

    dim: int
    recipe: Recipe | None = None
    nested: bool = False
    rate: float = 6e-3  # the best of benchmarks/convergence.py for learned layers; ours: twice that


def _ours(system: str, dim: int, follow: float | None = None) -> Kind:
    return Kind(dim, Recipe(system=system, follow=follow), rate=1.2e-2)


#: V22:13 is V22 at n_min of 3,000 classes. Its vectors follow, as without that it learns half as much
#: (benchmarks/results/tight-stay.json).
KINDS = {
    "V22:13": _ours("V22:13", 13, 0.9),
    "V22:41": _ours("V22:41", 41, 0.9),
    "graded:16": _ours("graded:16", 16),
    "graded:64": _ours("graded:64", 64),
    "graded:128": _ours("graded:128", 128),
    **{f"linear {dim}": Kind(dim) for dim in (13, 64, 384)},
    "nested 384": Kind(384, nested=True),
}


@dataclass(frozen=True)
class Characters:
    """The task's classes in two parts: `known` of them train, the rest are new."""

    known: int = 3000
    new: int = 1000

    @cached_property
    def task(self) -> Task:
        return open_task(f"characters:{self.known + self.new}")

    @property
    def training(self) -> ImageSet:
        names = self.task.train.label_names[: self.known]
        return with_label_names(self.task.train, names, unknown="drop")

    def sets(self) -> dict[str, ImageSet]:
        """Every image there is, by its part."""
        return {"train": self.task.train, **self.task.tuning, **self.task.untouched}


@dataclass(frozen=True)
class Embedded:
    """Unit embeddings (N, n) float32 with labels (N,) of each part of the data, and the seconds of training."""

    vectors: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    seconds: float

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> Embedded:
        """The same with every embedding changed, and brought to norm 1 again."""
        return replace(self, vectors={name: unit(change(rows)) for name, rows in self.vectors.items()})


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows at norm 1, float32."""
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def embedded(name: str, data: Characters, config: TrainConfig, cache: Path) -> Embedded:
    """The embeddings by one of `KINDS`, trained now unless `cache` has them."""
    settings = json.dumps([data.known, data.new, config.epochs, config.seed])
    path = cache / f"{name.replace(' ', '-').replace(':', '-')}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["settings"]) == settings:
                parts = [str(part) for part in stored["parts"]]
                vectors = {part: stored[f"{number}-vectors"] for number, part in enumerate(parts)}
                labels = {part: stored[f"{number}-labels"] for number, part in enumerate(parts)}
                return Embedded(vectors, labels, float(stored["seconds"]))
    found = _train(KINDS[name], data, replace(config, learning_rate=KINDS[name].rate))
    arrays = {f"{number}-vectors": rows for number, rows in enumerate(found.vectors.values())}
    arrays |= {f"{number}-labels": rows for number, rows in enumerate(found.labels.values())}
    with atomic_file(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, settings=settings, parts=list(found.vectors), seconds=found.seconds, **arrays)
    return found


def _train(kind: Kind, data: Characters, config: TrainConfig) -> Embedded:
    training, task = data.training, data.task
    torch.manual_seed(config.seed)
    backbone = task.backbone()
    if kind.recipe is not None:
        prepared = prepare(training, kind.recipe, config.seed, backbone=backbone, features=task.features)
        embedder, loss, hooks = prepared.embedder, prepared.loss, prepared.hooks
    else:
        embedder, hooks = Embedder(backbone, kind.dim, normalise="batch"), []
        n_classes = training.n_classes
        loss = NestedHead(NESTED, n_classes) if kind.nested else LinearHead(kind.dim, n_classes)
    history = fit(embedder, loss, training, config, augment=task.augment, hooks=hooks, progress=False)
    parts = {name: embed_all(embedder, images) for name, images in data.sets().items()}
    vectors = {name: unit(rows) for name, (rows, _) in parts.items()}
    return Embedded(
        vectors, {name: labels for name, (_, labels) in parts.items()}, sum(epoch.seconds for epoch in history.epochs)
    )
