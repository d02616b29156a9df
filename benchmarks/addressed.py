"""Memory and time of training as classes grow to 10^9: vectors that are computed against a learned layer.

    pip install 'rootspace[train,glyphs,fonts]'
    python benchmarks/addressed.py --output benchmarks/results/addressed.json

Each row is a fresh process that takes training steps (small_conv encoder, batches of 128 real glyphs, AdamW) with
labels from all of [0, N): a sample's label is a keyed shuffle of its number, so that labels are spread over every class
addressed. Memory is the most that the process held while training, above what it held with packages and data loaded:
encoder, optimiser, activations and loss. The checkpoint is what `fit` would write. Times are processor time of one
thread, the fastest of the rounds: a step; the loss alone, forward and backward, with the bytes it keeps in between;
and, for one of 256, the vector of a class id and the nearest class of an embedding ("-" where that means comparing with
every class and there are more of them than --search-limit).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resident import peak_memory, reset_peak
from rootspace import report
from rootspace.assign import KeyedShuffle, shuffled
from rootspace.data import ImageSet, to_tensor
from rootspace.data.characters import common_han
from rootspace.data.glyphs import find_designs, glyph_store
from rootspace.files import write_json
from rootspace.losses import CosineLoss, LinearHead, SystemSoftmax
from rootspace.models import Embedder, build
from rootspace.systems import parse, smallest
from rootspace.train import TrainConfig, checkpoint
from rootspace.train.optimiser import adamw

BATCH, QUERIES, SCALE, KEY = 128, 256, 32.0, 7
CLASSES = (10**3, 10**5, 10**7, 10**9)
LINEAR_DIM = 128
LOSSES: dict[str, Callable[..., nn.Module]] = {
    "SystemSoftmax": lambda classes: SystemSoftmax(classes, scale=SCALE),
    "CosineLoss": CosineLoss,
}
#: Name -> the system for N classes: the smallest of a family, or one that holds 10^9 whatever N.
SYSTEMS: dict[str, Callable[[int], Any]] = {
    "V22, smallest": lambda n: smallest("V22", n),
    "V21, smallest": lambda n: smallest("V21", n),
    "W4, smallest": lambda n: smallest("W4", n),
    "V22:253": lambda n: parse("V22:253"),
}


def cases(classes: list[int], linear: list[int]) -> list[tuple[str, str, int]]:
    """(system, loss, N) of every row; the learned layer is a system of the name "learned"."""
    chosen = [("learned", "linear layer", n) for n in linear]
    chosen += [(system, "SystemSoftmax", n) for system in SYSTEMS for n in classes]
    chosen += [(system, "CosineLoss", n) for system in ("V22, smallest", "V22:253") for n in classes]
    return chosen


def glyphs() -> ImageSet:
    """3,000 characters in the first two designs of this machine, 32 x 32 grey."""
    characters = common_han()[:3000]
    designs, _ = find_designs(characters, max_faces=1)
    return glyph_store(designs[:2], characters, progress=False).all()


def measure(system: str, loss_name: str, n_classes: int, steps: int, rounds: int, search_limit: int) -> dict[str, Any]:
    """One row; run in a process of its own."""
    images = glyphs()
    labels = KeyedShuffle(n_classes, KEY)(torch.arange(len(images)) % n_classes)
    pixels = torch.from_numpy(np.array(images.images_at(np.arange(len(images)))))
    torch.manual_seed(0)
    idle = reset_peak()
    chosen = None if system == "learned" else SYSTEMS[system](n_classes)
    loss = (
        LinearHead(LINEAR_DIM, n_classes) if chosen is None else LOSSES[loss_name](shuffled(chosen, n_classes, key=KEY))
    )
    dim = LINEAR_DIM if chosen is None else chosen.dim
    both = nn.ModuleList([Embedder(build({"name": "small_conv"}), dim), loss])
    optimizer = adamw(both, TrainConfig())
    step_ms, losses = _train(both, optimizer, pixels, labels, steps, rounds)
    return {
        "system": system,
        "loss": loss_name,
        "classes": n_classes,
        "spec": "learned" if chosen is None else chosen.spec,
        "dim": dim,
        "labels_seen": [int(labels.min()), int(labels.max())],
        "idle_bytes": idle,
        "training_bytes": peak_memory() - idle,
        "checkpoint_bytes": _stored(both, optimizer),
        "step_ms": step_ms,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        **_alone(loss, dim, n_classes),
        **_reading(loss, dim, n_classes, search_limit),
    }


def _train(
    both: nn.ModuleList, optimizer: torch.optim.Optimizer, pixels: Tensor, labels: Tensor, steps: int, rounds: int
) -> tuple[float, list[float]]:
    """Milliseconds of a step in the fastest round, and the losses."""
    embedder, loss = both.train()
    generator = torch.Generator().manual_seed(0)
    losses: list[float] = []

    def step() -> None:
        rows = torch.randint(len(pixels), (BATCH,), generator=generator)
        value = loss(embedder(to_tensor(pixels[rows])), labels[rows])
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(value.item())

    took = [_seconds(lambda: [step() for _ in range(steps)]) / steps for _ in range(rounds)]
    return 1000 * min(took), losses


def _stored(both: nn.ModuleList, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(Path(folder), 1, *checkpoint.pack(both, optimizer, [], None))
        return sum(file.stat().st_size for file in path.iterdir())


def _alone(loss: nn.Module, dim: int, n_classes: int) -> dict[str, Any]:
    """Milliseconds of the loss for a batch, forward and backward, and bytes that it keeps in between."""
    x = torch.randn(BATCH, dim, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.randint(n_classes, (BATCH,), generator=torch.Generator().manual_seed(0))
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss(x, labels)
    for given in (x, *loss.parameters()):
        kept.pop(given.untyped_storage().data_ptr(), None)
    value.backward()
    return {
        "loss_ms": 1000 * min(_seconds(lambda: loss(x, labels).backward()) for _ in range(5)),
        "loss_kept_bytes": sum(kept.values()),
    }


def _reading(loss: nn.Module, dim: int, n_classes: int, search_limit: int) -> dict[str, Any]:
    """Milliseconds of class ids to vectors and of embeddings to class ids, per one of them."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(QUERIES, dim, generator=generator)
    if isinstance(loss, LinearHead):
        with torch.no_grad():
            return {"vector_ms": None, "class_ms": _each(lambda b: loss.nearest(queries[:b]))}
    classes = loss.assignment
    ids = torch.randint(n_classes, (QUERIES,), generator=generator)
    by_decoding = n_classes > 8192 and classes.system.size <= 8 * n_classes
    searched = by_decoding or n_classes <= search_limit
    return {
        "vector_ms": _each(lambda b: classes.vectors(ids[:b])),
        "class_ms": _each(lambda b: classes.nearest(queries[:b])) if searched else None,
        "class_by": "decoding" if by_decoding else "comparing with every class",
    }


def _each(call: Callable[[int], Any]) -> float:
    """Milliseconds for one, in a batch of QUERIES, or of eight where these take above a second."""
    count = QUERIES if (first := _seconds(lambda: call(8))) < 1 else 8
    times = [_seconds(lambda: call(count)) for _ in range(5 if first < 1 else 1)]
    return 1000 * min(times) / count


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def fresh(case: tuple[str, str, int], options: argparse.Namespace) -> dict[str, Any]:
    """The row of a case, from a process that has done nothing else."""
    command = [sys.executable, __file__, "--one", json.dumps(case), "--steps", str(options.steps)]
    command += ["--rounds", str(options.rounds), "--search-limit", str(options.search_limit)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if finished.returncode:
        return {"system": case[0], "loss": case[1], "classes": case[2], "failed": finished.returncode}
    return json.loads(finished.stdout.splitlines()[-1])


def show(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{row['spec']:<10} {row['loss']:<14} {row['classes']:>13,}  failed ({row['failed']})"
    vector, found = ("-" if row[name] is None else f"{1000 * row[name]:,.1f}" for name in ("vector_ms", "class_ms"))
    return (
        f"{row['spec']:<10} {row['loss']:<14} {row['classes']:>13,} {row['training_bytes'] / 1e6:>10,.1f} "
        f"{row['checkpoint_bytes'] / 1e6:>12,.2f} {row['step_ms']:>10,.1f} {vector:>12} {found:>14}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=list(CLASSES))
    parser.add_argument("--linear", type=int, nargs="*", default=[10**3, 10**5, 10**6], help="N of the learned layer")
    parser.add_argument("--steps", type=int, default=4, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--search-limit", type=int, default=10**5, help="most classes to compare with")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(measure(*json.loads(options.one), options.steps, options.rounds, options.search_limit)))
        return
    glyphs()  # drawn once, here: the processes read them
    rows = []
    print(f"{'':<39} training MB checkpoint MB  step ms  vector us  nearest class us")
    for case in cases(options.classes, options.linear):
        rows.append(fresh(case, options))
        print(show(rows[-1]), flush=True)
    if options.output:
        about = {"machine": report.environment(), "threads": 1, "clock": "processor time", "batch": BATCH}
        write_json(options.output, {**about, "queries": QUERIES, "rows": rows})


if __name__ == "__main__":
    main()
