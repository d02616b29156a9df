"""Time and memory of evaluation: accuracy and its means over classes, and retrieval, against what else is used.

    pip install torchmetrics faiss-cpu
    python benchmarks/evaluation_cost.py --output benchmarks/results/evaluation-cost.json

Accuracy: from labels and best guesses of samples of N classes, all at once: top-1, its macro average, macro precision
and macro F1, by `rootspace.evaluate` and by torchmetrics. Retrieval: recall@1 and @10 and mean average precision of
every sample against all others (ten samples a class, class centres with noise), by `rootspace.evaluate.retrieval`, with
the whole matrix of cosines, by torchmetrics from that matrix, and by FAISS's exact index, which gives the nearest ten
and so recall alone. Each row is a fresh process of one thread: processor time, and the most memory it held above what
it held with packages and data loaded; "-" is what needed more than --memory GB or --seconds, and is then not tried with
more samples.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from resident import peak_memory, reset_peak
from rootspace import report
from rootspace.errors import require
from rootspace.evaluate import Predictions, retrieval
from rootspace.files import write_json

PER_CLASS = 10
Numbers = dict[str, float]


def guesses(samples: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and best guesses (samples,), nine of ten right."""
    random = np.random.default_rng(0)
    truth = random.integers(0, n_classes, samples)
    return truth, np.where(random.random(samples) < 0.9, truth, random.integers(0, n_classes, samples))


def accuracy_here(truth: np.ndarray, guess: np.ndarray, n_classes: int) -> Numbers:
    found = Predictions(truth, guess[:, None], np.empty((len(guess), 0))).accuracy((1,))
    return {"top1": found.top1, "macro": found.macro, "precision": found.macro_precision, "f1": found.macro_f1}


def accuracy_torchmetrics(truth: np.ndarray, guess: np.ndarray, n_classes: int) -> Numbers:
    metrics = require("torchmetrics", extra="benchmarks")
    kinds = metrics.classification
    measures = metrics.MetricCollection(
        {
            "top1": kinds.MulticlassAccuracy(n_classes, average="micro", validate_args=False),
            "macro": kinds.MulticlassRecall(n_classes, average="macro", validate_args=False),
            "precision": kinds.MulticlassPrecision(n_classes, average="macro", validate_args=False),
            "f1": kinds.MulticlassF1Score(n_classes, average="macro", validate_args=False),
        }
    )
    measures.update(torch.from_numpy(guess), torch.from_numpy(truth))
    return {name: float(value) for name, value in measures.compute().items()}


def embeddings(samples: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings (samples, dim) around class centres, and labels."""
    random = np.random.default_rng(0)
    labels = np.arange(samples) // PER_CLASS
    centres = random.normal(size=(samples // PER_CLASS, dim)).astype(np.float32)
    x = centres[labels] + 1.2 * random.normal(size=(samples, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def retrieval_here(x: np.ndarray, labels: np.ndarray) -> Numbers:
    found = retrieval(x, labels, (1, 10))
    return {"recall@1": found.recall[1], "recall@10": found.recall[10], "map": found.mean_average_precision}


def retrieval_matrix(x: np.ndarray, labels: np.ndarray) -> Numbers:
    unit = normalize(torch.from_numpy(x), dim=1)
    scores = (unit @ unit.T).fill_diagonal_(-torch.inf)
    order = scores.argsort(dim=1, descending=True)[:, :-1]
    good = torch.from_numpy(labels)[order] == torch.from_numpy(labels)[:, None]
    precision = good.cumsum(1) / torch.arange(1, good.shape[1] + 1)
    return {
        "recall@1": float(good[:, 0].double().mean()),
        "recall@10": float(good[:, :10].any(1).double().mean()),
        "map": float(((precision * good).sum(1) / good.sum(1)).double().mean()),
    }


def retrieval_torchmetrics(x: np.ndarray, labels: np.ndarray) -> Numbers:
    kinds = require("torchmetrics.retrieval", extra="benchmarks")
    unit, n = normalize(torch.from_numpy(x), dim=1), len(x)
    others = ~torch.eye(n, dtype=torch.bool)
    scores = (2 + unit @ unit.T)[others]  # positive: it takes what scores 0 or less for irrelevant
    target = (torch.from_numpy(labels)[:, None] == torch.from_numpy(labels))[others]
    queries = torch.arange(n).repeat_interleave(n - 1)
    measures = {"recall@1": kinds.RetrievalHitRate(top_k=1), "recall@10": kinds.RetrievalHitRate(top_k=10)}
    return {
        name: float(measure(scores, target, indexes=queries))
        for name, measure in {**measures, "map": kinds.RetrievalMAP()}.items()
    }


def retrieval_faiss(x: np.ndarray, labels: np.ndarray) -> Numbers:
    faiss = require("faiss", extra="benchmarks")
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    found = index.search(x, 11)[1]
    others = found != np.arange(len(x))[:, None]
    order = (~others).argsort(axis=1, kind="stable")[:, :10]  # without the query itself
    good = labels[np.take_along_axis(found, order, axis=1)] == labels[:, None]
    return {"recall@1": float(good[:, 0].mean()), "recall@10": float(good.any(1).mean())}


TASKS: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Numbers]]]] = {
    "accuracy": (guesses, {"rootspace": accuracy_here, "torchmetrics": accuracy_torchmetrics}),
    "retrieval": (
        embeddings,
        {
            "rootspace": retrieval_here,
            "matrix": retrieval_matrix,
            "torchmetrics": retrieval_torchmetrics,
            "FAISS Flat": retrieval_faiss,
        },
    ),
}


def measure(task: str, method: str, samples: int, size: int, memory: float, seconds: int) -> dict[str, Any]:
    """One row; run in a process of its own. `size` is the number of classes, or the dimension."""
    make, methods = TASKS[task]
    data = make(samples, size)
    arguments = (*data, size) if task == "accuracy" else data
    if method in ("torchmetrics", "FAISS Flat"):  # its import is no part of what is measured
        require({"FAISS Flat": "faiss"}.get(method, method), extra="benchmarks")
    idle = reset_peak()
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + int(memory * 1e9), resource.RLIM_INFINITY))
    begun = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(begun) + seconds, resource.RLIM_INFINITY))
    try:
        numbers = methods[method](*arguments)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error) and "bad_alloc" not in str(error):
            raise
        return {"failed": f"more than {memory:g} GB"}
    return {"seconds": time.process_time() - begun, "bytes": peak_memory() - idle, **numbers}


def fresh(case: list[Any], options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", json.dumps(case)]
    command += ["--memory", str(options.memory), "--seconds", str(options.seconds)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    names = dict(zip(("task", "method", "samples", "size"), case, strict=True))
    if finished.returncode == -signal.SIGXCPU:
        return {**names, "failed": f"more than {options.seconds} s"}
    finished.check_returncode()
    return {**names, **json.loads(finished.stdout.splitlines()[-1])}


def disagreements(rows: list[dict[str, Any]]) -> list[str]:
    """Numbers that methods should agree on and do not: all but the macro accuracy, which has two definitions."""
    found = []
    for row in rows:
        for other in rows:
            if [row[name] for name in ("task", "samples", "size")] == [other[n] for n in ("task", "samples", "size")]:
                names = {"top1", "precision", "f1", "recall@1", "recall@10", "map"} & row.keys() & other.keys()
                found += [
                    f"{name} of {row['method']} and {other['method']}, {row['samples']:,} samples, {row['size']:,}"
                    for name in sorted(names)
                    if row[name] > other[name] + 1e-4
                ]
    return found


def show(row: dict[str, Any]) -> str:
    head = f"{row['task']:<10} {row['samples']:>10,} {row['size']:>13,}  {row['method']:<13}"
    if "failed" in row:
        return f"{head} -  ({row['failed']})"
    rest = ("task", "method", "samples", "size", "seconds", "bytes")
    numbers = "  ".join(f"{name} {value:.6f}" for name, value in row.items() if name not in rest)
    return f"{head} {row['seconds']:>9.2f} s {row['bytes'] / 1e6:>10,.1f} MB  {numbers}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="*", default=[10**4, 10**5, 10**6])
    parser.add_argument("--classes", type=int, nargs="+", default=[10**3, 10**6, 10**9])
    parser.add_argument("--gallery", type=int, nargs="*", default=[2000, 10_000, 100_000])
    parser.add_argument("--dims", type=int, nargs="+", default=[41, 128])
    parser.add_argument("--memory", type=float, default=8.0, help="GB that a method may take")
    parser.add_argument("--seconds", type=int, default=200, help="processor time that a method may take")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(measure(*json.loads(options.one), options.memory, options.seconds)))
        return
    cases = [["accuracy", m, n, c] for c in options.classes for n in options.samples for m in TASKS["accuracy"][1]]
    cases += [["retrieval", m, n, d] for d in options.dims for n in options.gallery for m in TASKS["retrieval"][1]]
    print(f"{'':<10} {'samples':>10} {'classes / dim':>13}")
    rows: list[dict[str, Any]] = []
    failed: dict[tuple[str, str, int], str] = {}
    for case in cases:
        task, method, samples, size = case
        if why := failed.get((task, method, size)):
            rows.append({"task": task, "method": method, "samples": samples, "size": size, "failed": why})
        else:
            rows.append(fresh(case, options))
            failed[task, method, size] = rows[-1].get("failed", "")
        print(show(rows[-1]), flush=True)
    for wrong in disagreements(rows):
        print(f"differ: {wrong}")
    if options.output:
        about = {"machine": report.environment(), "threads": 1, "clock": "processor time", "memory_gb": options.memory}
        write_json(options.output, {**about, "rows": rows})


if __name__ == "__main__":
    main()
