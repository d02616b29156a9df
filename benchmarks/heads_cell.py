"""One cell of heads.py, in a process of its own: what one method costs at one number of classes.

python benchmarks/heads_cell.py '{"method": "linear", "n_classes": 1000, "dim": 128, "batch": 256, "memory": 8, ...}'

Prints one JSON object. The process is stopped by the operating system where it wants more memory than it may have
(the allocation fails) or more processor time.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from resident import peak_memory, reset_peak, status
from rivals import RIVALS, build
from rootspace.assign import Assignment, save

#: Seconds of processor time that rounds of a step may take together, and how many there are at least.
ROUNDS_SECONDS, LEAST_ROUNDS = 1.0, 3

#: Classes of the step that comes before the baseline of memory: what program code it touches is not the step's.
WARM_CLASSES = 64


def any_neighbours(assignment: Assignment, k: int, known: torch.Tensor | None) -> torch.Tensor:
    """Random ones: which classes they are does not change a step's cost."""
    return torch.randint(assignment.n_classes, (assignment.n_classes, k), dtype=torch.int32)


#: Method -> (name in RIVALS, options), where they differ from the method's name and none.
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "neighbour softmax": ("neighbour softmax", {"find": any_neighbours}),
    "system softmax, V22:256": ("system softmax", {"system": "V22:256"}),
}

METHODS = (*RIVALS, "system softmax, V22:256")


def make(method: str, n_classes: int, dim: int) -> tuple[nn.Module, torch.optim.Optimizer | None]:
    """The loss of a method and the optimiser of its parameters."""
    name, options = OPTIONS.get(method, (method, {}))
    loss = build(name, n_classes, dim, **options)
    parameters = list(loss.parameters())
    if not parameters:
        return loss, None
    if RIVALS[name].optimiser == "sparse_adam":
        return loss, torch.optim.SparseAdam(parameters)
    return loss, torch.optim.AdamW(parameters, fused=True)


def measure(method: str, n_classes: int, dim: int, batch: int) -> dict[str, Any]:
    """Everything about a cell but its limits; times in seconds of one thread's processor time."""
    step_of(*make(method, WARM_CLASSES, dim), WARM_CLASSES, batch)
    base = reset_peak()
    begun = time.thread_time()
    loss, optimiser = make(method, n_classes, dim)
    setup = time.thread_time() - begun
    reset_peak()  # what only making the head took is no part of the steps' peak
    rounds: list[tuple[float, float]] = []
    while len(rounds) < LEAST_ROUNDS or (sum(map(sum, rounds)) < ROUNDS_SECONDS and len(rounds) < 1000):
        rounds.append(step_of(loss, optimiser, n_classes, batch))
    peak = peak_memory() - base
    return {
        "dim": loss.dim,
        "loss_seconds": min(taken for taken, _ in rounds),
        "step_seconds": min(taken for _, taken in rounds) if optimiser else 0.0,
        "rounds": len(rounds),
        "setup_seconds": setup,
        "peak_bytes": max(0, peak),
        "parameters": sum(parameter.numel() for parameter in loss.parameters()),
        "optimiser_bytes": state_bytes(optimiser),
        "checkpoint_bytes": checkpoint_bytes(loss),
    }


def step_of(
    loss: nn.Module, optimiser: torch.optim.Optimizer | None, n_classes: int, batch: int
) -> tuple[float, float]:
    """Seconds of loss and gradient, and of the optimiser's step."""
    embeddings = torch.randn(batch, loss.dim, requires_grad=True)
    labels = torch.randint(n_classes, (batch,))
    begun = time.thread_time()
    loss(embeddings, labels).backward()
    between = time.thread_time()
    if optimiser is not None:
        optimiser.step()
    ended = time.thread_time()
    if optimiser is not None:
        optimiser.zero_grad()
    return between - begun, ended - between


def state_bytes(optimiser: torch.optim.Optimizer | None) -> int:
    if optimiser is None:
        return 0
    values = [value for state in optimiser.state.values() for value in state.values()]
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, torch.Tensor))


def checkpoint_bytes(loss: nn.Module) -> int:
    """What a file needs to hold so that the loss can be built again: its tensors, and an assignment's description."""
    config: dict[str, Any] = {}
    tensors = {name: tensor for name, tensor in loss.state_dict().items() if not name.startswith("assignment.")}
    if isinstance(getattr(loss, "assignment", None), Assignment):
        tensors.pop("near", None)  # found anew
        config, more = save(loss.assignment)
        tensors.update(more)
    with tempfile.TemporaryDirectory() as folder:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{folder}/head.safetensors")
        return Path(folder, "head.safetensors").stat().st_size + (len(json.dumps(config)) if config else 0)


def limit(gigabytes: float, seconds: float) -> None:
    """Let further allocations fail above a total, and end the process after so much more processor time."""
    room = status("VmSize") + int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    until = math.ceil(time.thread_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (until, until + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    cell = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    limit(cell.pop("memory"), cell.pop("patience"))
    try:
        found = measure(**cell)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        found = {"stopped": "memory"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
