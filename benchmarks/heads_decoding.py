"""Exact decoding against a search among stored vectors, for heads.py: 600,000 classes in V22:41, one thread each.

Queries are class vectors with noise of several lengths (a share of the vector's own) and random directions. Prints one
JSON object: queries a second in batches of several sizes (processor time, the fastest round), the time to build, bytes
held, and the share of queries answered by a vector as near as the nearest one, to 1e-5 of cosine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace.assign import ShuffledAssignment, shuffled
from rootspace.errors import require
from rootspace.systems import V

N_CLASSES, BATCHES, QUERIES = 600_000, (1, 256, 2048), 1024
NOISE = (0.25, 0.5, 1.0)

#: Classes compared at a time by plain tensor work.
BLOCK = 65_536

Search = Callable[[Tensor], Tensor]  # unit queries (B, n) -> labels (B,)


def queries_of(assignment: ShuffledAssignment, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Unit queries by kind, (count, n) each."""
    labels = torch.randint(assignment.n_classes, (count,), generator=generator)
    own = normalize(assignment.vectors(labels), dim=1)
    noise = normalize(torch.randn(own.shape, generator=generator), dim=1)
    found = {f"noise {share:g}": normalize(own + share * noise, dim=1) for share in NOISE}
    return {**found, "random": noise}


def brute_force(vectors: Tensor) -> Search:
    """The largest inner product, a block of classes at a time."""

    def search(x: Tensor) -> Tensor:
        best, labels = x.new_full((len(x),), -torch.inf), torch.zeros(len(x), dtype=torch.int64)
        for start in range(0, len(vectors), BLOCK):
            values, place = (x @ vectors[start : start + BLOCK].T).max(1)
            better = values > best
            best, labels = torch.where(better, values, best), torch.where(better, place + start, labels)
        return labels

    return search


def faiss_search(index: Any) -> Search:
    return lambda x: torch.from_numpy(index.search(x.numpy(), 1)[1][:, 0])


def faiss_index(spec: str, vectors: Tensor, **parameters: int) -> Search:
    """A FAISS index by its factory string, filled."""
    faiss = require("faiss", extra="benchmarks")
    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(vectors.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
    rows = vectors.numpy()
    index.train(rows[:: max(1, len(rows) // 50_000)])
    index.add(rows)
    for name, value in parameters.items():
        faiss.ParameterSpace().set_index_parameter(index, name, value)
    return faiss_search(index)


def fastest(work: Callable[[], Any], seconds: float = 3.0) -> float:
    """Seconds of processor time of the fastest round, of two at least."""
    took: list[float] = []
    while len(took) < 2 or (sum(took) < seconds and len(took) < 200):
        begun = time.thread_time()
        work()
        took.append(time.thread_time() - begun)
    return min(took)


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    system = V(41, 2, 2)
    assignment = shuffled(system, N_CLASSES)
    vectors = normalize(assignment.vectors(torch.arange(N_CLASSES)), dim=1)
    dim, row = system.dim, 4 * system.dim
    # name -> (how to build it, bytes a class)
    ways: dict[str, tuple[Callable[[], Search], int]] = {
        "rootspace, nearest class": (lambda: lambda x: assignment.nearest(x)[1][:, 0], 0),
        "rootspace, nearest vector": (lambda: system.nearest, 0),
        "torch, blocks of classes": (lambda: brute_force(vectors), row),
        "FAISS Flat": (lambda: faiss_index("Flat", vectors), row),
        "FAISS IVF1024, 16 probes": (lambda: faiss_index("IVF1024,Flat", vectors, nprobe=16), row + 8),
        "FAISS IVF1024, 64 probes": (lambda: faiss_index("IVF1024,Flat", vectors, nprobe=64), row + 8),
        "FAISS HNSW32, ef 64": (lambda: faiss_index("HNSW32", vectors, efSearch=64), row + 256),
    }
    kinds = queries_of(assignment, QUERIES, generator)
    nearest = {kind: (x * vectors[brute_force(vectors)(x)]).sum(1) for kind, x in kinds.items()}
    mixed = torch.cat(list(kinds.values()))
    mixed = mixed[torch.randperm(len(mixed), generator=generator)]
    searches: dict[str, Any] = {}
    for name, (build, size) in ways.items():
        begun = time.thread_time()
        search = build()
        built = time.thread_time() - begun

        def answers(x: Tensor, search: Search = search) -> Tensor:
            found = search(x)  # labels, or vectors already
            return vectors[found] if found.ndim == 1 else found / system.norm

        exact = {kind: ((x * answers(x)).sum(1) >= nearest[kind] - 1e-5) for kind, x in kinds.items()}
        searches[name] = {
            "rates": {
                str(batch): batch / fastest(lambda batch=batch, search=search: search(mixed[:batch]))
                for batch in BATCHES
            },
            "exact": {kind: float(share.double().mean()) for kind, share in exact.items()},
            "build_seconds": built,
            "bytes_a_class": size,
        }
    print(json.dumps({"system": system.spec, "n_classes": N_CLASSES, "dim": dim, "searches": searches}))


if __name__ == "__main__":
    main()
