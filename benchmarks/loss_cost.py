"""What a loss costs as classes grow: time of forward and backward, and bytes kept for the classes.

    python benchmarks/loss_cost.py --output loss-cost.json

Embeddings of 128 numbers, batches of 128. The bytes are those of parameters, their gradients and AdamW's two moments,
or of the tables a loss keeps; not those of a step's own tensors. The neighbours are drawn at random: which classes they
are does not change the cost of a step (finding them does cost: see docs/losses.md).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rootspace import report
from rootspace.assign import Assignment, TableAssignment
from rootspace.files import write_json
from rootspace.losses import BatchSoftmax, ClassSoftmax, CosineLoss, LinearHead, NeighbourSoftmax
from rootspace.systems import graded

DIM, BATCH = 128, 128


def any_neighbours(assignment: Assignment, k: int, known: Tensor | None) -> Tensor:
    return torch.randint(assignment.n_classes, (assignment.n_classes, k), dtype=torch.int32)


def losses(n_classes: int) -> dict[str, nn.Module]:
    """The losses by name, on the same random class vectors."""
    table = TableAssignment(graded(DIM), graded(DIM).random(n_classes, torch.Generator().manual_seed(0)))
    return {
        "linear layer + cross-entropy": LinearHead(DIM, n_classes),
        "ClassSoftmax": ClassSoftmax(table),
        "NeighbourSoftmax, 16": NeighbourSoftmax(table, find=any_neighbours),
        "BatchSoftmax": BatchSoftmax(table),
        "CosineLoss": CosineLoss(table),
    }


def kept(loss: nn.Module) -> int:
    """Bytes kept for the classes between steps."""
    learned = sum(4 * p.numel() * p.element_size() for p in loss.parameters())  # weight, gradient, two moments
    rows = getattr(loss, "_rows", None)
    return (
        learned + sum(b.numel() * b.element_size() for b in loss.buffers()) + (0 if rows is None else 4 * rows.numel())
    )


def measure(loss: nn.Module, n_classes: int, seconds: float = 2.0) -> dict[str, Any]:
    """Milliseconds of a step, the median of as many as fit; a learned layer's step includes AdamW's."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(loss.parameters()) if list(loss.parameters()) else None
    took: list[float] = []
    while len(took) < 3 or (sum(took) < seconds and len(took) < 200):
        x = torch.randn(BATCH, DIM, generator=generator, requires_grad=True)
        labels = torch.randint(n_classes, (BATCH,), generator=generator)
        begun = time.perf_counter()
        loss(x, labels).backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
        took.append(time.perf_counter() - begun)
    return {"ms": 1000 * sorted(took[1:])[len(took[1:]) // 2], "bytes": kept(loss)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, dict[int, Any]] = {}
    for n_classes in options.classes:
        for name, loss in losses(n_classes).items():
            one = results.setdefault(name, {})[n_classes] = measure(loss, n_classes)
            print(f"{n_classes:>9,} classes  {name:30} {one['ms']:9.2f} ms  {one['bytes'] / 1e6:10.2f} MB", flush=True)
    if options.output:
        write_json(options.output, {"machine": report.environment(), "threads": options.threads, "results": results})


if __name__ == "__main__":
    main()
