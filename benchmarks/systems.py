"""Vectors a second of every family's operations, against brute force and FAISS over the same vectors.

    python benchmarks/systems.py --quick                        # below a minute
    python benchmarks/systems.py --output benchmarks/results/systems.json

For each family the smallest system of 10^3 ... 10^9 classes; unrank, rank, decode, topk (k = 10) and log_partition
(forward, and with the gradient) on batches of 256 embeddings. Beside them, where all vectors fit in memory: the
product with the table (torch), and FAISS's Flat, IVF and HNSW indices holding the same vectors, with the share of
queries for which they find the nearest vector. Times are medians over repeated calls, of fewer embeddings where the
batch would take more than ten times --seconds; "-" is an operation that the system does not have, or one that was left
out for its cost, and the notes say which. FAISS is optional: `pip install --no-deps faiss-cpu`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from rootspace.systems import FAMILIES, VectorSystem
from rootspace.systems.planning.catalogue import OTHERS, candidate

BATCH, K = 256, 10
SMALL_BATCH = 8
SIZES = tuple(10**exponent for exponent in range(3, 10))
#: Largest dimension measured: A at 10^9 has 31,624, whose batch of topk alone takes minutes.
MOST_DIMENSIONS = 4096
OPERATIONS = ("unrank", "rank", "decode", "topk", "log_partition", "log_partition+gradient")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10^3 and 10^6 classes, few repeats, below a minute")
    parser.add_argument("--family", action="append", help="repeatable; default: all that a plan compares")
    parser.add_argument("--classes", type=int, action="append", help="repeatable; default: 10^3 to 10^9")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--seconds", type=float, help="time for one operation of one system")
    parser.add_argument("--memory", type=float, help="GiB that a table of all vectors may take")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch and FAISS; default: torch's own choice")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    seconds = given.seconds if given.seconds else 0.02 if given.quick else 1.0
    memory = 2**30 * (given.memory if given.memory else 0.02 if given.quick else 4.0)
    sizes = tuple(given.classes or ((10**3, 10**6) if given.quick else SIZES))
    families = tuple(given.family or (*FAMILIES, *OTHERS))
    faiss, why = _faiss()
    begun, rows, notes = time.perf_counter(), [], []
    for size in sizes:
        for family in families:
            system = candidate(family, size)
            if system is None:
                continue
            if system.dim > MOST_DIMENSIONS:
                notes.append(f"{family} at {size:,}: {system.dim:,} dimensions, left out above {MOST_DIMENSIONS:,}")
                continue
            row = _measure(system, given.batch, seconds, memory, faiss, torch.device(given.device), given.quick)
            rows.append({"family": family, "classes": size, **row})
            _print(rows[-1], header=len(rows) == 1)
    if why:
        notes.append(why)
    result = {
        "machine": _machine(torch.device(given.device), faiss),
        "batch": given.batch,
        "k": K,
        "quick": given.quick,
        "seconds": round(time.perf_counter() - begun, 1),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "unit": "vectors a second",
        "notes": notes,
        "rows": rows,
    }
    print("\n" + "\n".join([", ".join(f"{k}: {v}" for k, v in result["machine"].items()), *notes]))
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"written to {given.output}")


def _measure(
    system: VectorSystem, batch: int, seconds: float, memory: float, faiss: Any, device: torch.device, quick: bool
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(batch, system.dim, generator=generator), dim=1).to(device)
    z = (10 * x).requires_grad_()
    named = system.size < 2**63
    index = torch.randint(min(system.size, 2**62), (batch,), generator=generator).to(device)
    vectors = system.unrank(index, x.dtype) if named else system.nearest(x)
    calls: dict[str, Callable[[int], Any]] = {
        "unrank": lambda b: system.unrank(index[:b], x.dtype),
        "rank": lambda b: system.rank(vectors[:b]),
        "decode": (lambda b: system.decode(x[:b])) if named else (lambda b: system.nearest(x[:b])),
        "topk": (lambda b: system.topk(x[:b], K)) if named else (lambda b: system.nearest_k(x[:b], K)),
        "log_partition": lambda b: system.log_partition(z.detach()[:b]),
        "log_partition+gradient": lambda b: torch.autograd.grad(system.log_partition(z[:b]).sum(), z),
    }
    if not named:
        del calls["unrank"], calls["rank"]
    row: dict[str, Any] = {"spec": system.spec, "dim": system.dim, "size": str(system.size)}
    for name in OPERATIONS:
        row[name] = _rate(calls[name], batch, seconds, device) if name in calls else None
    if 4 * system.size * system.dim <= memory:
        row.update(_brute_force(system, x, z, seconds, faiss, device, quick))
    return row


def _brute_force(
    system: VectorSystem,
    x: torch.Tensor,
    z: torch.Tensor,
    seconds: float,
    faiss: Any,
    device: torch.device,
    quick: bool,
) -> dict[str, Any]:
    table, batch = system.unrank(torch.arange(system.size, device=device), x.dtype), len(x)
    row: dict[str, Any] = {
        "torch decode": _rate(lambda b: (x[:b] @ table.T).argmax(1), batch, seconds, device),
        "torch topk": _rate(lambda b: (x[:b] @ table.T).topk(min(K, system.size), dim=1), batch, seconds, device),
    }
    row["torch log_partition"] = _rate(lambda b: torch.logsumexp(z.detach()[:b] @ table.T, 1), batch, seconds, device)
    row["torch log_partition+gradient"] = _rate(
        lambda b: torch.autograd.grad(torch.logsumexp(z[:b] @ table.T, 1).sum(), z), batch, seconds, device
    )
    if faiss is None:
        return row
    rows, queries = table.cpu().numpy(), x.cpu().numpy()
    best = torch.cat([(part @ table.T).amax(1) for part in x.split(32)]).cpu()
    kinds = {"flat": lambda: faiss.IndexFlatIP(system.dim)}
    if system.size >= 1000:
        cells = max(8, round(system.size**0.5))
        kinds["ivf"] = lambda: _ivf(faiss, system.dim, cells)
    if system.size <= (20_000 if quick else 1_000_000):  # building its graph takes minutes above
        kinds["hnsw"] = lambda: faiss.IndexHNSWFlat(system.dim, 32, faiss.METRIC_INNER_PRODUCT)
    for kind, make in kinds.items():
        begun = time.perf_counter()
        index = make()
        if not index.is_trained:
            index.train(rows[:: max(1, system.size // 50_000)])
        index.add(rows)
        row[f"faiss {kind} build s"] = round(time.perf_counter() - begun, 3)
        row[f"faiss {kind} decode"] = _rate(lambda b, index=index: index.search(queries[:b], 1), batch, seconds, None)
        row[f"faiss {kind} topk"] = _rate(lambda b, index=index: index.search(queries[:b], K), batch, seconds, None)
        # several vectors may be nearest alike: what counts is the inner product
        values = torch.from_numpy(index.search(queries, 1)[0][:, 0])
        row[f"faiss {kind} exact"] = round(float((values >= best - 1e-5).double().mean()), 4)
    return row


def _ivf(faiss: Any, dim: int, cells: int) -> Any:
    index = faiss.index_factory(dim, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.nprobe, index.cp.min_points_per_centroid = max(1, cells // 16), 1
    return index


def _rate(call: Callable[[int], Any], batch: int, seconds: float, device: torch.device | None) -> float | None:
    """Vectors a second, the median of as many calls as fit in the time; None without the operation.

    `call(b)` works on the first b of the batch. Eight of it are tried first, then four times as many each time; where
    the next step would take ten times the time there is, the rate so far is the answer.
    """
    b = min(SMALL_BATCH, batch)
    try:
        _time(call, 1, device)  # makes what is made once
        spent = _time(call, b, device)
    except NotImplementedError:
        return None
    while b < batch and 4 * spent <= 10 * seconds:
        b = min(4 * b, batch)
        spent = _time(call, b, device)
    times = [spent]
    while sum(times) + times[-1] < seconds and len(times) < 200:
        times.append(_time(call, b, device))
    return _three_digits(b / sorted(times)[len(times) // 2])


def _three_digits(rate: float) -> float:
    return float(f"{rate:.3g}")


def _time(call: Callable[[int], Any], batch: int, device: torch.device | None) -> float:
    begun = time.perf_counter()
    call(batch)
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _faiss() -> tuple[Any, str]:
    try:
        faiss = importlib.import_module("faiss")
    except ImportError as error:
        return None, f"FAISS left out: {error}; pip install --no-deps faiss-cpu"
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss, ""


def _machine(device: torch.device, faiss: Any) -> dict[str, str]:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return {
        "processor": name,
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "faiss": getattr(faiss, "__version__", "none"),
        "system": f"{platform.system()} {platform.release()}",
    }


def _print(row: dict[str, Any], header: bool) -> None:
    others = ("torch decode", "faiss flat decode", "faiss ivf decode", "faiss hnsw decode", "torch log_partition")
    if header:
        names = ("unrank", "rank", "decode", "topk", "logZ", "logZ+grad", "torch", "flat", "ivf", "hnsw", "torch logZ")
        print(f"vectors a second\n{'classes':>9} {'spec':<14}" + "".join(f"{name:>11}" for name in names))
    cells = "".join(f"{_short(row.get(name)):>11}" for name in (*OPERATIONS, *others))
    print(f"{row['classes']:>9.0e} {row['spec']:<14}{cells}", flush=True)


def _short(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


if __name__ == "__main__":
    main()
