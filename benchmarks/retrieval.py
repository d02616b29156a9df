"""Smaller vector databases: what is found against the bytes of a vector and the queries a second, on real embeddings.

    pip install faiss-cpu usearch
    python benchmarks/retrieval.py --output benchmarks/results/retrieval.json
    python benchmarks/plot_retrieval.py benchmarks/results/retrieval.json --output docs/images/retrieval.svg

A query is the image of a character in a typeface that nothing was trained or chosen on; relevant are the images of the
same character in the other typefaces, of which the database holds eight among 32,000. recall@k: the share of queries
with a relevant image among the k nearest; at k = 1 that is the accuracy of the label of the nearest neighbour. It is
given for characters that were trained (in other typefaces) and for new ones. agreement@10: the share of the 10 nearest
by float32, exactly, that an approximate search finds too. Queries a second are of processor time, one thread, the
fastest of some rounds. The result file is written after every measurement, and what it holds is not done again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retrieval_models import KINDS, Characters, Embedded, embedded, unit
from rootspace import report
from rootspace.errors import require
from rootspace.files import read_json, write_json
from rootspace.index import SystemIndex
from rootspace.index.backends.base import pack_signs
from rootspace.systems import parse
from rootspace.train import TrainConfig

K = 10
#: Dimensions that a long embedding is brought to.
SHORT = (13, 24, 41, 64, 128)
#: Embeddings that FAISS's product quantiser is learned for, which takes long.
QUANTISED = ("graded:64", "linear 384")
#: Embeddings whose databases are timed.
TIMED = ("graded:64", "linear 384", "V22:13")
#: Copies of each item, a little noise apart, in the test of size: the one part that is not of real embeddings only.
COPIES, NOISE = 10, 0.3

Search = Callable[[np.ndarray], np.ndarray]
Form = tuple[str, Callable[[], dict[str, Any]]]


class Sides:
    """The database and the queries of one embedding."""

    def __init__(self, embeddings: Embedded, data: Characters) -> None:
        gallery = ["train", *data.task.tuning]
        self.items = np.concatenate([embeddings.vectors[part] for part in gallery])
        self.labels = np.concatenate([embeddings.labels[part] for part in gallery])
        # every other one is enough: a share is known to half a per cent
        self.queries = np.concatenate([embeddings.vectors[part] for part in data.task.untouched])[::2]
        self.asked = np.concatenate([embeddings.labels[part] for part in data.task.untouched])[::2]
        self.known = self.asked < data.known

    def thinned(self, step: int) -> None:
        """Keep every `step`-th query, in place."""
        self.queries, self.asked, self.known = self.queries[::step], self.asked[::step], self.known[::step]

    def recall(self, rows: np.ndarray) -> dict[str, float]:
        """Of the rows of the items found (Q, k), best first; -1 for none."""
        right = (self.labels[rows] == self.asked[:, None]) & (rows >= 0)
        return {
            f"recall@{k}, {name}": float(right[part, :k].any(axis=1).mean())
            for k in (1, K)
            for name, part in (("trained", self.known), ("new", ~self.known))
        }


def exact(items: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The rows of the K items with the largest inner products."""
    index = require("faiss", extra="index").IndexFlatIP(items.shape[1])
    index.add(items)
    rows: np.ndarray = index.search(queries, K)[1]
    return rows


def exact_signs(items: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The rows of the K items with the fewest other signs."""
    stored = pack_signs(items)
    index = require("faiss", extra="index").IndexBinaryFlat(8 * stored.shape[1])
    index.add(stored)
    rows: np.ndarray = index.search(pack_signs(queries), K)[1]
    return rows


def product_quantised(items: np.ndarray, queries: np.ndarray, size: int) -> np.ndarray:
    """The same by FAISS's product quantiser of `size` bytes, learned from the items."""
    faiss = require("faiss", extra="index")
    index = faiss.index_factory(items.shape[1], f"PQ{size}", faiss.METRIC_INNER_PRODUCT)
    index.train(items)
    index.add(items)
    rows: np.ndarray = index.search(queries, K)[1]
    return rows


def int8(items: np.ndarray) -> np.ndarray:
    """Rounded to signed bytes with a scale a row, as `SystemIndex` stores them."""
    scale = np.abs(items).max(axis=1, keepdims=True) / 127
    return (np.rint(items / scale) * scale).astype(np.float32)


def as_system_vectors(spec: str, items: np.ndarray) -> tuple[np.ndarray, int]:
    """Each item as the nearest vector of a system, and the bytes that store one: its index, or 3 bits a coordinate."""
    system = parse(spec)
    bits = 3 * system.dim if spec.startswith("graded") else (system.size - 1).bit_length()
    return unit(system.nearest(torch.from_numpy(items)).numpy()), -(-bits // 8)


# ---------------------------------------------------------------------- what a vector takes


def forms(name: str, long: Embedded, data: Characters) -> Iterator[Form]:
    """(name, measurement) of each way to store an embedding of one kind."""
    sides = Sides(long, data)
    dim = sides.items.shape[1]

    def whole(items: np.ndarray, size: float) -> dict[str, Any]:
        return {"bytes": size, **sides.recall(exact(items, sides.queries))}

    yield f"{name}, float32", lambda: whole(sides.items, 4 * dim)
    yield f"{name}, float16", lambda: whole(sides.items.astype(np.float16).astype(np.float32), 2 * dim)
    yield f"{name}, int8", lambda: whole(int8(sides.items), dim + 4)
    signs = -(-dim // 8)
    yield f"{name}, binary", lambda: {"bytes": signs, **sides.recall(exact_signs(sides.items, sides.queries))}
    own = name if name.startswith("V") else f"graded:{dim}"
    if own.startswith("V") or dim % 2 == 0:
        yield f"{name}, nearest vector of {own}", lambda: whole(*as_system_vectors(own, sides.items))
    if name in QUANTISED:
        yield from quantised(name, sides)
    if dim == 384:
        yield from shortened(name, long, data)


def quantised(name: str, sides: Sides) -> Iterator[Form]:
    """The product quantiser of an embedding, in several sizes."""
    for size in (8, 16, 32):

        def measure(size: int = size) -> dict[str, Any]:
            return {"bytes": size, **sides.recall(product_quantised(sides.items, sides.queries, size))}

        yield f"{name}, PQ{size}", measure


def shortened(name: str, long: Embedded, data: Characters) -> Iterator[Form]:
    """A long embedding cut, or turned to its principal axes and then cut; and one of these in still fewer bytes."""
    mean, axes = principal_axes(long.vectors["train"])
    for short in SHORT:
        cut = Sides(long.mapped(lambda rows, short=short: rows[:, :short]), data)
        turned = Sides(long.mapped(lambda rows, short=short: (rows - mean) @ axes[:, :short]), data)
        for how, now in (("first" if name.startswith("nested") else "truncated", cut), ("PCA", turned)):

            def stored(items: np.ndarray, size: int, now: Sides = now) -> dict[str, Any]:
                return {"bytes": size, **now.recall(exact(items, now.queries))}

            yield f"{name}, {how} {short}", partial(stored, now.items, 4 * short)
            yield f"{name}, {how} {short}, int8", partial(stored, int8(now.items), short + 4)
    # turned once more, so that all coordinates are alike
    alike = Sides(long.mapped(lambda rows: (rows - mean) @ axes[:, :64] @ random_turn(64)), data)

    def as_vectors() -> dict[str, Any]:
        items, size = as_system_vectors("graded:64", alike.items)
        return {"bytes": size, **alike.recall(exact(items, alike.queries))}

    yield f"{name}, PCA 64, nearest vector of graded:64", as_vectors
    yield from quantised(f"{name}, PCA 64", alike)


def principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (n,) and the principal axes (n, n), largest first, of embeddings of the training set."""
    mean = rows.mean(axis=0)
    return mean, np.linalg.svd(rows - mean, full_matrices=False)[2].T


def random_turn(n: int) -> np.ndarray:
    """A rotation (n, n), the same every time."""
    return np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0].astype(np.float32)


# ---------------------------------------------------------------------- what a query takes


def databases(items: np.ndarray, own: str | None) -> Iterator[tuple[str, Callable[[Path], tuple[Search, int]]]]:
    """(name, build) of each database; build(folder) gives a search for rows (Q, K) and the bytes of its file.

    own: the spec of the system that the embeddings were trained to, to be the cells as it stands, or None.
    """
    faiss, usearch = require("faiss", extra="index"), require("usearch.index", extra="usearch")
    n = items.shape[1]

    def by_faiss(spec: str, **settings: int) -> Callable[[Path], tuple[Search, int]]:
        def build(folder: Path) -> tuple[Search, int]:
            index = faiss.index_factory(n, spec, faiss.METRIC_INNER_PRODUCT)
            index.train(items)
            index.add(items)
            for name, value in settings.items():
                faiss.ParameterSpace().set_index_parameter(index, name, value)
            faiss.write_index(index, str(folder / "x"))
            return lambda queries: index.search(queries, K)[1], (folder / "x").stat().st_size

        return build

    def by_usearch(dtype: str) -> Callable[[Path], tuple[Search, int]]:
        def build(folder: Path) -> tuple[Search, int]:
            index = usearch.Index(ndim=n, metric="cos", dtype=dtype)
            index.add(np.arange(len(items), dtype=np.uint64), items, threads=1)
            index.save(str(folder / "x"))

            def search(queries: np.ndarray) -> np.ndarray:
                return np.asarray(index.search(queries, K, threads=1).keys).reshape(len(queries), K).astype(np.int64)

            return search, (folder / "x").stat().st_size

        return build

    def by_system(dtype: str, probes: int, system: str | None = None) -> Callable[[Path], tuple[Search, int]]:
        def build(folder: Path) -> tuple[Search, int]:
            index = SystemIndex.create(folder / "x", n, dtype, system)
            index.add(np.arange(len(items)), items)
            size = sum(path.stat().st_size for path in (folder / "x").rglob("*") if path.is_file())
            return lambda queries: index.search(queries, K, probes)[1], size

        return build

    lists = 1 << round(np.log2(4 * np.sqrt(len(items))))
    yield "FAISS Flat", by_faiss("Flat")
    yield "FAISS SQ8", by_faiss("SQ8")
    for probes in (1, 4, 16):
        yield f"FAISS IVF{lists}, {probes} probes", by_faiss(f"IVF{lists},Flat", nprobe=probes)
    yield f"FAISS IVF{lists} SQ8, 16 probes", by_faiss(f"IVF{lists},SQ8", nprobe=16)
    if len(items) < 100_000:
        yield "FAISS HNSW32", by_faiss("HNSW32", efSearch=64)
        for dtype in ("f32", "i8"):
            yield f"USearch {dtype}", by_usearch(dtype)
    for probes in (16, 64, 256):
        yield f"SystemIndex float32, {probes} probes", by_system("float32", probes)
    yield "SystemIndex int8, 64 probes", by_system("int8", 64)
    if n % 2 == 0:
        yield "SystemIndex graded, 64 probes", by_system("graded", 64)
    if own is not None:
        for probes in (1, 8, 64):
            yield f"SystemIndex float32, own cells, {probes} probes", by_system("float32", probes, own)


def timed(build: Callable[[Path], tuple[Search, int]], sides: Sides, best: np.ndarray) -> dict[str, Any]:
    """Bytes a vector on disk, seconds to build, queries a second and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        search, size = build(Path(folder))
        built = time.process_time() - begun
        rows = np.concatenate([search(part) for part in np.array_split(sides.queries, len(sides.queries) // 256)])
        return {
            "bytes": size / len(sides.items),
            "build_seconds": built,
            "queries_per_second": 256 / fastest(lambda: search(sides.queries[:256]), 5),
            "single_queries_per_second": 32
            / fastest(lambda: [search(sides.queries[at : at + 1]) for at in range(32)], 3),
            "agreement@10": float((rows[:, :, None] == best[:, None]).any(axis=1).mean()),
            **sides.recall(rows),
        }


def fastest(work: Callable[[], Any], rounds: int) -> float:
    """Seconds of processor time of the fastest round."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def enlarged(sides: Sides, seed: int = 0) -> None:
    """Every item `COPIES` times, each with noise of `NOISE` of its length; labels go with them. In place."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((COPIES, *sides.items.shape), dtype=np.float32)
    noise *= NOISE / np.sqrt(sides.items.shape[1])
    sides.items = unit((sides.items + noise).reshape(-1, sides.items.shape[1]))
    sides.labels = np.tile(sides.labels, COPIES)


# ---------------------------------------------------------------------- the run


class Stored:
    """The result file: every measurement as soon as it is there."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        before = read_json(path) if path.is_file() else {}
        if before and {key: before.get(key) for key in about} != about:
            raise SystemExit(f"{path}: holds results of other settings; give another --output")
        self.parts: dict[str, dict[str, Any]] = before.get("parts", {"models": {}, "forms": {}, "databases": {}})

    def once(self, part: str, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        if name in self.parts[part]:
            return
        found = measure()
        self.parts[part][name] = {key: float(f"{value:.5g}") for key, value in found.items()}
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()), flush=True)
        write_json(self.path, {**self.about, "machine": report.environment(), "parts": self.parts})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=int, default=3000, help="characters that are trained")
    parser.add_argument("--new", type=int, default=1000, help="further characters")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/retrieval"), help="where embeddings are kept")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    require("faiss", extra="index").omp_set_num_threads(1)
    data, config = Characters(options.known, options.new), TrainConfig(epochs=options.epochs, seed=options.seed)
    about = {"known": options.known, "new": options.new, "epochs": options.epochs, "seed": options.seed}
    stored = Stored(options.output, about)
    for name in KINDS:
        found = embedded(name, data, config, options.cache)
        stored.once("models", name, lambda found=found: {"seconds": found.seconds})
        for form, measure in forms(name, found, data):
            stored.once("forms", form, measure)
    for name in TIMED:
        sides = Sides(embedded(name, data, config, options.cache), data)
        sides.thinned(2)
        compare(stored, name, sides, name if name.startswith("V") else None)
    name = TIMED[0]
    sides = Sides(embedded(name, data, config, options.cache), data)
    sides.thinned(4)
    enlarged(sides)
    compare(stored, f"{name} x {COPIES}", sides, None)


def compare(stored: Stored, name: str, sides: Sides, own: str | None) -> None:
    """Measure every database of one embedding's items."""
    best = exact(sides.items, sides.queries)
    for database, build in databases(sides.items, own):
        stored.once("databases", f"{name} | {database}", lambda build=build: timed(build, sides, best))


if __name__ == "__main__":
    main()
