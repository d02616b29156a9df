"""Random changes to a batch of images, all at once: every sample gets its own parameters, no Python loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from rootspace.errors import InputError
from rootspace.train.draws import Draws


@dataclass(frozen=True)
class Augment:
    """Random affine, stroke thickness, noise, erasing and flip of images (B, C, H, W) with values in [-1, 1].

    Every field is the largest change; each sample draws its own from the symmetric range. `rotate` and
    `shear` are degrees, `scale` a relative factor, `shift` a fraction of the side; `stroke` in [0, 1] mixes
    in the image with dark strokes one pixel thicker or thinner; `noise` is the largest standard deviation;
    `erase` the probability that a rectangle of up to half the side is painted over; `flip` mirrors half of
    the samples. What a call does depends on its generator only, and on the samples' places in the batch.

    >>> images = torch.ones(2, 1, 8, 8)
    >>> Augment()(images, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 1, 8, 8])
    >>> Augment.none()(images, torch.Generator()) is images
    True
    """

    rotate: float = 8.0
    scale: float = 0.12
    shift: float = 0.08
    shear: float = 8.0
    stroke: float = 0.8
    noise: float = 0.1
    erase: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise InputError(f"augment {field.name}: expected a number of at least 0, got {value!r}")
        for name, limit in {"rotate": 180, "scale": 0.95, "shear": 80, "stroke": 1, "erase": 1}.items():
            if getattr(self, name) > limit:
                raise InputError(f"augment {name}: expected at most {limit}, got {getattr(self, name)}")

    @classmethod
    def none(cls) -> Augment:
        """The augmentation that changes nothing."""
        return cls(rotate=0, scale=0, shift=0, shear=0, stroke=0, noise=0, erase=0, flip=False)

    @classmethod
    def photo(cls) -> Augment:
        """For photographs: small moves, mirroring and erasing, no stroke changes."""
        return cls(rotate=10, scale=0.2, shift=0.1, shear=5, stroke=0, noise=0.03, erase=0.25, flip=True)

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator, first: int = 0, of: int | None = None) -> Tensor:
        """Changed images (B, C, H, W) float; `generator` must live on the images' device.

        They may be a part of a batch of `of` images, those from number `first` on: they get what they would get in the
        whole of it.
        """
        if len(images) == 0:
            return images
        draws = Draws(generator, first, len(images), len(images) if of is None else of)
        if self.rotate or self.scale or self.shift or self.shear or self.flip:
            images = self._affine(images, draws)
        if self.stroke:
            images = _stroke(images, _symmetric(draws, self.stroke))
        deviation = _symmetric(draws, self.noise).abs().view(-1, 1, 1, 1) if self.noise else None
        painted = self._rectangles(images, draws) if self.erase else None
        if deviation is not None:
            images = torch.addcmul(images, draws.normal(images), deviation).clamp_(-1, 1)
        return images if painted is None else torch.where(*painted, images)

    def _affine(self, images: Tensor, draws: Draws) -> Tensor:
        angle = _symmetric(draws, math.radians(self.rotate))
        shear = _symmetric(draws, math.radians(self.shear)).tan()
        # 1 / (1 + s) instead of 1 - s: grid_sample takes the inverse map, from output to input
        across, down = (1 / (1 + _symmetric(draws, self.scale)) for _ in range(2))
        shifts = [_symmetric(draws, 2 * self.shift) for _ in range(2)]  # the grid's side is 2
        if self.flip:
            across = torch.where(_symmetric(draws, 1.0) < 0, -across, across)
        cos, sin = angle.cos(), angle.sin()
        height, width = images.shape[2:]
        x = ((torch.arange(width, device=images.device) + 0.5) * (2 / width) - 1).expand(height, width)
        y = ((torch.arange(height, device=images.device) + 0.5) * (2 / height) - 1)[:, None]
        # written out, because F.affine_grid takes longer than the sampling itself
        rows = (
            (cos * across, (cos * shear - sin) * down, shifts[0]),
            (sin * across, (sin * shear + cos) * down, shifts[1]),
        )
        grid = torch.stack([_cell(a) * x + _cell(b) * y + _cell(c) for a, b, c in rows], dim=-1)
        grid = grid.to(images.dtype)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _rectangles(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """What of the images is painted over, bool, and with which grey (B, 1, 1, 1)."""
        inside = torch.full((len(images), 1, 1, 1), True, device=images.device)
        for axis, size in ((2, images.shape[2]), (3, images.shape[3])):
            centre = draws.uniform() * size
            half = draws.uniform() * size / 4
            place = torch.arange(size, device=images.device) + 0.5
            strip = (place - centre[:, None]).abs() <= half[:, None]
            inside = inside & strip.view(len(images), *(size if i == axis else 1 for i in (1, 2, 3)))
        chosen = (draws.uniform() < self.erase).view(-1, 1, 1, 1)
        return inside & chosen, _symmetric(draws, 1.0).view(-1, 1, 1, 1).to(images.dtype)


def _symmetric(draws: Draws, limit: float) -> Tensor:
    """One number a sample, (B,) float32, uniform in [-limit, limit)."""
    return (draws.uniform() * 2 - 1) * limit


def _stroke(images: Tensor, amount: Tensor) -> Tensor:
    """Thicken (amount > 0) or thin (amount < 0) dark strokes: (B, C, H, W) and (B,) in [-1, 1]."""
    # the sign is folded in, so that one pooling serves both: the minimum is the maximum of the negative
    sign = torch.where(amount > 0, -1.0, 1.0).view(-1, 1, 1, 1).to(images.dtype)
    signed = images * sign
    pooled = _maximum_of_three(_maximum_of_three(signed, 2), 3)  # max_pool2d takes 15 times longer on a CPU
    return torch.lerp(signed, pooled, amount.abs().view(-1, 1, 1, 1).to(images.dtype)) * sign


def _maximum_of_three(images: Tensor, axis: int) -> Tensor:
    """Each value's maximum with its two neighbours along `axis`; the edge has one."""
    length = images.shape[axis]
    if length == 1:
        return images
    pairs = torch.maximum(images.narrow(axis, 0, length - 1), images.narrow(axis, 1, length - 1))
    first, last = pairs.narrow(axis, 0, 1), pairs.narrow(axis, length - 2, 1)
    inner = torch.maximum(pairs.narrow(axis, 0, length - 2), pairs.narrow(axis, 1, length - 2))
    return torch.cat([first, inner, last], dim=axis)


def _cell(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1), to be spread over an image."""
    return values[:, None, None]
