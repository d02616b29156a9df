"""An embedder whose weights, gradients and optimiser state are shared out among the processes (FSDP2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rootspace.errors import InputError
from rootspace.train import processes


def shard(embedder: nn.Module, device: torch.device) -> None:
    """Share out an embedder in place, the same in every process: each block of its backbone by itself, then the rest.

    A block's weights are whole only while it computes. Names of parameters stay.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError:
        raise InputError(f"shard: needs torch 2.7 or newer, this is {torch.__version__}") from None
    mesh = init_device_mesh(device.type, (processes.count(),))
    scalars = {parameter for parameter in embedder.parameters() if parameter.ndim == 0}  # which cannot be cut
    backbone = getattr(embedder, "backbone", embedder)
    for part in dict.fromkeys([*blocks(backbone), backbone, embedder]):
        fully_shard(part, mesh=mesh, ignored_params=scalars)
    for parameter in scalars:
        parameter.data = parameter.data.to(device)


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules that stand in a list or sequence and have parts of their own.

    >>> layer = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> len(list(blocks(nn.Sequential(nn.Flatten(), layer(), layer())))), len(list(blocks(layer())))
    (2, 0)
    """
    listed = isinstance(module, (nn.Sequential, nn.ModuleList))
    for child in module.children():
        if listed and any(child.children()) and not isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield child
        else:
            yield from blocks(child)


def is_shared_out(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")  # a DTensor, whose module takes a second to import


def full_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Whole tensors of the module, and of the optimiser by parameter name, on the CPU of the first process only."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: Any
    weights, state = get_state_dict(module, optimizer, options=options)
    of_parameters: Any = state.get("state", {})  # the other processes get nothing
    return weights, of_parameters


@torch.no_grad()
def place(own: Tensor, saved: Tensor) -> None:
    """Copy a whole tensor, the same in every process, into one that may be shared out."""
    if is_shared_out(own):
        from torch.distributed.tensor import distribute_tensor

        mesh, placements = own.device_mesh, own.placements  # type: ignore[attr-defined]
        saved = distribute_tensor(saved.to(own.device), mesh, placements, src_data_rank=None)
    own.copy_(saved)


@torch.no_grad()
def collect(shared_out: nn.Module, whole: nn.Module) -> None:
    """Copy an embedder's weights into a whole one of the same shape; every process must call this."""
    parts = shared_out.state_dict()
    for name, own in whole.state_dict().items():
        part = parts[name]
        own.copy_(part.full_tensor() if is_shared_out(part) else part)


def average(gradients: Sequence[Tensor]) -> None:
    """Take the mean of gradients over all processes, in place."""
    for gradient in gradients:
        torch.distributed.all_reduce(gradient)
        gradient /= processes.count()


def clip(parameters: Sequence[nn.Parameter], limit: float) -> None:
    """Scale gradients so that the norm of all together, over all processes, is at most `limit`."""
    utils = nn.utils
    parts = [[p for p in parameters if p.grad is not None and is_shared_out(p) == shared] for shared in (True, False)]
    norms = [utils.get_total_norm([p.grad for p in part if p.grad is not None]) for part in parts if part]
    whole = [norm.full_tensor() if is_shared_out(norm) else norm for norm in norms]  # type: ignore[attr-defined]
    for part in parts:
        utils.clip_grads_with_norm_(part, limit, torch.linalg.vector_norm(torch.stack(whole)))
