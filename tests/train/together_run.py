"""Training runs that one process and several can do alike: no batch norm, no dropout.

As a script it is one process of several and leaves in FOLDER what it found: CASE.safetensors and found-RANK.json.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rootspace import assign
from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.experiment import class_statistics, prepare, recipe
from rootspace.losses import BatchSoftmax, ClassSoftmax, CosineLoss, LinearHead, NeighbourSoftmax, SystemSoftmax
from rootspace.models import Embedder, SmallConv
from rootspace.systems import V
from rootspace.train import Augment, Follow, History, TrainConfig, fit, processes
from rootspace.train.checkpoint import claimed
from rootspace.train.engine import Engine, make_accelerator

TINY = runpy.run_path(str(Path(__file__).with_name("tiny_run.py")))
CLASSES, SYSTEM = TINY["CLASSES"], V(6, 2, 2)


class Blocks(nn.Module):
    """A backbone of blocks; what it does to an image does not depend on the others."""

    feature_dim = 24

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(256, 24)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(24, 24), nn.Tanh()) for _ in range(3)])
        self.tilt = nn.Parameter(torch.tensor(0.1))  # a scalar, which cannot be shared out

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return x + self.tilt


def noisy(count: int) -> ImageSet:
    """Images that are hard to tell."""
    images: ImageSet = TINY["images"](seed=1)
    part = np.random.default_rng(1).permutation(len(images))[:count]
    noise = np.random.default_rng(2).integers(0, 190, (count, TINY["SIDE"], TINY["SIDE"], 1))
    pixels = (images.images_at(part) // 4 + noise).astype(np.uint8)
    return ImageSet.from_arrays(pixels, images.labels[part], images.label_names)


def loss_of(kind: type[nn.Module]) -> nn.Module:
    if kind is LinearHead:
        return LinearHead(SYSTEM.dim, CLASSES)
    classes = assign.by_name(SYSTEM, [str(number) for number in range(CLASSES)])
    if kind is CosineLoss:
        return CosineLoss(classes)
    more: dict[str, Any] = {"neighbours": 2} if kind is NeighbourSoftmax else {}
    smoothed = {"label_smoothing": 0.1, "margin": 0.1} if kind is BatchSoftmax else {}
    return kind(classes, scale=8.0, learn_scale=True, **smoothed, **more)


STEP = {"gradient_accumulation": 2, "clip_norm": 0.5}
CASES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "cosine": (CosineLoss, {}),
    "system": (SystemSoftmax, {"clip_norm": 0.5}),
    "classes": (ClassSoftmax, {"gradient_accumulation": 2}),
    "batch": (BatchSoftmax, STEP),
    "neighbours": (NeighbourSoftmax, {"epoch_images": 50}),
    "neighbours, accumulated": (NeighbourSoftmax, STEP),
    "linear": (LinearHead, {}),
    "slower backbone": (ClassSoftmax, {"backbone_rate": 0.3, **STEP}),
    "resting backbone": (ClassSoftmax, {"backbone_rate": 0.0}),
    "augmented": (ClassSoftmax, {"gradient_accumulation": 2}),
}
SHARED_OUT = {
    "neighbours, accumulated": NeighbourSoftmax,
    "system": SystemSoftmax,
    "linear": LinearHead,
    "slower backbone": ClassSoftmax,
    "resting backbone": ClassSoftmax,
}


def run(case: str, share: int, output: Path | None = None, **changes: Any) -> tuple[dict[str, Tensor], History]:
    """The weights and history of a case, with `share` images a batch in this process."""
    kind, settings = CASES[case]
    torch.manual_seed(3)
    embedder, loss = Embedder(Blocks(), SYSTEM.dim), loss_of(kind)
    resume = changes.pop("resume", False)
    config = TrainConfig(**{"epochs": 3, "batch_size": share, "device": "cpu", "log_every": 1, **settings, **changes})
    history = fit(
        embedder,
        loss,
        TINY["images"](),
        config,
        output=output,
        heldout={"other": noisy(41), "one": noisy(1)},
        augment=Augment(rotate=3, erase=0.3) if case == "augmented" else None,
        hooks=[Follow(loss, until=0.6, refresh=0.3)] if kind is NeighbourSoftmax else [],
        resume=resume,
        progress=False,
    )
    weights = {**embedder.state_dict(), **{f"loss.{name}": value for name, value in loss.state_dict().items()}}
    return weights, history


def message_of(function: Any) -> str:
    try:
        function()
    except InputError as error:
        return str(error)
    return "no error"


def trouble(folder: Path) -> dict[str, str]:
    """What each process is told where only one of them is in trouble."""
    main = processes.is_main()

    def other_data() -> None:
        embedder, loss = TINY["model"]()
        images: ImageSet = TINY["images"](seed=0 if main else 1)
        fit(embedder, loss, images, TrainConfig(device="cpu"), progress=False)

    def held() -> None:
        embedder, loss = TINY["model"]()
        config = TrainConfig(epochs=1, device="cpu")
        fit(embedder, loss, TINY["images"](), config, output=folder / "held", progress=False)

    found = {"other data": message_of(other_data)}
    if main:
        with claimed(folder / "held"):
            found["held"] = message_of(held)
    else:
        found["held"] = message_of(held)
    return found


def sent_at_each_step() -> list[str]:
    """The buffers that DistributedDataParallel sends."""
    config = TrainConfig(device="cpu")
    loss = loss_of(NeighbourSoftmax)
    assert {name for name, _ in loss.named_buffers()} >= {"near", "assignment.codes"}
    engine = Engine(make_accelerator(config), Embedder(SmallConv(width=4), SYSTEM.dim), loss, config)
    sent = {id(buffer) for buffer in engine.model.modules_buffers}  # type: ignore[union-attr]
    return [name for name, buffer in engine.objective.named_buffers() if id(buffer) in sent]


def prepared() -> dict[str, Any]:
    """What a recipe prepares where similarity is seen in the backbone, and what this process did for it."""
    images, passed, made = TINY["images"](), [], []

    class Counted(SmallConv):
        def forward(self, x: Tensor) -> Tensor:
            passed.append(len(x))
            return super().forward(x)

    def counted(*arguments: Any) -> assign.TableAssignment:
        made.append(1)
        return assign.by_similarity(*arguments)

    recipe.by_similarity = counted
    of_backbone = recipe.Recipe(features="backbone", augment="none")
    ready = prepare(images, of_backbone, 0, backbone=Counted(width=4), device="cpu", progress=False)
    some = [class_statistics(images.select(range(n)), collective=True) for n in (1, 2, 3, len(images))]
    return {
        "codes": ready.loss.assignment.codes.tolist(),  # type: ignore[union-attr, operator]
        "passed": sum(passed),
        "made": len(made),
        "statistics": [[*one.means.sum(0).tolist(), *one.within.diagonal().tolist()] for one in some],
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    found: dict[str, Any] = {"same": {}, "history": {}}
    results: dict[str, tuple[dict[str, Tensor], History]] = {}
    for case in CASES:
        results[case] = run(case, 8)
    for case in SHARED_OUT:
        results[f"{case}, shared out"] = run(case, 8, shard=True)
    for first in (True, False):  # interrupted in one form, gone on with in the other
        case, output = "neighbours, accumulated", folder / f"run {first}"
        run(case, 8, output, shard=first, checkpoint_every=2)
        processes.every(None)
        if processes.is_main():
            sorted((output / "checkpoints").iterdir())[-1].rename(folder / f"gone {first}")
        results[f"resumed {first}"] = run(case, 8, output, shard=not first, checkpoint_every=2, resume=True)
    for name, (weights, history) in results.items():
        sums = {key: float(value.double().sum()) for key, value in weights.items()}
        found["same"][name] = all(other == sums for other in processes.every(sums))
        found["history"][name] = [[record.loss, record.heldout] for record in history.epochs]
        if processes.is_main():
            save_file({key: value.contiguous() for key, value in weights.items()}, folder / f"{name}.safetensors")
    found["trouble"], found["sent"], found["prepared"] = trouble(folder), sent_at_each_step(), prepared()
    (folder / f"found-{os.environ['RANK']}.json").write_text(json.dumps(found))
    processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
