"""Several processes that train together: they meet, fail and stop together, and the first of them writes.

Which ones there are is said by the environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, LOCAL_RANK), as
`torchrun`, `accelerate launch` and most cluster schedulers set it. In a process of its own every call is trivial.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from rootspace.errors import InputError, require

T = TypeVar("T")

#: How long one process waits for the others, who may be reading data. A lost one is noticed at once all the same.
PATIENCE = timedelta(hours=1)
MEETING = timedelta(minutes=10)

_board: dist.Store | None = None  # what the processes write messages on


class ProcessLostError(InputError):
    """Another process of this training has ended, so it cannot go on."""


def launched() -> bool:
    """Whether the environment says that there are several processes."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def count() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return count() == 1 or dist.get_rank() == 0


def join(cpu: bool) -> None:
    """Meet the other processes, if there are any; on GPUs unless `cpu`. `InputError` where they cannot be reached."""
    global _board
    states = require("accelerate.state", extra="train")
    if states.PartialState._shared_state or not (launched() or count() > 1):
        return
    group = {}
    try:
        if not dist.is_initialized():
            _board, rank, size = next(dist.rendezvous("env://", timeout=MEETING))
            store = dist.PrefixStore("group", _board)
            group = {"store": store, "rank": rank, "world_size": size, "timeout": PATIENCE}
        if states.PartialState(cpu=cpu, **group).num_processes == 1:
            states.PartialState._reset_state()  # there is no GPU
            states.PartialState(cpu=True, **group)
    except (ValueError, RuntimeError) as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise InputError(
            f"process {os.environ.get('RANK')} cannot meet the others at {where} ({str(error).splitlines()[0]}); "
            "check the launcher's addresses and numbers"
        ) from None


def leave() -> None:
    """Part from the others, at the end of all work."""
    if count() > 1:
        dist.destroy_process_group()


@contextmanager
def together() -> Iterator[None]:
    """What one process cannot do, none does: an `InputError` or `OSError` in the block is raised in all of them."""
    error: Exception | None = None
    try:
        yield
    except (InputError, OSError) as caught:
        error = caught
    messages = every(None if error is None else str(error))
    if error is not None:
        raise error
    if first := next((message for message in messages if message is not None), None):
        raise InputError(first)


@contextmanager
def watched(saved: Callable[[], str]) -> Iterator[None]:
    """Turn a broken connection into `ProcessLostError`; `saved` says what is left to go on from."""
    try:
        yield
    except RuntimeError as error:
        line = str(error).partition("\n")[0]
        # gloo's errors have no class of their own
        if count() == 1 or not (isinstance(error, dist.DistError) or "gloo" in line):
            raise
        raise ProcessLostError(
            f"another of the {count()} processes was lost (killed, out of memory, or its machine), so training "
            f"cannot go on; {saved()}"
        ) from None


def every(value: T) -> list[T]:
    """The value of each process, in the order of their ranks."""
    values = [value] * count()
    if count() > 1:
        dist.all_gather_object(values, value)
    return values


def from_main(value: T) -> T:
    """The first process's value."""
    box = [value]
    if count() > 1:
        dist.broadcast_object_list(box, src=0)
    return box[0]


def in_turn(read: Callable[[], T]) -> T:
    """What `read` gives, called first in one process of each machine, so that the others find what it left on disk."""
    found: list[T] = []
    for first in (True, False):
        with together():
            if first == (os.environ.get("LOCAL_RANK", "0") == "0"):
                found.append(read())
    return found[0]


@torch.no_grad()
def equalise(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Make tensors those of the first process, in place; they travel over `device`, as bytes, one after another."""
    if count() == 1:
        return
    for tensor in tensors:
        there = tensor.to(device).contiguous()
        # as bytes: gloo knows neither bool nor int16
        dist.broadcast(there.view(-1).view(torch.uint8), src=0)
        tensor.copy_(there)


def handed_out(tensors: Mapping[str, Tensor], device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """The first process's named tensors, one after another, in every process; the others may give nothing."""
    heads = from_main([(name, tensor.shape, tensor.dtype) for name, tensor in tensors.items()])
    for name, shape, dtype in heads:
        tensor = tensors[name] if is_main() else torch.empty(shape, dtype=dtype)
        equalise([tensor], device)
        yield name, tensor


def speaks(patience: float = 2.0) -> bool:
    """Whether it falls to this process to say what ended all of them; call `told` when it is said.

    The first process does, unless it is silent for `patience` seconds; and only one.
    """
    if _board is None:
        return is_main()
    try:
        if not is_main() and _hears(patience):
            return False
        if _board.add("speakers", 1) == 1:
            return True
        _hears(5.0)  # a launcher ends all processes once one has ended
        return False
    except RuntimeError:  # the board went with the process that held it
        return True


def told() -> None:
    """Let the others know that the user has been told, and wait a moment until they have heard."""
    if _board is None:
        return
    try:
        _board.set("told", "")
        # the board may end with this process, and asking one that is gone makes noise
        _within(1.0, lambda board: board.add("heard", 0) >= count() - 1)
    except RuntimeError:
        return


def _hears(seconds: float) -> bool:
    """Whether somebody tells the user within so many seconds."""
    heard = _within(seconds, lambda board: board.check(["told"]))
    if heard and _board is not None:
        _board.add("heard", 1)
    return heard


def _within(seconds: float, holds: Callable[[dist.Store], bool]) -> bool:
    """Whether something comes to hold on the board in that time; its own wait complains on stderr."""
    assert _board is not None
    end = time.monotonic() + seconds
    while not (found := holds(_board)) and time.monotonic() < end:
        time.sleep(0.02)
    return found
