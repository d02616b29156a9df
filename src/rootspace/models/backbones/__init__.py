"""A backbone by its name: one of our small encoders, any model of timm, any vision model of transformers."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from rootspace.errors import InputError, MissingExtraError
from rootspace.models.backbones import huggingface, timm, weights
from rootspace.models.backbones.wrapping import Wrapped, without_path
from rootspace.models.encoders import ENCODERS, PREFIXES

#: What stands before a name of another library.
TIMM, HUGGING_FACE = "timm:", "hf:"


def build(config: dict[str, Any]) -> nn.Module:
    """The encoder that `config` describes, images (B, C, H, W) in [-1, 1] to features; else `InputError`.

    name: a registered encoder ("small_conv"), a timm model ("timm:resnet50", or "resnet50"), or a transformers model
    by hub id or local folder ("hf:facebook/dinov2-small"). Further options are that encoder's; for all of them:
    pretrained, to take the weights that the name has (fetched where they are not at hand), and checkpoint, a
    .safetensors file or rootspace model folder whose weights are taken. Raises `MissingExtraError` where the library
    is not installed.

    >>> build({"name": "small_conv", "width": 8}).config()
    {'name': 'small_conv', 'in_channels': 1, 'width': 8, 'depth': 1}
    """
    name, options = _parts(config)
    pretrained, checkpoint = _taken(name, options)
    tensors = None if checkpoint is None else weights.read(checkpoint)  # before a large network is built
    backbone = _built(name, options)
    if pretrained:
        if not isinstance(backbone, Wrapped):
            raise _without_weights(name)
        backbone.load_pretrained()
    if tensors is not None:
        source = f"checkpoint {checkpoint}"
        if isinstance(backbone, Wrapped):
            backbone.load(tensors, source)
        else:
            weights.load_into(backbone, weights.named_for(backbone.state_dict(), tensors, source), source)
    return backbone


def check(config: dict[str, Any]) -> None:
    """Raise `InputError` where `build` would for a name, an option's name, or a checkpoint that is not there.

    Nothing is built, read or fetched.
    """
    name, options = _parts(config)
    pretrained, checkpoint = _taken(name, options)
    make, _ = _constructor(name)
    _check_options(name, make, options)
    if pretrained and name in ENCODERS:
        raise _without_weights(name)
    if checkpoint is not None:
        weights.check(checkpoint)


def usual_input(config: dict[str, Any]) -> tuple[int, int] | None:
    """The side of the images that a backbone's weights were trained with, and their channels; None if it has none.

    Nothing is built. Raises `InputError` as `build` does.
    """
    name, options = _parts(config)
    if _is_of_timm(name):
        return timm.usual_input(_known_to_timm(name))
    if name.startswith(HUGGING_FACE):
        return huggingface.usual_input(name.removeprefix(HUGGING_FACE), options.get("config"))
    return None


def fitted(config: dict[str, Any], shape: tuple[int, int, int]) -> dict[str, Any]:
    """The configuration, for images of this (H, W, C) where it does not say another.

    >>> fitted({"name": "small_conv"}, (32, 32, 3))
    {'in_channels': 3, 'name': 'small_conv'}
    """
    # models of timm alone may be made for one side
    size = {"size": shape[0]} if _is_of_timm(_parts(config)[0]) else {}
    return {"in_channels": shape[2], **size, **config}


def shareable(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as others may see it: where something lies on this machine is left out of it.

    >>> shareable({"name": "resnet50", "checkpoint": "/home/me/weights.safetensors"})
    {'name': 'resnet50', 'checkpoint': 'weights.safetensors'}
    """
    name, options = _parts(config)
    if prefix := next(filter(name.startswith, (HUGGING_FACE, *PREFIXES)), None):
        name = prefix + without_path(name.removeprefix(prefix))
    if isinstance(options.get("checkpoint"), (str, Path)):
        options["checkpoint"] = Path(options["checkpoint"]).name
    return {"name": name, **options}


def check_stored(config: dict[str, Any]) -> None:
    """Raise `InputError` where a stored configuration would have `build` read or fetch anything."""
    for key in ("pretrained", "checkpoint"):
        if key in config:
            raise InputError(f"backbone: a stored model's weights are its own; {key!r} does not belong there")
    if str(config.get("name")).startswith((HUGGING_FACE, *PREFIXES)) and "config" not in config:
        raise InputError(f"backbone {config['name']}: the model's own configuration is missing")


def _parts(config: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(config, dict) or not isinstance(config.get("name"), str):
        raise InputError(f"backbone: expected an object with a name, got {config!r}")
    return config["name"], {key: value for key, value in config.items() if key != "name"}


def _taken(name: str, options: dict[str, Any]) -> tuple[bool, Any]:
    """Whether pretrained weights are asked for, and the checkpoint, taken out of the options."""
    pretrained, checkpoint = options.pop("pretrained", False), options.pop("checkpoint", None)
    if not isinstance(pretrained, bool):
        hint = f"; write {pretrained.lower()}" if pretrained in ("True", "False") else ""
        raise InputError(f"backbone {name}: pretrained: expected true or false, got {pretrained!r}{hint}")
    if pretrained and checkpoint is not None:
        raise InputError(f"backbone {name}: pretrained and a checkpoint are two sets of weights; give one")
    return pretrained, checkpoint


def _without_weights(name: str) -> InputError:
    return InputError(f"backbone {name}: there are no pretrained weights; give a checkpoint, or a model of timm")


def _built(name: str, options: dict[str, Any]) -> nn.Module:
    make, names = _constructor(name)
    _check_options(name, make, options)
    try:
        return make(*names, **options)
    except TypeError as error:
        raise InputError(f"backbone {name}: {error}") from None


def _constructor(name: str) -> tuple[Callable[..., nn.Module], tuple[str, ...]]:
    """What makes the encoder of a name, and what it is given before the options."""
    if name in ENCODERS:
        return ENCODERS[name], ()
    if prefix := next(filter(name.startswith, PREFIXES), None):
        return PREFIXES[prefix], (name.removeprefix(prefix),)
    if name.startswith(HUGGING_FACE):
        return huggingface.HuggingFace, (name.removeprefix(HUGGING_FACE),)
    return timm.Timm, (_known_to_timm(name),)


def _check_options(name: str, make: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    """Raise `InputError` for an option that the encoder does not have, with the nearest that it has."""
    parameters = inspect.signature(make).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    # the first of another library's is the name
    known = [parameter.name for parameter in parameters if name in ENCODERS or parameter.name != "name"]
    known += ["pretrained", "checkpoint"]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(str(option), known, n=1)
            text = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            more = "; a model's own options stand under options" if "options" in known and not near else ""
            raise InputError(f"backbone {name}: there is no option {option!r}; {text}{more}")


def _is_of_timm(name: str) -> bool:
    """Whether a name is looked for in timm: it is no encoder of ours, and of no other library."""
    return name not in ENCODERS and not name.startswith((HUGGING_FACE, *PREFIXES))


def _known_to_timm(name: str) -> str:
    """The name without what stands before it; `InputError` with the nearest known ones where timm has no such model."""
    asked = name.removeprefix(TIMM)
    there = find_spec("timm") is not None
    try:
        known = timm.names() if there or name.startswith(TIMM) else []
    except MissingExtraError:
        raise
    except InputError as error:
        # what is installed does not go together, which says nothing of a misspelt encoder of ours
        if near := difflib.get_close_matches(asked, ENCODERS):
            nearest = f"no small encoder is called {name!r}; the nearest are {', '.join(near)}"
            raise InputError(f"backbone: {nearest}. For models of timm: {error}") from None
        raise
    if asked.partition(".")[0] in known:
        return asked
    near = difflib.get_close_matches(asked, [*ENCODERS, *known])
    text = f"backbone: no encoder is called {name!r}; " + (
        f"the nearest are {', '.join(near)}"
        if near
        else f"there are {', '.join(ENCODERS)}, those of timm, and hf:MODEL"
    )
    if there or near:
        raise InputError(text)
    raise MissingExtraError(f"{text}. Models of timm need: pip install 'rootspace[timm]'")
