"""A small untrained model in a folder, and embeddings in clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rootspace.assign import shuffled
from rootspace.data import Preprocessing
from rootspace.models import Embedder, Recogniser, SmallConv
from rootspace.systems import V

DIM = 8


def make_model(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    embedder = Embedder(SmallConv(in_channels=1, width=8), dim=DIM)
    classes = shuffled(V(DIM, 1, 1), n_classes=12)
    return Recogniser(embedder, classes, [f"kind {n}" for n in range(12)], Preprocessing(16, 1, "ink")).save(folder)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", 0)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "other", 1)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Two folders of noise, one name of which is no plain ASCII, and one image beside them."""
    folder, random = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for name in ("круг", "square"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (20, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    Image.fromarray(random.integers(0, 256, (20, 20), dtype=np.uint8)).save(folder / "loose.png")
    return folder


def clustered(count: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """Unit vectors around a tenth as many centres, float32."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, count // 10), dim))
    rows = centres[random.integers(len(centres), size=count)] + 0.3 * random.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
