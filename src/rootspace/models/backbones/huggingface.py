"""Any vision model of Hugging Face transformers as a backbone."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rootspace.errors import InputError, require
from rootspace.files import read_json
from rootspace.models.backbones import weights
from rootspace.models.backbones.wrapping import Wrapped, refusing, without_path
from rootspace.models.encoders import check_sizes

#: Entries of a model's configuration that say nothing of its shape, or that would fetch or run something.
_LEFT_OUT = frozenset(
    {
        "architectures",
        "attn_implementation",
        "auto_map",
        "dtype",
        "experts_implementation",
        "id2label",
        "label2id",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "quantization_config",
        "return_dict",
        "torch_dtype",
        "transformers_version",
        "use_kernels",
    }
)


class HuggingFace(Wrapped):
    """A vision model of transformers, by hub id or folder: images (B, C, H, W) in [-1, 1] to its last hidden state.

    That is maps (B, F, H, W) or tokens (B, T, F), which `Embedder` averages. config: the model's own configuration as
    a dict, with which nothing is read or fetched; else it is read from the folder or the hub, with mean and std. Code
    that a repository brings is never run. Position embeddings are interpolated to the images' size. Raises `InputError`
    where there is no such model, or it takes no images.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = weights.COLOURS,
        config: dict[str, Any] | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> None:
        check_sizes(f"hf:{name}", in_channels=in_channels)
        own = config_of(name) if config is None else plain_config(config)
        own_mean, own_std = _colours(name) if config is None else (None, None)
        self.place, self.described = name, {**own, "num_channels": in_channels}
        network = network_of(name, self.described)
        super().__init__(
            f"hf:{without_path(name)}", network, in_channels, mean or own_mean or [0.5], std or own_std or [0.5]
        )
        self.feature_dim, self.unused = _probed(name, network, self.described)
        for parameter_name, parameter in network.named_parameters():
            if parameter_name in self.unused:
                parameter.requires_grad_(False)
        self._side = _side(self.described)
        self._interpolates = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters

    def forward(self, images: Tensor) -> Tensor:
        options: dict[str, Any] = {}
        if self._interpolates and self._side is not None and images.shape[-2:] != (self._side, self._side):
            options["interpolate_pos_encoding"] = True
        state: Tensor = self.network(pixel_values=self.standardised(images), **options).last_hidden_state
        return state

    def config(self) -> dict[str, Any]:
        """What `build` needs to make this encoder again, without a network and weights apart."""
        return {
            "name": self.name,
            "in_channels": self.in_channels,
            "config": self.described,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def load(self, tensors: dict[str, Tensor], source: str) -> None:
        """Take weights over: see `weights.load_into`. Names are converted as transformers does."""
        found = weights.named_for(self.network.state_dict(), tensors, source)
        take_weights(self.network, self.described, source, self.unused, state_dict=found)

    def load_pretrained(self) -> None:
        """Take the weights of a local folder, or fetch those of a hub id; only safetensors, else `InputError`."""
        take_weights(self.network, self.described, f"hf:{self.place}", self.unused, place=self.place)


def usual_input(name: str, config: dict[str, Any] | None = None) -> tuple[int, int] | None:
    """The side of the images that a model's weights were trained with, and their channels; None if it does not say."""
    found = config_of(name) if config is None else plain_config(config)
    side = _side(found)
    return None if side is None else (side, int(found.get("num_channels", weights.COLOURS)))


def take_weights(
    network: nn.Module,
    config: dict[str, Any],
    source: str,
    unused: Iterable[str] = (),
    *,
    place: str | None = None,
    state_dict: dict[str, Tensor] | None = None,
) -> None:
    """Load a network of this configuration from a local folder or hub id, `place`, or from tensors, in place.

    Names are converted as transformers does, and a first convolution is made fit as `weights.load_into` does, which
    says too what `unused` is. Of files only safetensors are read. `source` is how errors call what the weights are of.
    """
    options: dict[str, Any] = {"use_safetensors": True} if state_dict is None else {"state_dict": state_dict}
    # with as many channels as the network takes, or as the weights of pictures have
    coloured = {**config, "num_channels": weights.COLOURS}
    for asked in [config] if config.get("num_channels", weights.COLOURS) == weights.COLOURS else [config, coloured]:
        with refusing(f"{source}: no weights could be taken over (only safetensors are read)"), _quiet():
            loaded, said = type(network).from_pretrained(  # type: ignore[attr-defined]
                place,
                config=_configuration(source, asked),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
        if not said["mismatched_keys"]:
            break
    tensors = {name: one for name, one in loaded.state_dict().items() if name not in said["missing_keys"]}
    # shapes to be refused, with the numbers that the file holds
    tensors |= {name: torch.empty(got, device="meta") for name, got, _ in said["mismatched_keys"]}
    weights.load_into(network, tensors, source, unused)


def config_of(name: str) -> dict[str, Any]:
    """The configuration of a local folder or hub id, of its vision part where it has several."""
    place = Path(name)
    # in a folder that is here, a name is misspelt, and the hub would be asked for a minute
    if not place.exists() and place.parent != Path() and place.parent.is_dir():
        raise InputError(f"hf:{name}: no configuration; there is no {place.name!r} in the folder {place.parent}")
    with refusing(f"hf:{name}: no configuration; expected a hub id that can be reached, or a local folder"), _quiet():
        config = _transformers().AutoConfig.from_pretrained(name, trust_remote_code=False)
        config = getattr(config, "vision_config", config)
        return plain_config(json.loads(config.to_json_string(use_diff=False)))


def plain_config(config: Any) -> dict[str, Any]:
    """What of a configuration describes the network."""
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise InputError(f"backbone: expected the configuration of a transformers model, got {config!r}")
    if config["model_type"].startswith("timm"):
        raise InputError(f"backbone: a {config['model_type']} of transformers is one of timm's; name it as timm:NAME")
    if config.get("backbone") or config.get("backbone_config"):
        raise InputError(f"backbone: a {config['model_type']} stands on a backbone of its own; name that one instead")
    return {
        key: plain_config(value) if isinstance(value, dict) and "model_type" in value else value
        for key, value in config.items()
        if key not in _LEFT_OUT and not key.startswith("_")
    }


def _configuration(what: str, described: dict[str, Any]) -> Any:
    with refusing(f"{what}: no configuration of a transformers model"), _quiet():
        return _transformers().AutoConfig.for_model(**described)


def network_of(what: str, described: dict[str, Any]) -> nn.Module:
    config = _configuration(what, described)
    with refusing(f"{what}: transformers cannot build it"), _quiet():
        network: nn.Module = _transformers().AutoModel.from_config(config, trust_remote_code=False)
    return network.train()


def _probed(what: str, network: nn.Module, described: dict[str, Any]) -> tuple[int, frozenset[str]]:
    """How many features the last hidden state has, and the parameters that it does not depend on.

    Nothing is computed: tensors on "meta" have shapes only.
    """
    side = _side(described) or 224
    images = torch.zeros(2, described["num_channels"], side, side, device="meta")
    weight = {name: torch.empty_like(one, device="meta").requires_grad_() for name, one in network.named_parameters()}
    buffers = {name: torch.empty_like(one, device="meta") for name, one in network.named_buffers()}
    with refusing(f"{what}: a {described['model_type']} does not serve as backbone"):
        state = functional_call(network, {**weight, **buffers}, kwargs={"pixel_values": images}).last_hidden_state
        gradients = torch.autograd.grad(state.sum(), list(weight.values()), allow_unused=True)
    unused = frozenset(name for name, gradient in zip(weight, gradients, strict=True) if gradient is None)
    return state.shape[1 if state.ndim == 4 else -1], unused


def _colours(name: str) -> tuple[list[float] | None, list[float] | None]:
    """The mean and deviation of images in [0, 1] that a repository asks for; None where it says nothing."""
    find = require("transformers.utils", extra="hf").cached_file
    with refusing(f"hf:{name}: its preprocessor_config.json cannot be read"), _quiet():
        path = find(name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    asked = {} if path is None else read_json(Path(path))
    if not isinstance(asked, dict) or not asked.get("do_normalize", True):
        return [0.0], [1.0]
    return asked.get("image_mean"), asked.get("image_std")


def _side(described: dict[str, Any]) -> int | None:
    """The side of the images that a configuration names."""
    size = described.get("image_size")
    if isinstance(size, (list, tuple)) and size and all(side == size[0] for side in size):
        size = size[0]
    return size if isinstance(size, int) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and reports of transformers: what went wrong is said by us."""
    logging = _transformers().logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _transformers() -> Any:
    return require("transformers", extra="hf")
