"""Any model of timm as a backbone."""

from __future__ import annotations

import sys
from math import isfinite
from typing import Any

from torch import Tensor

from rootspace.errors import InputError, require
from rootspace.models.backbones import weights
from rootspace.models.backbones.wrapping import Wrapped, refusing, require_timm
from rootspace.models.encoders import check_sizes

#: What of `timm.create_model` is decided here, or would read files.
_NO_OPTIONS = frozenset(
    {
        "cache_dir",
        "checkpoint_path",
        "exportable",
        "features_only",
        "img_size",
        "in_chans",
        "model_name",
        "no_jit",
        "num_classes",
        "out_indices",
        "scriptable",
    }
)


class Timm(Wrapped):
    """A timm model by its name (`resnet50`, `vit_small_patch16_224.augreg_in21k`) without its classifier.

    Images (B, in_channels, H, W) in [-1, 1] to features (B, feature_dim), pooled as the model itself does. size: the
    images' side, which some models (most vision transformers) are made for; others ignore it. mean and std are the
    name's own unless given. options: the model's own, plain values by name, such as {"drop_path_rate": 0.1}. Raises
    `InputError` for a name that timm does not know, and for options that the model does not take.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = weights.COLOURS,
        size: int | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        timm = require_timm()
        self.options = own = plain_options(name, options)
        check_sizes(f"timm:{name}", in_channels=in_channels, **({} if size is None else {"size": size}))
        defaults = _defaults(name)
        fixed = bool(defaults.fixed_input_size)
        sized = {"img_size": size} if fixed and size is not None else {}
        with refusing(f"backbone timm:{name}"):
            network = timm.create_model(name, num_classes=0, in_chans=in_channels, **sized, **own)
        super().__init__(
            f"timm:{name}",
            network,
            in_channels,
            list(defaults.mean) if mean is None else mean,
            list(defaults.std) if std is None else std,
        )
        # num_features is that of the maps, which some models widen behind the pooling
        self.feature_dim: int = getattr(network, "head_hidden_size", None) or network.num_features
        self.size = size
        self._side = (size or defaults.input_size[-1]) if fixed else None

    def forward(self, images: Tensor) -> Tensor:
        if self._side is not None and images.shape[-2:] != (self._side, self._side):
            height, width = images.shape[-2:]
            raise InputError(
                f"{self.name}: made for images of {self._side} x {self._side}, got {height} x {width}; "
                f'give the images\' side as "size", or other images'
            )
        features: Tensor = self.network(self.standardised(images))
        return features

    def config(self) -> dict[str, Any]:
        """What `build` needs to make this encoder again, without a network and weights apart."""
        return {
            "name": self.name,
            "in_channels": self.in_channels,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            **({"options": self.options} if self.options else {}),
        }

    def load(self, tensors: dict[str, Tensor], source: str) -> None:
        """Take weights over: see `weights.load_into`. Names and position embeddings are converted as timm does."""
        found = weights.named_for(self.network.state_dict(), tensors, source)
        # by convention a family's own, in its module
        convert = getattr(sys.modules[type(self.network).__module__], "checkpoint_filter_fn", None)
        if convert is not None:
            with refusing(source):
                found = convert(found, self.network)
        weights.load_into(self.network, found, source)

    def load_pretrained(self) -> None:
        """Fetch the weights that belong to the name, or take them from the Hugging Face cache; else `InputError`."""
        repository = _defaults(self.name.removeprefix("timm:")).hf_hub_id
        if not repository:
            raise InputError(f"{self.name}: timm has no pretrained weights of this name as safetensors")
        repository, _, revision = repository.partition("@")
        hub = require("huggingface_hub", extra="timm")
        with refusing(
            f"{self.name}: its weights could not be fetched from {repository}; with a file at hand give it "
            "as checkpoint"
        ):
            path = hub.hf_hub_download(repository, "model.safetensors", revision=revision or None)
        self.load(weights.read(path), f"{self.name} ({repository})")


def names() -> list[str]:
    """The architectures that timm knows."""
    known: list[str] = require_timm().list_models()
    return known


def usual_input(name: str) -> tuple[int, int]:
    """The side of the images that a name's weights were trained with, and their channels."""
    channels, side, _ = _defaults(name).input_size
    return side, channels


def _defaults(name: str) -> Any:
    """What timm knows of a name: input size, mean, deviation, where its weights are."""
    timm = require_timm()
    if not timm.is_model(name):
        raise InputError(f"backbone timm:{name}: timm {timm.__version__} knows no such model")
    with refusing(f"backbone timm:{name}"):
        return timm.get_pretrained_cfg(name)


def plain_options(name: str, options: Any) -> dict[str, Any]:
    """Options for the model's constructor; `InputError` for what is no plain value, or not to be decided here."""
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise InputError(f"backbone timm:{name}: options: expected entries of the model's own, got {options!r}")
    for key, value in options.items():
        # a stored configuration may come from anybody: nothing of it reads, fetches, or changes what comes out
        if key in _NO_OPTIONS or str(key).startswith("pretrained"):
            raise InputError(f"backbone timm:{name}: options: {key!r} is not for the model to take; leave it out")
        plain = value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and isfinite(value))
        if not isinstance(key, str) or not plain:
            raise InputError(f"backbone timm:{name}: options: expected plain values by name, got {key!r}: {value!r}")
    return dict(options)
