"""Finding every class's nearest classes: comparing all, cells, and FAISS; seconds of one core, and recall.

    python benchmarks/neighbours.py --task words:50000 --output neighbours.json

Directions are where a task's classes start (`discriminants` of their images, 128 dimensions). Recall is the share of
the 16 true neighbours that a search finds, "cosine lost" how much smaller the mean cosine of the found ones is, both
on 1,000 classes. Searching again starts from what was found before, with other cells, as training does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rootspace import report
from rootspace.assign import cell_neighbours, discriminants
from rootspace.errors import require
from rootspace.experiment import class_statistics, pooled_pixels
from rootspace.files import write_json
from tasks import open_task

DIM, K, SAMPLE = 128, 16, 1000


def all_pairs(directions: Tensor, rows: Tensor, block: int = 256) -> Tensor:
    """The true neighbours of some rows: (m,) -> (m, K)."""
    found = []
    for part in rows.split(block):
        products = directions[part] @ directions.T
        products[torch.arange(len(part)), part] = -torch.inf
        found.append(products.topk(K, dim=1).indices)
    return torch.cat(found)


def inverted_file(directions: Tensor, probes: int) -> Tensor:
    """FAISS IVF with about sqrt(N) lists."""
    faiss = require("faiss", extra="index")
    faiss.omp_set_num_threads(1)
    lists = int(len(directions) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(directions.numpy())
    index.add(directions.numpy())
    index.nprobe = probes
    found = torch.from_numpy(index.search(directions.numpy(), K + 1)[1])
    own = found == torch.arange(len(directions))[:, None]
    return found.gather(1, own.to(torch.int8).argsort(dim=1, stable=True)[:, :K])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="words:50000")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = open_task(options.task)
    statistics = class_statistics(task.train, task.features or pooled_pixels)
    directions = discriminants(statistics.means, statistics.within, DIM, torch.Generator().manual_seed(0))
    some = torch.randperm(len(directions), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    begun = time.process_time()
    true = all_pairs(directions, some)
    seconds = (time.process_time() - begun) * len(directions) / len(some)
    nearest = cosines(directions, some, true)
    results: dict[str, Any] = {"all pairs": {"seconds": round(seconds, 2), "recall": 1.0, "cosine_lost": 0.0}}

    def measure(name: str, search: Callable[[], Tensor]) -> Tensor:
        begun = time.process_time()
        found = search()
        results[name] = {
            "seconds": round(time.process_time() - begun, 2),
            "recall": round(float((found[some][:, :, None] == true[:, None]).any(1).double().mean()), 4),
            "cosine_lost": round(nearest - cosines(directions, some, found[some]), 4),
        }
        print(f"{name:24} {results[name]}", flush=True)
        return found

    print(f"{task.name}: {len(directions):,} classes\n{'all pairs':24} {results['all pairs']}", flush=True)
    found: Tensor | None = None
    for name in ("cells", "cells, again", "cells, a third time"):
        drawn = torch.Generator().manual_seed(len(results))
        found = measure(name, lambda known=found, g=drawn: cell_neighbours(directions, K, known, generator=g))
    for probes in (1, 8):
        measure(f"FAISS IVF, {probes} probes", lambda probes=probes: inverted_file(directions, probes))
    if options.output:
        about = {"task": task.name, "classes": len(directions), "dim": DIM, "k": K}
        write_json(options.output, {"machine": report.environment(), **about, "results": results})


def cosines(directions: Tensor, rows: Tensor, found: Tensor) -> float:
    """The mean cosine of rows with those found for them."""
    return float(torch.einsum("rn,rkn->rk", directions[rows], directions[found]).mean())


if __name__ == "__main__":
    main()
