"""A training run of seconds, as a script (killed by a test) and as functions (used by the others)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rootspace import assign
from rootspace.data import ImageSet
from rootspace.losses import NeighbourSoftmax
from rootspace.models import Embedder, SmallConv
from rootspace.systems import V
from rootspace.train import Augment, Follow, Hook, TrainConfig, fit

CLASSES, PER_CLASS, SIDE = 10, 12, 16


def images(seed: int = 0, per_class: int = PER_CLASS, channels: int = 1) -> ImageSet:
    """Noisy copies of one random pattern a class."""
    random = np.random.default_rng(7)
    patterns = random.integers(0, 256, (CLASSES, SIDE, SIDE, channels))
    labels = np.repeat(np.arange(CLASSES), per_class)
    noise = np.random.default_rng(seed).normal(0, 40, (len(labels), SIDE, SIDE, channels))
    pixels = np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8)
    return ImageSet.from_arrays(pixels, labels, [f"class {number}" for number in range(CLASSES)])


def model(dropout: float = 0.2) -> tuple[Embedder, nn.Module]:
    torch.manual_seed(3)
    encoder = SmallConv(width=4)
    encoder.layers.append(nn.Dropout(dropout))
    system = V(6, 2, 2)
    names = [str(i) for i in range(CLASSES)]
    loss = NeighbourSoftmax(assign.by_name(system, names), scale=8.0, learn_scale=True, neighbours=2)
    return Embedder(encoder, system.dim), loss


class Tell(Hook):
    """Prints every step, so that a test can kill the process at one."""

    name = "tell"

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        print(step, flush=True)


def run(output: Path | None, resume: bool = False, **changes: Any) -> dict[str, Tensor]:
    """Train and give all weights, buffers of the loss included."""
    torch.set_num_threads(1)  # as in the tests: sums are taken in one order
    embedder, loss = model()
    settings = {
        "epochs": 3,
        "batch_size": 8,
        "gradient_accumulation": 2,
        "clip_norm": 1.0,
        "checkpoint_every": 3,
        "log_every": 2,
        "device": "cpu",
        **changes,
    }
    fit(
        embedder,
        loss,
        images(),
        TrainConfig(**settings),
        output=output,
        heldout={"other": images(seed=1, per_class=3)},
        augment=Augment(erase=0.3),
        hooks=[Follow(loss, until=0.8, refresh=0.3), Tell()],
        resume=resume,
        progress=False,
    )
    return {**embedder.state_dict(), **{f"loss.{name}": value for name, value in loss.state_dict().items()}}


if __name__ == "__main__":
    weights = run(Path(sys.argv[1]))
    if "RANK" in os.environ:  # one of several processes: leave what it ended with
        plain = {name: value.contiguous() for name, value in weights.items()}
        save_file(plain, Path(sys.argv[1]) / f"rank-{os.environ['RANK']}.safetensors")
