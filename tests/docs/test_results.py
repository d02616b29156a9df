"""The page of benchmarks names every script and every result."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_every_benchmark_is_named() -> None:
    scripts = [path for path in ROOT.glob("benchmarks/*.py") if "__main__" in path.read_text(encoding="utf-8")]
    scripts += ROOT.glob("benchmarks/*.sh")
    assert len(scripts) > 20
    assert [path.name for path in scripts if f"](../benchmarks/{path.name})" not in PAGE] == []


def test_every_result_is_named() -> None:
    results = list(ROOT.glob("benchmarks/results/*.json"))
    assert len(results) > 30
    assert [path.name for path in results if f"](../benchmarks/results/{path.name})" not in PAGE] == []


def test_every_row_names_its_page() -> None:
    rows = re.findall(r"^\| (\[.*|) \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 25
    for name, page in rows:
        assert re.fullmatch(r"\[.+\]\(([\w-]+\.md|#[\w-]+)\)", page), name
