"""What a head costs as classes grow, from a thousand to a billion: time, memory, and what it stores; and decoding.

    pip install pytorch-metric-learning faiss-cpu
    python benchmarks/heads.py --output heads.json
    python benchmarks/heads.py --list

A head is all that belongs to classes: loss, gradient, and the step of its own parameters' optimiser. Each cell of the
table (a method at a number of classes) is measured in a process of its own, with one thread; a method that wants more
memory or processor time than it may have is stopped there, and not tried with more classes. The file is written after
every cell, and a cell that it holds is not repeated.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import heads_tables
from heads_cell import METHODS, OPTIONS
from rivals import RIVALS
from rootspace import report
from rootspace.errors import InputError
from rootspace.files import read_json, write_json

HERE = Path(__file__).resolve().parent
CLASSES = (10**3, 10**4, 10**5, 6 * 10**5, 10**6, 10**7, 10**8, 10**9)

#: Seconds on the clock that a process may take beyond its patience, which counts processor time, on a busy machine.
CLOCK_FACTOR = 10


def run(script: str, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What a script prints as JSON, in a process of its own; what stopped it, where it was stopped for its limits."""
    command = [sys.executable, str(HERE / script), json.dumps(arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLOCK_FACTOR * seconds)
    except subprocess.TimeoutExpired:
        return {"stopped": "time"}
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"stopped": "time" if done.returncode == -signal.SIGXCPU else "memory"}
    if done.returncode:
        raise RuntimeError(f"{script} {arguments} ended with {done.returncode}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Stored:
    """The result file: every cell as soon as it is there."""

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        before = read_json(path) if path is not None and path.is_file() else {}
        if before and before.get("settings") != settings:
            raise InputError(f"{path}: holds results of other settings; give another --output")
        self.heads: dict[str, dict[str, Any]] = before.get("heads", {})
        self.decoding: dict[str, Any] = before.get("decoding", {})

    def write(self) -> None:
        if self.path is not None:
            head = {"machine": report.environment(), "settings": self.settings}
            write_json(self.path, {**head, "heads": self.heads, "decoding": self.decoding})


def measure_heads(stored: Stored, methods: list[str], classes: list[int]) -> None:
    for method in methods:
        cells = stored.heads.setdefault(method, {})
        for n_classes in sorted(classes):
            if str(n_classes) not in cells:
                arguments = {"method": method, "n_classes": n_classes, **stored.settings}
                cells[str(n_classes)] = run("heads_cell.py", arguments, stored.settings["patience"])
                stored.write()
            show(method, n_classes, cells[str(n_classes)])
            if "stopped" in cells[str(n_classes)]:
                break


def show(method: str, n_classes: int, cell: dict[str, Any]) -> None:
    if "stopped" in cell:
        print(f"{method:24} {n_classes:>13,} classes: stopped, {cell['stopped']}", flush=True)
        return
    print(
        f"{method:24} {n_classes:>13,} classes: {1000 * cell['loss_seconds']:10.2f} ms + "
        f"{1000 * cell['step_seconds']:8.2f} ms step, {cell['peak_bytes'] / 1e6:9.2f} MB, "
        f"{cell['parameters']:>13,} parameters, {cell['checkpoint_bytes']:>13,} bytes stored",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="exact names; see --list")
    parser.add_argument("--list", action="store_true", help="list the methods and end")
    parser.add_argument("--classes", type=int, nargs="+", default=list(CLASSES))
    parser.add_argument("--dim", type=int, default=128, help="of the methods that choose no dimension themselves")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that a cell may allocate")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds of processor time for a cell")
    parser.add_argument("--no-decoding", action="store_true", help="heads only")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.list:
        for name in METHODS:
            rival = RIVALS[OPTIONS.get(name, (name,))[0]]
            print(f"{name}: {rival.about} ({rival.source})")
        return
    if unknown := set(options.methods) - set(METHODS):
        parser.error(f"no method is called {', '.join(sorted(unknown))}; see --list")
    settings = {name: getattr(options, name) for name in ("dim", "batch", "memory", "patience")}
    try:
        stored = Stored(options.output, settings)
    except InputError as error:
        parser.error(str(error))
    measure_heads(stored, options.methods, options.classes)
    if not options.no_decoding and not stored.decoding:
        stored.decoding = run("heads_decoding.py", {}, 3600)
        stored.write()
    print(heads_tables.report({"heads": stored.heads, "decoding": stored.decoding}))


if __name__ == "__main__":
    main()
