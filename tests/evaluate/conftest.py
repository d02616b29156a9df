"""Small stand-ins: images whose pixels are their embedding, and classes with given vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace.data import ImageSet

torch.set_num_threads(1)


@dataclass
class Table:
    """A classifier by brute force over a table of class vectors (N, dim)."""

    table: Tensor

    @property
    def n_classes(self) -> int:
        return len(self.table)

    def vectors(self, labels: Tensor) -> Tensor:
        return self.table[labels]

    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        found = (normalize(embeddings, dim=-1) @ normalize(self.table, dim=-1).T).topk(k, dim=-1)
        return found.values, found.indices


def flat(images: Tensor) -> Tensor:
    return images.flatten(1)


@pytest.fixture
def pictures() -> ImageSet:
    """97 pictures of 7 classes, 2 x 4 pixels of one channel: 8 numbers, noisily around a class's own."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 97)
    centres = random.integers(60, 200, (7, 8))
    pixels = np.clip(centres[labels] + random.normal(0, 25, (97, 8)), 0, 255).astype(np.uint8)
    return ImageSet.from_arrays(pixels.reshape(97, 2, 4, 1), labels, [f"class {i}" for i in range(7)])


@pytest.fixture
def table() -> Table:
    random = np.random.default_rng(0)
    random.integers(0, 7, 97)
    return Table(torch.from_numpy(random.integers(60, 200, (7, 8)) / 127.5 - 1).float())
