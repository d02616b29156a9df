"""What a training set says about its classes: their mean features, and how samples scatter about them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.data import ImageSet, to_tensor
from rootspace.data.progress import tracked
from rootspace.errors import InputError
from rootspace.evaluate import own_part
from rootspace.evaluate.processes import Processes
from rootspace.train import processes

#: Pixels are pooled to this side.
POOLED_SIDE = 16

#: So many images pass through the features at once: what these take does not grow with the chunk that is summed.
BATCH = 256


@dataclass(frozen=True)
class ClassStatistics:
    """means: float32 (n_classes, d). within: float64 (d, d), the covariance of samples about their class's mean."""

    means: Tensor
    within: Tensor


def pooled_pixels(images: Tensor) -> Tensor:
    """Images (B, C, H, W) -> (B, C side side), averaged down to a side of at most `POOLED_SIDE`."""
    return nn.functional.adaptive_avg_pool2d(images, min(POOLED_SIDE, *images.shape[2:])).flatten(1)


def class_statistics(
    images: ImageSet,
    features: Callable[[Tensor], Tensor] = pooled_pixels,
    chunk: int = 1024,
    *,
    device: torch.device | str = "cpu",
    progress: bool = False,
    collective: bool = False,
) -> ClassStatistics:
    """One pass over the images: the mean of each class's features, and the covariance within classes.

    features: images (B, C, H, W) in [-1, 1] on `device` -> (B, d), 256 images at a time at most. Classes without an
    image get the mean of all. Memory: the class means, (n_classes x d) float32, two d x d matrices, and the features of
    a chunk. With `progress` a bar is shown, on a terminal.

    With `collective`, every process of `torch.distributed`'s default group makes this call with the same images,
    passes its part of them through `features`, and gets the statistics of all, to the rounding of their sums.
    """
    if not len(images):
        raise InputError("the training set holds no images")
    here = Processes.of(collective)
    own = own_part(len(images)) if here.count > 1 else np.arange(len(images))
    with processes.together(patiently=True) if here.count > 1 else nullcontext():
        means, counts, second = _sums(images, own, features, chunk, torch.device(device), progress)
    for one in (means, counts, second):
        here.add_up(one)
    # in place: nothing else is as large
    everywhere = means.sum(0) / counts.sum()
    means /= counts.clamp_min(1)[:, None]
    means[counts == 0] = everywhere
    # the total scatter about zero is that within classes and that of the means
    for rows, weights in zip(means.split(chunk), counts.split(chunk), strict=True):
        second -= (rows * weights[:, None]).T @ rows
    within = second / len(images)
    # differences of sums leave rounding errors: a class of one sample has no scatter
    return ClassStatistics(means, within if int(counts.max()) > 1 else torch.zeros_like(within))


def _sums(
    images: ImageSet,
    own: np.ndarray,
    features: Callable[[Tensor], Tensor],
    chunk: int,
    device: torch.device,
    progress: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the images at the positions `own`: the sum of each class's features, their number, and the sum of products."""

    def features_at(positions: np.ndarray) -> Tensor:
        with torch.no_grad():
            return features(to_tensor(images.images_at(positions), device)).float().cpu()

    d = features_at(np.zeros(1, np.int64)).shape[1]  # also where no image falls to this process
    sums, counts = torch.zeros(images.n_classes, d), torch.zeros(images.n_classes)
    second = torch.zeros(d, d, dtype=torch.float64)
    for start in tracked(range(0, len(own), chunk), "mean features of classes", progress):
        positions = own[start : start + chunk]
        batches = np.split(positions, range(BATCH, len(positions), BATCH))
        part = torch.cat([features_at(batch) for batch in batches])
        labels = torch.from_numpy(images.labels[positions])
        sums.index_add_(0, labels, part)
        counts.index_add_(0, labels, torch.ones(len(labels)))
        second += part.T @ part
    return sums, counts, second
