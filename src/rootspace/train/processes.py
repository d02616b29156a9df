"""Several processes that train together: they meet, fail and stop together, and the first of them writes.

Which ones there are is said by the environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, LOCAL_RANK), as
`torchrun`, `accelerate launch` and most cluster schedulers set it. In a process of its own every call is trivial.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from rootspace.errors import InputError, require

T = TypeVar("T")

#: How long one process waits for the others where all do the same. A lost one is noticed at once all the same.
PATIENCE = timedelta(hours=1)
MEETING = timedelta(minutes=10)

#: Seconds. One that works while the others wait says so often that it lives; not heard of for so long, it is lost. Long
#: enough for a single call that does not let Python's threads run, such as sorting millions of names.
BEAT, SILENCE = 5.0, 300.0

_board: dist.Store | None = None  # what the processes write messages on
_waits = 0  # how often all have waited for one another there


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
    if not (launched() or count() > 1):
        return
    states = require("accelerate.state", extra="train")
    if states.PartialState._shared_state:
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


def device(cpu: bool = False) -> torch.device:
    """Where this process trains, once it has met the others: its GPU, if it has one, unless `cpu`."""
    if count() > 1:
        own: torch.device = require("accelerate.state", extra="train").PartialState().device
        return own
    found = getattr(torch, "accelerator", torch.cuda)  # torch before 2.6 has no word for all kinds
    if cpu or not found.is_available():
        return torch.device("cpu")
    return torch.device("cuda") if found is torch.cuda else torch.device(found.current_accelerator())


def leave() -> None:
    """Part from the others, at the end of all work."""
    if count() > 1:
        dist.destroy_process_group()


@contextmanager
def together(patiently: bool = False) -> Iterator[None]:
    """What one process cannot do, none does: an `InputError` or `OSError` in the block is raised in all of them.

    patiently: some have long work in the block; the others wait as long as those live.
    """
    error: Exception | None = None
    with _awaited() if patiently else nullcontext():
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
        if "timed out" in line.lower() or "timeout" in line.lower():
            what = f"has kept the others waiting for {PATIENCE} (it hangs, or its machine is much slower)"
        else:
            what = "was lost (killed, out of memory, or its machine)"
        raise ProcessLostError(
            f"another of the {count()} processes {what}, so training cannot go on; {saved()}"
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
        with together(patiently=True):
            if first == (os.environ.get("LOCAL_RANK", "0") == "0"):
                found.append(read())
    return found[0]


def by_main(make: Callable[[], T]) -> T | None:
    """What `make` gives, called in the first process; None in the others, which wait for it as long as it lives."""
    with together(patiently=True):
        return make() if is_main() else None


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


@contextmanager
def _awaited() -> Iterator[None]:
    """All processes leave the block together, however long one works in it, as long as it lives."""
    global _waits
    if _board is None:
        yield
        return
    _waits += 1
    board, own = dist.PrefixStore(f"wait {_waits}", _board), dist.get_rank()
    with _heard_of(board, str(own)):
        yield
    board.set(f"{own} left", "")
    for rank in range(count()):
        _wait_for(rank, board)


@contextmanager
def _heard_of(board: dist.Store, name: str) -> Iterator[None]:
    """Say every few seconds, within the block, that this process lives: a thread counts under `name`."""
    ended = threading.Event()

    def beat() -> None:
        with suppress(RuntimeError):  # the board went with the process that held it, which others will say
            board.add(name, 1)
            while not ended.wait(BEAT):
                board.add(name, 1)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _wait_for(rank: int, board: dist.Store) -> None:
    """Wait until a process has left its block; `ProcessLostError` where it is silent, or does not come to it."""
    beats, heard, pause = 0, time.monotonic(), 0.01
    while not board.check([f"{rank} left"]):
        if (found := board.add(str(rank), 0)) != beats:
            beats, heard = found, time.monotonic()
        silent, limit = time.monotonic() - heard, SILENCE if beats else PATIENCE.total_seconds()
        if silent > limit:
            what = "has not been heard of" if beats else "has not come to where the others wait"
            raise ProcessLostError(
                f"process {rank} of {count()} {what} for {timedelta(seconds=round(silent))}: it was lost, or hangs; "
                "start the same command again, with --resume where a run had begun"
            )
        time.sleep(pause)
        pause = min(1.5 * pause, 1.0)  # the board answers all processes


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
