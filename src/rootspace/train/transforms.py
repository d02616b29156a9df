"""Transforms of other libraries, such as torchvision's v2, as the augmentation of `fit`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rootspace.errors import InputError

VALUES = ("float", "uint8")

_SLACK = 0.5  # what resampling and noise may reach beyond [0, 1], and no normalisation stays within


@dataclass(frozen=True)
class Transform:
    """Any callable on image tensors as `augment=` of `fit`: images (B, C, H, W) in [-1, 1] to such images.

    transform: (C, H, W) -> (C, H', W') for each image by itself, so that each has its own draw; with `batch`, (B, C, H,
    W) -> (B, C, H', W') at once, which is faster and draws once for all where the transform does not say otherwise.
    values: what it is given, "float" in [0, 1] or "uint8"; it may give either. Floats a little outside are clipped; of
    the first batch, those far outside (of a Normalize, or of bytes without scale=True) are an `InputError`.

    What it draws from torch's global generators depends on the generator given alone, and they are left as they were.
    So a run repeats itself, and resumes exactly, with transforms that draw from torch, as torchvision's v2 do; not with
    those that draw from `random` or NumPy. A run's identity holds the transform's `repr`. Raises `InputError` where it
    gives something else than images of one size.

    >>> Transform(lambda image: image.flip(-1))(torch.tensor([[[[-1.0, 0.0, 1.0]]]]), torch.Generator()).tolist()
    [[[[1.0, 0.0, -1.0]]]]
    >>> Transform(torch.fliplr, values="half")
    Traceback (most recent call last):
    rootspace.errors.InputError: transform values: expected one of float, uint8, got 'half'
    """

    transform: Callable[[Tensor], Any]
    batch: bool = False
    values: str = "float"

    def __post_init__(self) -> None:
        if not callable(self.transform):
            raise InputError(f"transform: expected a callable on image tensors, got {self.transform!r}")
        if not isinstance(self.batch, bool):
            raise InputError(f"transform batch: expected True or False, got {self.batch!r}")
        if self.values not in VALUES:
            raise InputError(f"transform values: expected one of {', '.join(VALUES)}, got {self.values!r}")

    def __repr__(self) -> str:
        # an address in memory would be another one when the run is resumed
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(self.transform).split()))
        return f"Transform({text}, batch={self.batch}, values={self.values!r})"

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Changed images (B, C, H', W') in [-1, 1]."""
        if len(images) == 0:
            return images
        pictures = images.add(1).mul_(0.5)
        if self.values == "uint8":
            pictures = pictures.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        with _global_generators(_seed(generator), images.device):
            if self.batch:
                changed = _checked(self.transform(pictures), like=pictures)
            else:
                changed = _stacked([_checked(self.transform(picture), like=picture) for picture in pictures])
        self._check_once(changed)
        scale = 0.5 if changed.is_floating_point() else 127.5
        return changed.to(images.dtype).div(scale).sub_(1).clamp_(-1, 1)

    def _check_once(self, changed: Tensor) -> None:
        """`InputError` where floats are no colours; of the first batch alone, since looking at them waits for a GPU."""
        if self.__dict__.get("_looked_at") or not changed.is_floating_point():
            return
        low, high = (float(value) for value in torch.aminmax(changed))
        if low < -_SLACK or high > 1 + _SLACK:
            raise InputError(
                f"transform: expected floats in [0, 1], got {low:.3g} to {high:.3g}; leave Normalize out (the encoder "
                "gets [-1, 1] without it), and give ToDtype scale=True"
            )
        object.__setattr__(self, "_looked_at", True)


def _checked(given: Any, like: Tensor) -> Tensor:
    if not isinstance(given, Tensor) or given.ndim != like.ndim or (like.ndim == 4 and len(given) != len(like)):
        got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise InputError(f"transform: expected an image tensor as it was given, {tuple(like.shape)}, got {got}")
    if not given.is_floating_point() and given.dtype != torch.uint8:
        raise InputError(f"transform: expected values in float or uint8, got {given.dtype}")
    return given


def _stacked(pictures: list[Tensor]) -> Tensor:
    shapes = sorted({tuple(picture.shape) for picture in pictures})
    if len(shapes) > 1:
        raise InputError(
            f"transform: expected images of one size, got {shapes[0]} and {shapes[-1]}; end in a fixed size"
        )
    return torch.stack(pictures)


def _seed(generator: torch.Generator) -> int:
    """A number that depends on where the generator is, which is then somewhere else; without waiting for a GPU."""
    if generator.device.type != "cuda":
        return int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
    # reading a number drawn on the GPU would wait for it; seed and offset are kept by the host
    offset = generator.get_offset()
    generator.set_offset(offset + 4)
    place = repr((generator.initial_seed(), offset)).encode()
    return int.from_bytes(hashlib.blake2b(place, digest_size=8).digest(), "little") >> 1


@contextmanager
def _global_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and a device, and give them back as they were."""
    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    else:
        with torch.random.fork_rng(devices=[device], device_type=device.type):
            torch.default_generator.manual_seed(seed)
            getattr(torch, device.type).manual_seed(seed)
            yield
