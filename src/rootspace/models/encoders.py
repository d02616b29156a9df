"""Small encoders that train on a laptop, and their registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rootspace.errors import InputError

LIMIT = 65536  # no size of an encoder is larger: a broken config must not allocate the machine's memory


class SmallConv(nn.Module):
    """Images (B, in_channels, H, W) to features (B, feature_dim): three 3x3 convolutions that halve the side,
    and `depth` more between them, at a quarter of the image's side.

    The last maps are kept as a 4 x 4 grid, not averaged: where a stroke lies tells characters apart.

    >>> SmallConv(width=8)(torch.zeros(3, 1, 32, 32)).shape
    torch.Size([3, 512])
    """

    GRID = 4

    def __init__(self, in_channels: int = 1, width: int = 32, depth: int = 1) -> None:
        super().__init__()
        check_sizes("small_conv", in_channels=in_channels, width=width)
        check_sizes("small_conv", least=0, depth=depth)
        self.in_channels, self.width, self.depth = in_channels, width, depth
        self.feature_dim = 4 * width * self.GRID**2
        self.layers = nn.Sequential(
            _conv(in_channels, width, stride=2),
            _conv(width, 2 * width, stride=2),
            *(_conv(2 * width, 2 * width) for _ in range(depth)),
            _conv(2 * width, 4 * width, stride=2),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.5 times faster on a CPU

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layers(images.contiguous(memory_format=torch.channels_last))
        if maps.shape[-2:] != (self.GRID, self.GRID):
            maps = F.adaptive_avg_pool2d(maps, self.GRID)
        return maps.flatten(1)

    def config(self) -> dict[str, Any]:
        """What `build` needs to make this encoder again, weights apart."""
        return {
            "name": "small_conv",
            "in_channels": self.in_channels,
            "width": self.width,
            "depth": self.depth,
        }


class SmallViT(nn.Module):
    """Images (B, in_channels, size, size) to features (B, width): a vision transformer of a few layers.

    Other sizes that are a multiple of `patch` are taken too: the position embedding is interpolated.

    >>> SmallViT(width=16, depth=1, heads=2)(torch.zeros(3, 1, 32, 32)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        in_channels: int = 1,
        size: int = 32,
        patch: int = 8,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes("small_vit", in_channels=in_channels, size=size, patch=patch, width=width, heads=heads)
        check_sizes("small_vit", least=0, depth=depth)
        if size % patch or width % heads:
            raise InputError(
                f"small_vit: expected a size divisible by patch and a width divisible by heads, "
                f"got size {size}, patch {patch}, width {width}, heads {heads}"
            )
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise InputError(f"small_vit dropout: expected a share in [0, 1), got {dropout!r}")
        self._config = {
            "name": "small_vit",
            "in_channels": in_channels,
            "size": size,
            "patch": patch,
            "width": width,
            "depth": depth,
            "heads": heads,
            "dropout": dropout,
        }
        self.in_channels, self.feature_dim = in_channels, width
        side = size // patch
        self.patches = nn.Conv2d(in_channels, width, patch, stride=patch)
        self.position = nn.Parameter(torch.randn(1, width, side, side) * 0.02)
        self.blocks = nn.Sequential(*(_Block(width, heads, float(dropout)) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        patch = self.patches.kernel_size[0]
        if min(height, width) < patch:
            raise InputError(f"small_vit: images of {height} x {width} are smaller than a patch of {patch}")
        maps = self.patches(images)
        position: Tensor = self.position
        if maps.shape[-2:] != position.shape[-2:]:
            position = F.interpolate(position, maps.shape[-2:], mode="bilinear", align_corners=False)
        tokens = (maps + position).flatten(2).transpose(1, 2)
        return self.norm(self.blocks(tokens)).mean(dim=1)

    def config(self) -> dict[str, Any]:
        """What `build` needs to make this encoder again, weights apart."""
        return dict(self._config)


class _Block(nn.Module):
    """Attention and a two-layer perceptron, each normalised before and added after."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed = self.mixed(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self._drop(self.out(attended))
        return tokens + self._drop(self.narrow(F.gelu(self.wide(self.norm2(tokens)))))

    def _drop(self, tokens: Tensor) -> Tensor:
        return F.dropout(tokens, self.dropout, self.training) if self.dropout else tokens


ENCODERS: dict[str, Callable[..., nn.Module]] = {"small_conv": SmallConv, "small_vit": SmallViT}
"""Name in a configuration -> constructor. A registered encoder has `feature_dim` and `config()`."""

PREFIXES: dict[str, Callable[..., nn.Module]] = {}
"""What names of another library's models begin with -> constructor, which is given the rest of the name first."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def check_sizes(encoder: str, least: int = 1, **sizes: Any) -> None:
    """Raise `InputError` unless every size is a whole number from `least` to `LIMIT`."""
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LIMIT:
            raise InputError(f"{encoder} {name}: expected a whole number from {least} to {LIMIT}, got {value!r}")
