"""On a GPU, in ten minutes: what losses and decoding cost at 600,000 to 10^9 classes, and a training run on 600,000.

    python benchmarks/gpu.py --output gpu.json
    python benchmarks/gpu.py --device cpu --classes 5000 --batch 64 --minutes 0.5      (a rehearsal, anywhere)

Times are wall time between two synchronisations, the fastest of a few rounds, under bfloat16 autocast as in training;
memory is what torch allocated at most beyond what lay there before. A method that does not fit is reported as such.
The training run is `instances` (see tasks/instances.py): every picture of a word in a typeface is its own class, and
accuracy is that on views that training never draws, right at the first guess among all classes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import rivals
import train_many_classes
from rootspace import report
from rootspace.assign import shuffled
from rootspace.files import write_json
from rootspace.systems import smallest

#: The losses timed at the smaller number of classes, and those that reach the larger.
TIGHT = ("system softmax", "paper")
LOSSES = ("linear", "normalised softmax", "partial fc", "neighbour softmax", *TIGHT)
ADDRESSED = 10**9
#: Embeddings of the learned layers.
DIM = 128
ROUNDS, CALLS = 5, 10


def timed(work: Callable[[], Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of a call, and megabytes that it allocates at most."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    work()
    wait()
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(CALLS):
            work()
        wait()
        best = min(best, (time.perf_counter() - begun) / CALLS)
    found = {"ms": round(1e3 * best, 4)}
    if device.type == "cuda":
        found["peak_mb"] = round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    return found


def loss_cost(make: Callable[[], Any], batch: int, device: torch.device) -> dict[str, Any]:
    """Loss and gradient of a batch, and the bytes that lie on the device for the classes."""
    try:
        loss = make().to(device)
        embeddings = torch.randn(batch, loss.dim, device=device, requires_grad=True)
        labels = torch.randint(loss.n_classes, (batch,), device=device)

        def step() -> None:
            loss.zero_grad(set_to_none=True)
            embeddings.grad = None
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                value = loss(embeddings, labels)
            value.backward()

        tensors = [*loss.parameters(), *loss.buffers()]
        return {"dim": loss.dim, "bytes": sum(t.numel() * t.element_size() for t in tensors), **timed(step, device)}
    except torch.OutOfMemoryError:
        return {"stopped": "out of memory"}


def decode_cost(n_classes: int, batch: int, device: torch.device) -> dict[str, float]:
    """From embeddings to classes, exactly, in V22 at n_min."""
    classes = shuffled(smallest("V22", n_classes), n_classes).to(device)
    embeddings = torch.randn(batch, classes.system.dim, device=device)
    return timed(lambda: classes.nearest(embeddings), device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=600_000, help="of the training run, and the smaller timings")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--minutes", type=float, default=2.5, help="of each of the two training runs")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    cuda = options.device == "auto" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name() if cuda else "CPU"
    found: dict[str, Any] = {"machine": {**report.environment(), "device": name}, "batch": options.batch}
    for n_classes in (options.classes, ADDRESSED):
        found[f"{n_classes}"] = costs = {
            rival: loss_cost(lambda rival=rival, n=n_classes: rivals.build(rival, n, DIM), options.batch, device)
            for rival in (LOSSES if n_classes == options.classes else TIGHT)
        }
        costs["decoding"] = decode_cost(n_classes, options.batch, device)
        for what, cost in costs.items():
            print(f"{n_classes:,} classes, {what}: {cost}", flush=True)
    if options.output:
        write_json(options.output, found)
    more = ["--output", str(options.output.with_suffix(".training.json"))] if options.output else []
    precision = ["--device", "auto", "--mixed-precision", "bf16"] if cuda else []
    train_many_classes.main(
        [
            *("--task", f"instances:{options.classes}", "--methods", "rootspace", "rootspace, nothing stored, V22:128"),
            *("--minutes", str(options.minutes), "--tries", "1", "--batch-size", str(options.batch)),
            *("--rates", str(round(1.2e-2 * (options.batch / 128) ** 0.5, 4)), *precision, *more),
        ]
    )


if __name__ == "__main__":
    main()
