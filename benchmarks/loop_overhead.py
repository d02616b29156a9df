"""What the training loop costs beyond a bare forward-backward-step loop on the same data, model and batch.

    python benchmarks/loop_overhead.py [--batch-size 256] [--rounds 8] [--output overhead.json]

Loading and augmentation are work that any training has; they are measured by themselves and shown apart. The
loop's overhead is what remains: engine, schedule, seeding, metrics, log, display. Rounds of the variants take
turns, and the fastest round of each counts, so that another process on the machine disturbs them alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rootspace.data import ImageSet, batches, to_tensor
from rootspace.losses import LinearHead
from rootspace.models import Embedder, SmallConv
from rootspace.train import Augment, Hook, Plan, TrainConfig, fit
from rootspace.train.optimiser import adamw

CLASSES, SIDE, DIM = 1000, 32, 128
CLOCK = time.perf_counter


class Clock(Hook):
    """Seconds from before the first step to after the last, everything between included."""

    def on_start(self, plan: Plan) -> None:
        _synchronize()
        self.begun = CLOCK()

    def on_epoch(self, epoch: int, metrics: dict[str, Any]) -> None:
        _synchronize()
        self.seconds = CLOCK() - self.begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for a busy machine, with --threads 1")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.cpu_time:
        global CLOCK
        CLOCK = time.process_time
    data = _data(given.steps * given.batch_size)
    config = TrainConfig(epochs=1, batch_size=given.batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    variants: dict[str, Callable[[], float]] = {
        "bare": lambda: _bare(data, config, given.width, device),
        "loading": lambda: _loading(data, config, device),
        "augmentation": lambda: _augmentation(data, config, device),
        "fit": lambda: _fit(data, config, given.width, None),
        "fit with augmentation": lambda: _fit(data, config, given.width, Augment()),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(given.rounds + 1):
        for name, measure in variants.items():
            seconds = measure()
            if number:  # the first round warms up
                times[name].append(1000 * seconds / given.steps)
    _report(given, times)


def _bare(data: ImageSet, config: TrainConfig, width: int, device: torch.device) -> float:
    """Batches made beforehand: forward, backward, step."""
    ready = [(to_tensor(images).to(device), labels.to(device)) for images, labels in _loader(data, config)]
    embedder, loss = (module.to(device) for module in _model(width))
    optimizer = adamw(nn.ModuleList([embedder, loss]), config)
    _synchronize()
    begun = CLOCK()
    for images, labels in ready:
        value = loss(embedder(images), labels)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
    _synchronize()
    return CLOCK() - begun


def _loading(data: ImageSet, config: TrainConfig, device: torch.device) -> float:
    begun = CLOCK()
    for images, labels in _loader(data, config):
        to_tensor(images.to(device))
        labels.to(device)
    _synchronize()
    return CLOCK() - begun


def _augmentation(data: ImageSet, config: TrainConfig, device: torch.device) -> float:
    augment, generator = Augment(), torch.Generator(device)
    batch = to_tensor(data.images_at(np.arange(config.batch_size))).to(device)
    _synchronize()
    begun = CLOCK()
    for _ in range(len(data) // config.batch_size):
        augment(batch, generator)
    _synchronize()
    return CLOCK() - begun


def _fit(data: ImageSet, config: TrainConfig, width: int, augment: Augment | None) -> float:
    clock = Clock()
    with tempfile.TemporaryDirectory() as output:
        embedder, loss = _model(width)
        fit(embedder, loss, data, config, output=output, augment=augment, hooks=[clock], progress=False)
    return clock.seconds


def _model(width: int) -> tuple[Embedder, LinearHead]:
    torch.manual_seed(0)
    return Embedder(SmallConv(width=width), DIM), LinearHead(DIM, CLASSES)


def _loader(data: ImageSet, config: TrainConfig) -> Any:
    return batches(data, config.batch_size, seed=0, epoch=0, shuffle=True, drop_last=True)


def _data(count: int) -> ImageSet:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, SIDE, SIDE, 1), dtype=np.uint8)
    return ImageSet.from_arrays(images, np.arange(count) % CLASSES, [str(i) for i in range(CLASSES)])


def _report(given: argparse.Namespace, times: dict[str, list[float]]) -> None:
    best = {name: min(values) for name, values in times.items()}
    extra = best["fit"] - best["bare"] - best["loading"]
    share = extra / best["bare"]
    machine = _machine()
    print(f"{machine}\n{SIDE} x {SIDE} images, batch {given.batch_size}, {given.steps} steps, ", end="")
    print(f"fastest of {given.rounds} rounds\n")
    print(f"{'':<24}{'ms a step':>10}{'of bare':>10}{'images/s':>12}")
    for name, milliseconds in best.items():
        rate = 1000 * given.batch_size / milliseconds
        print(f"{name:<24}{milliseconds:>10.3f}{milliseconds / best['bare']:>10.1%}{rate:>12,.0f}")
    print(f"{'loop overhead':<24}{extra:>10.3f}{share:>10.1%}      fit - bare - loading")
    if given.output:
        result = {
            "machine": machine,
            "batch_size": given.batch_size,
            "steps": given.steps,
            "clock": "processor time" if given.cpu_time else "wall clock",
            "width": given.width,
            "milliseconds_per_step": best,
            "all_rounds": times,
            "overhead_share": share,
        }
        given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _machine() -> str:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name()}, {name}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
