"""The result file of heads.py as Markdown tables, and how far each method is from the linear layer.

python benchmarks/heads_tables.py benchmarks/results/heads.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rootspace.files import read_json

Cell = dict[str, Any]

#: What the table of one number of classes shows.
COLUMNS: dict[str, Callable[[Cell], str]] = {
    "n": lambda cell: str(cell["dim"]),
    "loss and gradient, ms": lambda cell: number(1000 * cell["loss_seconds"]),
    "optimiser, ms": lambda cell: number(1000 * cell["step_seconds"]) if cell["parameters"] else "-",
    "peak memory, MB": lambda cell: number(cell["peak_bytes"] / 1e6),
    "parameters": lambda cell: f"{cell['parameters']:,}",
    "optimiser's state, MB": lambda cell: number(cell["optimiser_bytes"] / 1e6) if cell["parameters"] else "-",
    "stored": lambda cell: size(cell["checkpoint_bytes"]),
}


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def size(count: int) -> str:
    return f"{count} bytes" if count < 1000 else f"{number(count / 1e6)} MB"


def power(n_classes: str) -> str:
    """A number of classes as a heading.

    >>> power("600000"), power("1000000")
    ('6·10⁵', '10⁶')
    """
    zeros = len(n_classes) - len(n_classes.rstrip("0"))
    front = n_classes.rstrip("0")
    raised = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(zeros))
    return f"10{raised}" if front == "1" else f"{front}·10{raised}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def by_classes(heads: dict[str, dict[str, Cell]], value: Callable[[Cell], float]) -> str:
    """One line a method, a column a number of classes; what stopped a method, where it was stopped."""
    columns = sorted({n for cells in heads.values() for n in cells}, key=int)
    rows = []
    for name, cells in heads.items():
        shown = [
            "" if n not in cells else f"({cells[n]['stopped']})" if "stopped" in cells[n] else number(value(cells[n]))
            for n in columns
        ]
        rows.append([name, *shown])
    return table(["", *map(power, columns)], rows)


def at(heads: dict[str, dict[str, Cell]], n_classes: str) -> str:
    """Everything about one number of classes, with time and memory as shares of the linear layer's."""
    done = {
        name: cells[n_classes] for name, cells in heads.items() if "stopped" not in cells.get(n_classes, {"stopped": 1})
    }
    linear = done.get("linear")
    rows = []
    for name, cell in done.items():
        ratios = ["", ""]
        if linear is not None:
            ratios = [number(seconds(linear) / seconds(cell)), number(linear["peak_bytes"] / cell["peak_bytes"])]
        rows.append([name, *(show(cell) for show in COLUMNS.values()), *ratios])
    return table(["", *COLUMNS, "times faster than linear", "times less memory"], rows)


def seconds(cell: Cell) -> float:
    taken: float = cell["loss_seconds"] + cell["step_seconds"]
    return taken


def decoding(found: dict[str, Any]) -> str:
    """One line a way of searching: queries a second by batch, time to build, and the share answered exactly."""
    first = next(iter(found["searches"].values()))
    head = [
        "",
        *(f"queries/s, batch {batch}" for batch in first["rates"]),
        "built, s",
        "bytes a class",
        *(f"exact, {kind}, %" for kind in first["exact"]),
    ]
    rows = [
        [
            name,
            *(number(rate) for rate in one["rates"].values()),
            number(one["build_seconds"]),
            str(one["bytes_a_class"]),
            *(f"{100 * share:.1f}" for share in one["exact"].values()),
        ]
        for name, one in found["searches"].items()
    ]
    return table(head, rows)


def report(stored: dict[str, Any]) -> str:
    """All tables of a result file."""
    heads = stored["heads"]
    parts = [
        "Milliseconds of loss, gradient and optimiser's step",
        by_classes(heads, lambda cell: 1000 * seconds(cell)),
        "Peak memory added, MB",
        by_classes(heads, lambda cell: cell["peak_bytes"] / 1e6),
    ]
    if any("600000" in cells for cells in heads.values()):
        parts += ["At 600,000 classes", at(heads, "600000")]
    if stored["decoding"]:
        parts += [f"Decoding {stored['decoding']['n_classes']:,} classes", decoding(stored["decoding"])]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    print(report(read_json(parser.parse_args().file)))


if __name__ == "__main__":
    main()
