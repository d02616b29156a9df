"""The state of a run on disk: whole or not there, safetensors and JSON, never pickle."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rootspace.errors import InputError
from rootspace.files import atomic_folder, read_json, save_tensors, sha256, write_json
from rootspace.train.hooks import Hook
from rootspace.train.sharding import full_state, is_shared_out, place

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are not noticed there
    fcntl = None  # type: ignore[assignment]

FORMAT = "rootspace-checkpoint"
VERSION = 1
KEEP = 2
_NAME = re.compile(r"step-\d{10}")


def save(folder: Path, step: int, state: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write the checkpoint of `step` under `folder` atomically, and drop all but the last two.

    `state` is a JSON object; `tensors` of any device and layout.
    """
    path = folder / f"step-{step:010}"
    with atomic_folder(path) as temporary:
        save_tensors(_each_its_own(tensors), temporary / "state.safetensors")
        head = {"format": FORMAT, "version": VERSION, "step": step}
        digest = sha256(temporary / "state.safetensors")
        write_json(temporary / "state.json", {**head, "tensors_sha256": digest, "state": state})
    for old in _all(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def latest(folder: Path) -> Path | None:
    """The newest checkpoint under `folder`, or None."""
    return next(reversed(_all(folder)), None)


def load(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state and tensors (on the CPU) of the checkpoint at `path`; `InputError` if it is not as written."""
    head = read_json(path / "state.json")
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise InputError(f"{path}: expected a {FORMAT}, this is something else")
    if head.get("version") != VERSION:
        raise InputError(
            f"{path}: checkpoint version {head.get('version')!r}, this rootspace reads {VERSION}; "
            "continue it with the version that wrote it"
        )
    tensors = path / "state.safetensors"
    if not tensors.is_file():
        raise InputError(f"{tensors}: no such file; delete {path.name} to resume from the checkpoint before")
    if sha256(tensors) != head.get("tensors_sha256"):
        raise InputError(f"{tensors}: checksum mismatch; delete {path.name} to resume from the checkpoint before")
    try:
        return head["state"], load_file(tensors)
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{path}: damaged checkpoint ({error})") from None


def pack(
    module: nn.Module, optimizer: torch.optim.Optimizer, hooks: Sequence[Hook], scaler: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Everything that training changes, as JSON values and named tensors; every process must call this.

    Where the module is shared out, its tensors are whole in the first process, which writes them, and nowhere else.
    """
    if any(map(is_shared_out, module.parameters())):
        weights, of_parameters = full_state(module, optimizer)
    else:
        names = _names(module)
        weights, of_parameters = module.state_dict(), {names[one]: its for one, its in optimizer.state.items()}
    tensors = {f"model/{name}": tensor for name, tensor in weights.items()}
    for name, values in of_parameters.items():
        tensors.update({f"optimizer/{what}:{name}": torch.as_tensor(value) for what, value in values.items()})
    states: list[dict[str, Any]] = []
    for number, hook in enumerate(hooks):
        state, more = hook.state()
        states.append(state)
        tensors.update({f"hook{number}/{name}": tensor for name, tensor in more.items()})
    return {"hooks": states, "scaler": None if scaler is None else scaler.state_dict()}, tensors


def unpack(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hook],
    scaler: Any,
    state: dict[str, Any],
    tensors: Iterable[tuple[str, Tensor]],
) -> None:
    """The inverse of `pack`, in place, for tensors that passed `check`; the learning rate is not part of it."""
    own, parameters = module.state_dict(), dict(module.named_parameters())
    of_hooks: list[dict[str, Tensor]] = [{} for _ in hooks]
    for key, saved in tensors:
        kind, name = key.split("/", 1)
        if kind == "model":
            place(own[name], saved)
        elif kind == "optimizer":
            what, name = name.split(":", 1)
            optimizer.state[parameters[name]][what] = _beside(parameters[name], saved, optimizer)
        else:
            of_hooks[int(kind.removeprefix("hook"))][name] = saved
    for hook, values, more in zip(hooks, state["hooks"], of_hooks, strict=True):
        hook.load_state(values, more)
    if scaler is not None and state["scaler"] is not None:
        scaler.load_state_dict(state["scaler"])


def check(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raise `InputError` at the first of a checkpoint's tensors that does not fit the module."""
    own, parameters = module.state_dict(), dict(module.named_parameters())
    saved = {name.removeprefix("model/") for name in tensors if name.startswith("model/")}
    if missing := [name for name in own if name not in saved]:
        raise InputError(f"the checkpoint does not hold {missing[0]!r}: it is of another model or loss")
    if extra := [name for name in saved if name not in own]:
        raise InputError(f"the checkpoint holds {extra[0]!r}, which this model and loss do not have")
    for key, tensor in tensors.items():
        kind, name = key.split("/", 1)
        if kind == "model":
            _fitting(tensor, own[name], name)
        elif kind == "optimizer":
            name = name.split(":", 1)[1]
            if name not in parameters:
                raise InputError(f"the checkpoint holds optimiser state of {name!r}, which this model does not have")
            if tensor.ndim:
                _fitting(tensor, parameters[name], name)


def _beside(parameter: Tensor, saved: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """A tensor of the optimiser's state as it is kept for a parameter."""
    if saved.ndim == 0:
        # the step counter: fused and capturable optimisers keep it beside the parameter
        fused = any(group.get("fused") or group.get("capturable") for group in optimizer.param_groups)
        return saved.to(parameter.device if fused else "cpu")
    # the fused kernels walk memory: the state must lie as the parameter lies (channels_last)
    value = torch.empty_like(parameter, dtype=saved.dtype).detach()
    place(value, saved)
    return value


def _fitting(saved: Tensor, own: Tensor, name: str) -> None:
    if saved.shape != own.shape:
        raise InputError(
            f"the checkpoint's {name!r} has shape {tuple(saved.shape)}, this model's {tuple(own.shape)}; "
            "resume with the model and loss that the run began with"
        )


def _each_its_own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors takes them: on the CPU, contiguous, no two in one memory; copied where need be."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in seen:  # weights that are tied
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        found[name] = plain
    return found


def _names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in module.named_parameters()}


def _all(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if _NAME.fullmatch(child.name))


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the output `folder` (made if needed) for this process; `InputError` while another one does.

    The lock is the operating system's, so it ends with the process however that ends; the file `.lock` only
    names the holder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as output folder ({error.strerror})") from None
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
                raise InputError(
                    f"{folder}: in use by another run (process {holder}); wait for it or give another folder"
                ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
