"""What finding cells costs as their number grows: the vectors of a system, or centroids as k-means leaves them.

    python benchmarks/retrieval_cells.py --output benchmarks/results/retrieval-cells.json

Microseconds of processor time, one thread, for the cell of an item and for the 64 nearest cells of a query, in 64
dimensions; the fastest of three rounds. Centroids are compared all (FAISS Flat) or through a graph (FAISS HNSW32, with
which some are missed: recall), and are drawn at random, as their places change neither cost. Bytes: what is stored for
the cells beside the items. Two minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rootspace import report
from rootspace.errors import require
from rootspace.files import write_json
from rootspace.index.cells import ITEMS_A_CELL, learn, system_for

DIM, PROBES, ROUNDS = 64, 64, 3
CELLS = (10**3, 10**4, 10**5, 10**6)
#: With more, building the graph takes longer than all the rest.
LARGEST_GRAPH = 10**5

Find = Callable[[np.ndarray, int], np.ndarray]


def ways(cells: int, sample: np.ndarray, centroids: np.ndarray) -> Iterator[tuple[str, Find, int]]:
    """(name, search for the k nearest cells, bytes stored for them)."""
    faiss = require("faiss", extra="index")
    system = system_for(cells * ITEMS_A_CELL, DIM)
    learned = learn(system, sample)
    assert learned.axes is not None  # for the type checker: a system that was chosen is on learned coordinates
    yield (
        f"system {system.spec}",
        lambda x, k: learned.of(x)[:, None] if k == 1 else learned.nearest(x, k),
        learned.axes.nbytes,
    )
    flat = faiss.IndexFlatIP(DIM)
    flat.add(centroids)
    yield "centroids, all compared", lambda x, k: flat.search(x, k)[1], centroids.nbytes
    if cells <= LARGEST_GRAPH:
        graph = faiss.IndexHNSWFlat(DIM, 32, faiss.METRIC_INNER_PRODUCT)
        graph.add(centroids)
        graph.hnsw.efSearch = 2 * PROBES
        yield "centroids, graph", lambda x, k: graph.search(x, k)[1], centroids.nbytes + cells * 64 * 4


def microseconds(find: Find, x: np.ndarray, k: int) -> float:
    best = np.inf
    for _ in range(ROUNDS):
        begun = time.process_time()
        find(x, k)
        best = min(best, time.process_time() - begun)
    return float(f"{1e6 * best / len(x):.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    require("faiss", extra="index").omp_set_num_threads(1)
    random = np.random.default_rng(0)

    def unit(count: int) -> np.ndarray:
        rows = random.standard_normal((count, DIM), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    sample, queries = unit(16_384), unit(256)
    results: list[dict[str, Any]] = []
    for cells in CELLS:
        centroids, true = unit(cells), np.zeros((0, 0))
        for name, find, stored in ways(cells, sample, centroids):
            found = {
                "cells": cells,
                "by": name,
                "item": microseconds(find, queries, 1),
                "query": microseconds(find, queries, PROBES),
                "bytes": stored,
            }
            if name == "centroids, all compared":
                true = find(queries, PROBES)
            elif name == "centroids, graph":
                same = [np.isin(row, own).mean() for row, own in zip(find(queries, PROBES), true, strict=True)]
                found["recall"] = round(float(np.mean(same)), 3)
            results.append(found)
            print(found, flush=True)
    if options.output:
        about = {"dim": DIM, "probes": PROBES, "machine": report.environment()}
        write_json(options.output, {**about, "microseconds": results})


if __name__ == "__main__":
    main()
