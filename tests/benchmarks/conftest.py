import sys
from pathlib import Path

import numpy as np
import pytest

from rootspace.data import ImageSet
from rootspace.models import build

# the benchmarks are scripts, not a package: their modules import each other as a script run from there does
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture
def task():
    """Twenty random patterns with noise: a task that any method learns in seconds."""
    from tasks.base import Task

    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 256, (20, 8, 8, 1))

    def images(per_class):
        labels = np.tile(np.arange(20), per_class)
        noisy = patterns[labels] + generator.normal(0, 30, (len(labels), 8, 8, 1))
        return ImageSet.from_arrays(noisy.clip(0, 255).astype(np.uint8), labels)

    train, tuning, untouched = images(6), images(2), images(2)
    backbone = lambda: build({"name": "small_conv", "width": 4})  # noqa: E731
    return Task("tiny", train, {"a": tuning}, {"b": untouched}, backbone, None, None, {})
