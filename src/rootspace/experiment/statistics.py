"""What a training set says about its classes: their mean features, and how samples scatter about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.data import ImageSet, to_tensor
from rootspace.errors import InputError

#: Pixels are pooled to this side.
POOLED_SIDE = 16


@dataclass(frozen=True)
class ClassStatistics:
    """means: float32 (n_classes, d). within: float64 (d, d), the covariance of samples about their class's mean."""

    means: Tensor
    within: Tensor


def pooled_pixels(images: Tensor) -> Tensor:
    """Images (B, C, H, W) -> (B, C side side), averaged down to a side of at most `POOLED_SIDE`."""
    return nn.functional.adaptive_avg_pool2d(images, min(POOLED_SIDE, *images.shape[2:])).flatten(1)


def class_statistics(
    images: ImageSet, features: Callable[[Tensor], Tensor] = pooled_pixels, chunk: int = 1024
) -> ClassStatistics:
    """One pass over the images: the mean of each class's features, and the covariance within classes.

    features: images (B, C, H, W) in [-1, 1] -> (B, d). Classes without an image get the mean of all. Memory: the
    class means, (n_classes x d) float32, and two d x d matrices.
    """
    if not len(images):
        raise InputError("the training set holds no images")
    sums, counts = torch.zeros(0), torch.zeros(images.n_classes)
    second = torch.zeros(0)
    for start in range(0, len(images), chunk):
        positions = np.arange(start, min(start + chunk, len(images)))
        with torch.no_grad():
            part = features(to_tensor(images.images_at(positions))).float().cpu()
        labels = torch.from_numpy(images.labels[positions])
        if not start:
            sums = torch.zeros(images.n_classes, part.shape[1])
            second = torch.zeros(part.shape[1], part.shape[1], dtype=torch.float64)
        sums.index_add_(0, labels, part)
        counts.index_add_(0, labels, torch.ones(len(labels)))
        second += part.T @ part
    means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], sums.sum(0) / counts.sum())
    # the total scatter about zero is that within classes and that of the means
    for rows, weights in zip(means.split(chunk), counts.split(chunk), strict=True):
        second -= (rows * weights[:, None]).T @ rows
    within = second / len(images)
    # differences of sums leave rounding errors: a class of one sample has no scatter
    return ClassStatistics(means, within if int(counts.max()) > 1 else torch.zeros_like(within))
