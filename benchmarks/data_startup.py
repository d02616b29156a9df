"""What starting on much data costs: time and memory to open it, the first time and the second.

    python benchmarks/data_startup.py --output benchmarks/results/data-startup.json

Stores of 10^3 to 1.3 million images, each its own class with a name of its own, and folders of up to 10^5 class
folders. Every measurement is a process of its own, on one thread; seconds are of the processor (and "wall" by the
clock), the least of some rounds; memory is the peak of the process less what Python and the imports take, and for data
loader workers what is theirs alone. For stores the other way is to read and hash every byte and to keep the names as
JSON; for folders it is the "imagefolder" of the library `datasets`, up to --most-rival folders.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resident import peak_memory, reset_peak
from rootspace import report
from rootspace.data import ImageStore, Preprocessing, batches, image_folder, writing
from rootspace.files import read_json, write_json

SIDE = 32
CELL = Preprocessing(SIDE, 1, "stretch")
WORKERS = 2


def make_store(path: Path, n: int) -> None:
    """A store of n images of noise, each of its own class."""
    generator = np.random.default_rng(0)
    names = [f"class of image {number:07}" for number in range(n)]
    with writing(path, CELL, names, ["noise"]) as writer:
        for start in range(0, n, 4096):
            rows = np.arange(start, min(start + 4096, n))
            cells = generator.integers(0, 256, (len(rows), SIDE, SIDE, 1), dtype=np.uint8)
            writer.add(cells, rows, np.zeros(len(rows)))
    write_json(path.with_suffix(".json"), names)


def make_folder(path: Path, n: int) -> None:
    """n class folders with one small picture each."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(
        path.with_suffix(".png")
    )
    picture = path.with_suffix(".png").read_bytes()
    for number in range(n):
        folder = path / f"class {number:06}"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(picture)


# ---------------------------------------------------------------------- what is measured, each in its own process


def open_store(path: Path) -> None:
    store = ImageStore.open(path)
    store.all().images_at([len(store) // 2])
    _ = store.label_names[len(store) // 2]


def hash_everything(path: Path) -> None:
    for name in ("images.npy", "labels.npy", "sources.npy"):
        digest = hashlib.sha256()
        with open(path / name, "rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    names = tuple(read_json(path.with_suffix(".json")))
    np.load(path / "images.npy", mmap_mode="r")[[len(names) // 2]]


def read_all(path: Path) -> None:
    view = ImageStore.open(path).all()
    for start in range(0, len(view), 4096):
        view.images_at(np.arange(start, min(start + 4096, len(view))))


def with_workers(path: Path) -> dict[str, Any]:
    """An epoch's beginning in shuffled order; the private memory of the workers."""
    loader = iter(batches(ImageStore.open(path).all(), 128, seed=1, num_workers=WORKERS))
    for _ in range(20):
        if next(loader, None) is None:
            break
    workers = getattr(loader, "_workers", [])
    return {"private_mb": max((private_mb(worker.pid) for worker in workers if worker.is_alive()), default=None)}


def open_folder(path: Path) -> None:
    image_folder(path, CELL, cache=path.with_suffix(".cache"), progress=False)


def open_rival(path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    cache = str(path.with_suffix(".rival"))
    datasets.load_dataset("imagefolder", data_dir=str(path), cache_dir=cache, split="train")[0]


WORK = {
    function.__name__: function
    for function in (open_store, hash_everything, read_all, with_workers, open_folder, open_rival)
}


def private_mb(pid: int) -> float:
    """Memory that a process shares with no other, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


def run_here(name: str, path: Path) -> None:
    """Measure one function in this process and print JSON."""
    if name == "open_rival":
        import datasets  # noqa: F401  what it takes to import is not counted
    before, wall, spent = reset_peak(), time.perf_counter(), time.process_time()
    more = WORK[name](path) or {}
    found = {"seconds": time.process_time() - spent, "wall": time.perf_counter() - wall}
    found["peak_mb"] = (peak_memory() - before) / 2**20
    print(json.dumps(found | more))


def measured(name: str, path: Path, rounds: int) -> dict[str, Any]:
    """The least of some rounds, each a process of its own."""
    command = [sys.executable, __file__, "--here", name, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    found = [
        json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds)
    ]
    return min(found, key=lambda one: one["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_300_000])
    parser.add_argument("--folders", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--most-rival", type=int, default=100_000, help="the most folders the other library gets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--here", nargs=2, metavar=("WHAT", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        return run_here(options.here[0], Path(options.here[1]))
    results: dict[str, Any] = {"stores": {}, "folders": {}}
    place = Path(tempfile.mkdtemp(prefix="data-startup-"))
    try:
        for n in options.images:
            path = place / f"store-{n}"
            make_store(path, n)
            found = {"bytes": (path / "images.npy").stat().st_size}
            for name in ("open_store", "hash_everything", "with_workers", "read_all"):
                found[name] = measured(name, path, 1 if name == "read_all" else options.rounds)
            results["stores"][n] = found
            print(n, json.dumps(found), flush=True)
            shutil.rmtree(path)
        for n in options.folders:
            path = place / f"folder-{n}"
            make_folder(path, n)
            found = {
                "first": measured("open_folder", path, 1),
                "second": measured("open_folder", path, options.rounds),
            }
            if n <= options.most_rival:
                found["rival_first"] = measured("open_rival", path, 1)
                found["rival_second"] = measured("open_rival", path, 1)
            results["folders"][n] = found
            print(n, json.dumps(found), flush=True)
            shutil.rmtree(path)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if options.output:
        write_json(options.output, {"machine": report.environment(), "workers": WORKERS, "results": results})
    return None


if __name__ == "__main__":
    main()
