"""A network of another library as one of our encoders: images in [-1, 1] in, features out, described by a config."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rootspace.errors import InputError, MissingExtraError, require


class Wrapped(nn.Module):
    """`network` behind a change of scale: images (B, in_channels, H, W) in [-1, 1] to what it makes of them.

    mean, std: of the images in [0, 1] that its weights were trained with, one number a channel; other numbers of
    channels take them in turns, a single one their means, as `timm.models.adapt_input_conv` does with weights.
    """

    def __init__(
        self, name: str, network: nn.Module, in_channels: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.name, self.network, self.in_channels = name, network, in_channels
        self.mean, self.std = _numbers(f"{name} mean", mean), _numbers(f"{name} std", std)
        if min(self.std) <= 0:
            raise InputError(f"{name} std: expected positive numbers, got {list(self.std)}")
        # (x + 1) / 2 lies in [0, 1]; one product and sum brings it to the mean and deviation
        means, deviations = (torch.tensor(_spread(each, in_channels)) for each in (self.mean, self.std))
        self.register_buffer("scale", (0.5 / deviations).view(-1, 1, 1), persistent=False)
        self.register_buffer("shift", ((0.5 - means) / deviations).view(-1, 1, 1), persistent=False)
        self.scale: Tensor
        self.shift: Tensor

    def standardised(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to images of the mean and deviation that the network was trained with."""
        return torch.addcmul(self.shift, images, self.scale)

    def config(self) -> dict[str, Any]:
        """What `build` needs to make this encoder again, without a network and weights apart."""
        raise NotImplementedError

    def load(self, tensors: dict[str, Tensor], source: str) -> None:
        """Take weights over, their names converted as the library does: see `weights.load_into`."""
        raise NotImplementedError

    def load_pretrained(self) -> None:
        """Take the weights that the name stands for, fetched where they are not at hand; else `InputError`."""
        raise NotImplementedError


def without_path(name: str) -> str:
    """A model's name as it may be shown elsewhere: of a folder here its last part, because a path says nothing there.

    >>> without_path("facebook/dinov2-small"), without_path("/")
    ('facebook/dinov2-small', '')
    """
    return Path(name).name if Path(name).is_dir() else name


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever a library raises inside into an `InputError` that begins with `what`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # from AssertionError to those of HTTP clients: there is no common class
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{what}: {text[:300]}") from error


def require_timm(module: str = "timm") -> Any:
    """timm, or a module of it; else `InputError` that says what to install."""
    try:
        with refusing("timm cannot be imported"):
            return require(module, extra="timm")
    except MissingExtraError:
        raise
    except InputError as error:
        if "torchvision" not in str(error):
            raise
        # it was built for another torch, and so is no missing module
        cure = f"install the torchvision that matches torch {torch.__version__}, or both anew from the same index"
        raise InputError(f"{error}; {cure}") from None


def _numbers(what: str, values: Any) -> tuple[float, ...]:
    if not (
        isinstance(values, (list, tuple))
        and values
        and all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
    ):
        raise InputError(f"{what}: expected a list of finite numbers, got {values!r}")
    return tuple(map(float, values))


def _spread(values: Sequence[float], channels: int) -> list[float]:
    """One value for each channel.

    >>> _spread((1.0, 2.0, 3.0), 1), _spread((1.0, 2.0, 3.0), 4)
    ([2.0], [1.0, 2.0, 3.0, 1.0])
    """
    if channels == 1:
        return [sum(values) / len(values)]
    return [values[channel % len(values)] for channel in range(channels)]
