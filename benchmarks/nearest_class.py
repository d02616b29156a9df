"""Finding the nearest class in use: the stored table, exactly, against FAISS, exact and approximate.

    pip install faiss-cpu
    python benchmarks/nearest_class.py --output nearest-class.json

Classes use a vanishing part of a graded orbit (10^100 vectors), so decoding finds a vector no class has; the nearest
class in use needs a search. Class vectors are the nearest graded vectors of random directions in 2,000 clusters;
queries are class vectors with noise of a quarter of their length.

Then shuffled classes, of which nothing is stored: what it takes to list the nearest vectors of the system until one is
in use, and to compare with the vectors of all classes; queries are random directions, seconds the processor's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace import report
from rootspace.assign import Assignment, TableAssignment, nearest_free, shuffled
from rootspace.errors import require
from rootspace.files import write_json
from rootspace.systems import graded, parse

DIM, BATCH = 128, 256

#: System and number of classes: hardly a vector without a class, and forty-nine of fifty without one.
SHUFFLED = (("V22:41", 600_000), ("V22:128", 1_280_000))
#: Queries to list for, and those compared with all classes, which takes seconds each.
LISTED, COMPARED = 64, 4


def classes_in_clusters(n_classes: int, generator: torch.Generator) -> TableAssignment:
    """Vectors of graded(128) near directions in 2,000 clusters, as similar classes have them."""
    centres = torch.randn(2000, DIM, generator=generator)
    noise = torch.randn(n_classes, DIM, generator=generator)
    wanted = centres[torch.randint(2000, (n_classes,), generator=generator)] + 0.7 * noise
    return TableAssignment(graded(DIM), nearest_free(graded(DIM), wanted))


def fastest(work: Callable[[], Tensor], rounds: int = 5) -> tuple[float, Tensor]:
    """Milliseconds of the fastest round, and what it gave."""
    best, result = float("inf"), torch.zeros(0)
    for _ in range(rounds):
        begun = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - begun)
    return 1000 * best, result


def searches(assignment: TableAssignment, queries: Tensor) -> dict[str, dict[str, Any]]:
    """Name -> milliseconds a batch, bytes a class, seconds to build, and the share of queries it answers as exactly."""
    faiss = require("faiss", extra="benchmarks")
    faiss.omp_set_num_threads(torch.get_num_threads())
    vectors = normalize(assignment.vectors(torch.arange(assignment.n_classes)), dim=1).numpy()
    took, exact = fastest(lambda: assignment.nearest(queries)[1][:, 0])
    found = {"rootspace, table": {"ms": took, "bytes": DIM, "build_seconds": 0.0, "agrees": 1.0}}
    indexes = {"FAISS Flat": ("Flat", 4 * DIM)}
    if assignment.n_classes <= 200_000:  # building takes minutes beyond
        indexes["FAISS HNSW32"] = ("HNSW32", 4 * DIM + 64 * 4)
    indexes["FAISS IVF1024, 16 probes"] = ("IVF1024,Flat", 4 * DIM + 8)
    indexes["FAISS scalar quantiser, 8 bits"] = ("SQ8", DIM)
    for name, (spec, size) in indexes.items():
        begun = time.perf_counter()
        index = faiss.index_factory(DIM, spec, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        build = time.perf_counter() - begun
        if "IVF" in spec:
            index.nprobe = 16
        unit = normalize(queries, dim=1).numpy()
        took, labels = fastest(lambda index=index, unit=unit: torch.from_numpy(index.search(unit, 1)[1][:, 0]))
        agrees = float((labels == exact).float().mean())
        found[name] = {"ms": took, "bytes": size, "build_seconds": build, "agrees": agrees}
    return found


def two_ways(spec: str, n_classes: int) -> dict[str, Any]:
    """Milliseconds a query by listing and by comparing, and whether both find classes as near."""
    assignment = shuffled(parse(spec), n_classes)
    queries = normalize(torch.randn(LISTED, assignment.system.dim, generator=torch.Generator().manual_seed(0)), dim=1)
    begun = time.process_time()
    found = assignment.nearest(queries)[0]
    listed = time.process_time()
    compared = Assignment._nearest(assignment, queries[:COMPARED], 1)[0]
    ended = time.process_time()
    return {
        "size": assignment.system.size,
        "listing_ms": 1000 * (listed - begun) / LISTED,
        "comparing_ms": 1000 * (ended - listed) / COMPARED,
        "agree": torch.allclose(found[:COMPARED], compared, atol=1e-5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[18_000, 100_000, 1_000_000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    for n_classes in options.classes:
        generator = torch.Generator().manual_seed(0)
        assignment = classes_in_clusters(n_classes, generator)
        own = torch.randint(n_classes, (BATCH,), generator=generator)
        vectors = normalize(assignment.vectors(own), dim=1)
        queries = vectors + 0.25 * normalize(torch.randn(BATCH, DIM, generator=generator), dim=1)
        results[n_classes] = searches(assignment, queries)
        print(f"{n_classes:,} classes, batches of {BATCH}")
        for name, one in results[n_classes].items():
            print(
                f"  {name}: {one['ms']:.1f} ms, {one['bytes']} bytes a class, built in {one['build_seconds']:.1f} s, "
                f"agrees with the exact search in {one['agrees']:.1%}"
            )
    ways = {f"{spec}, {n_classes} classes": two_ways(spec, n_classes) for spec, n_classes in SHUFFLED}
    for name, one in ways.items():
        print(f"{name}: {one['listing_ms']:.3f} ms a query by listing, {one['comparing_ms']:.0f} ms by comparing")
    if options.output:
        head = {"machine": report.environment(), "threads": options.threads, "batch": BATCH}
        write_json(options.output, {**head, **results, "shuffled": ways})


if __name__ == "__main__":
    main()
