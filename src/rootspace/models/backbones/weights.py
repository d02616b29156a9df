"""Weights from a file into a network: safetensors only, names and shapes made to fit or refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rootspace.errors import InputError
from rootspace.models.backbones.wrapping import require_timm

#: What wrappers put before a network's own names: DataParallel, compile, Lightning and others, `Wrapped`.
PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.", "network.")

#: Colours, of which first convolutions are made fit for other numbers of channels.
COLOURS = 3


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of the backbone in a rootspace model folder; else `InputError`."""
    path = check(path)
    if path.is_dir():
        from rootspace.models import folder  # which builds embedders, and so imports this

        return folder.backbone_weights(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"checkpoint {path}: not a readable safetensors file ({error})") from None


def check(path: str | Path) -> Path:
    """The path of a file that may hold weights, or of a model folder, which are not read; else `InputError`."""
    if not isinstance(path, (str, Path)):
        raise InputError(f"checkpoint: expected the path of a .safetensors file or a model folder, got {path!r}")
    path = Path(path)
    if path.is_dir():
        from rootspace.models import folder

        folder.read_config(path)
        return path
    if not path.is_file():
        raise InputError(f"checkpoint {path}: no such file; expected a .safetensors file or a model folder")
    if path.suffix != ".safetensors":
        raise InputError(
            f"checkpoint {path}: expected a .safetensors file; a {path.suffix or 'file of another kind'} is usually a "
            "pickle, which can run code when it is read. Convert it once, where you trust it: "
            f"import torch; from safetensors.torch import save_file; weights = torch.load('{path.name}', "
            "weights_only=True); save_file({name: one.clone().contiguous() for name, one in weights.items()}, "
            f"'{path.stem}.safetensors')"
        )
    return path


def named_for(own: Iterable[str], tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The same tensors under the names of a network, where a prefix in front is all that is different.

    >>> sorted(named_for({"a.weight"}, {"module.model.a.weight": None, "module.head": None}, "x"))
    ['a.weight', 'head']
    """
    own, found = set(own), {}
    for name, tensor in tensors.items():
        while name not in own and (prefix := next(filter(name.startswith, PREFIXES), None)):
            name = name.removeprefix(prefix)
        if name in found and name in own:
            raise InputError(f"{source}: holds {name!r} twice, under different prefixes; keep one network in the file")
        found[name] = tensor
    return found


def load_into(network: nn.Module, tensors: dict[str, Tensor], source: str, unused: Iterable[str] = ()) -> None:
    """Copy tensors into a network in place; what it has no place for (a classifier, a decoder) is left out.

    A first convolution for three channels is made fit for as many as the network takes. Nothing is copied, and
    `InputError` says how many and names the first, where tensors are missing or have other shapes. unused: those
    that may be missing, because nothing comes of them.
    """
    own = network.state_dict()
    fitting = {name: _first_convolution(tensors[name], own[name]) for name in own if name in tensors}
    # how many batches a norm has seen decides nothing, and files of old versions of torch lack it
    spare = {*unused, *(name for name in own if name.endswith("num_batches_tracked"))}
    if missing := [name for name in own if name not in fitting and name not in spare]:
        raise InputError(
            f"{source}: {len(missing)} of the backbone's {len(own)} tensors are missing, the first {missing[0]!r}; "
            "expected weights of the same architecture"
        )
    if differing := [name for name, tensor in fitting.items() if tensor.shape != own[name].shape]:
        first = differing[0]
        raise InputError(
            f"{source}: {len(differing)} of the backbone's {len(own)} tensors have another shape, the first {first!r}: "
            f"expected {tuple(own[first].shape)}, got {tuple(fitting[first].shape)}"
        )
    network.load_state_dict(fitting, strict=False)


def _first_convolution(tensor: Tensor, own: Tensor) -> Tensor:
    """Weights (F, 3, h, w) for (F, C, h, w): summed over the colours for one channel, repeated and scaled for more."""
    if tensor.ndim != 4 or tensor.shape == own.shape or own.ndim != 4:
        return tensor
    (filters, inputs, *sides), (own_filters, own_inputs, *own_sides) = tensor.shape, own.shape
    channels, rest = divmod(own_inputs * COLOURS, inputs)
    if rest or not channels or (filters, sides) != (own_filters, own_sides) or inputs % COLOURS:
        return tensor
    adapt = require_timm("timm.models").adapt_input_conv
    adapted: Tensor = adapt(channels, tensor)
    return adapted
