"""Evaluation in several processes: each hands in its own part, and all get the numbers of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from rootspace.errors import InputError

AT_ONCE = 1 << 24  # numbers of a large tensor that travel at a time


def own_part(n: int) -> np.ndarray:
    """The positions, of n, that fall to this process: an unbroken range; all of them without a process group.

    The parts of all processes, in order of rank, are 0 .. n - 1, and differ in length by one at most.

    >>> own_part(3).tolist()
    [0, 1, 2]
    """
    here = Processes.of(True)
    return np.arange(n * here.rank // here.count, n * (here.rank + 1) // here.count)


@dataclass(frozen=True)
class Processes:
    """The processes that evaluate together, this one being number `rank` of `count`.

    Sums are of integers, so that they do not depend on how samples were shared out.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def of(cls, collective: bool) -> Processes:
        """Those of `torch.distributed`'s default group if asked for and there is one; this process alone otherwise."""
        if not (collective and dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def totals(self, values: Sequence[int]) -> list[int]:
        """Each of some integers summed over all processes."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.int64, device=_device())
        dist.all_reduce(shared)
        return [int(value) for value in shared.tolist()]

    def add_up(self, values: Tensor) -> None:
        """Sum a tensor over all processes, in place; it travels in parts, so that it need not fit on their devices."""
        if self.count == 1:
            return
        for part in values.view(-1).split(AT_ONCE):
            there = part.to(_device())
            dist.all_reduce(there)
            part.copy_(there)

    def sizes(self, size: int) -> list[int]:
        """The number that each process gave, in order of rank."""
        return self.totals([size if rank == self.rank else 0 for rank in range(self.count)])

    def gather(self, rows: Tensor) -> Tensor:
        """The rows (n_r, ...) of all processes, in order of rank: (n_1 + n_2 + ..., ...), where this one's were."""
        if self.count == 1:
            return rows
        sizes = self.sizes(len(rows))
        every = rows.new_empty((sum(sizes), *rows.shape[1:]), device=_device())
        for rank, part in enumerate(every.split(sizes)):
            if rank == self.rank:
                part.copy_(rows)
            if len(part):
                dist.broadcast(part, src=rank)
        return every.to(rows.device)

    @contextmanager
    def together(self) -> Iterator[None]:
        """End the call in every process where one of them raises inside the block: none is left waiting."""
        try:
            yield
        except Exception:
            self.totals([1])
            raise
        if self.totals([0]) != [0]:
            raise InputError("evaluation: another process could not evaluate its part; its own message says why")


def _device() -> torch.device:
    """Where the default group takes tensors from: NCCL alone takes none from the CPU."""
    if "nccl" in dist.get_backend():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
