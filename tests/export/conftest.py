"""Small models to export, with embeddings spread so that many classes come up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from rootspace.assign import Assignment
from rootspace.data import Preprocessing, to_tensor
from rootspace.models import Embedder, Recogniser, SmallConv, SmallViT, Threshold

SIZE = 16

Make = Callable[..., Recogniser]
Images = Callable[..., np.ndarray]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def images() -> Images:
    """Random patterns of some contrast: uint8 (count, SIZE, SIZE, channels)."""

    def make(count: int, seed: int = 0, channels: int = 1) -> np.ndarray:
        coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, channels))
        return np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def recogniser(images: Images) -> Make:
    def make(
        assignment: Assignment,
        encoder: str = "small_conv",
        normalise: str = "batch",
        threshold: Threshold | None = None,
        channels: int = 1,
    ) -> Recogniser:
        torch.manual_seed(0)
        if encoder == "small_conv":
            backbone: torch.nn.Module = SmallConv(in_channels=channels, width=4, depth=0)
        else:
            backbone = SmallViT(in_channels=channels, size=SIZE, patch=8, width=8, depth=1, heads=2)
        embedder = Embedder(backbone, assignment.system.dim, normalise=normalise)
        names = [f"кл {number}" for number in range(assignment.n_classes)]
        model = Recogniser(embedder, assignment, names, Preprocessing(SIZE, channels, "ink"), threshold)
        with torch.no_grad():  # as training leaves it: running statistics that are not those of a new module
            model.train()
            embedder.projection.bias.normal_()
            for seed in range(8):
                embedder(to_tensor(images(64, seed, channels)))
        return model.eval()

    return make
