from __future__ import annotations

import io
import re
from dataclasses import replace

from rich.console import Console

from rootspace.models import Threshold
from rootspace.report import Method, RunReport, markdown_table, print_table
from rootspace.report.table import groups


def printed(report: RunReport, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_table(report, console)
    return console.file.getvalue()


def test_terminal_shows_every_number(report):
    text = printed(report)
    for one in ("90.0 %", "91.0 %", "80.0 %", "99.0 %", "12.0 s", "3 min 20 s", "2,000", "明朝", "[bold]", "Mean"):
        assert one in text
    # within a narrow terminal nothing is cut off without a sign
    assert all(len(line) <= 60 for line in printed(report, 60).splitlines())


def test_markdown_is_a_table_whose_names_cannot_break_it(report):
    lines = markdown_table(report).splitlines()
    unescaped = [line.replace("\\|", "").count("|") for line in lines]
    assert set(unescaped) == {4}
    assert "| top-1, 明朝 | 90.0 % | **91.0 %** |" in lines
    assert "| top-5, 明朝 | 99.0 % | 99.0 % |" in lines  # a draw: nobody is best
    assert not any(re.search(r"(?<!\\)<", line) for line in lines)


def test_missing_source_is_a_dash():
    a = Method("a", {"x": 0.5}, {}, 1, 0, 1.0, 1.0)
    b = Method("b", {"x": 0.25, "y": 0.5}, {}, 1, 0, 1.0, 1.0)
    lines = markdown_table(RunReport("t", (a, b))).splitlines()
    assert lines[2:5] == [
        "| top-1, x | **50.0 %** | 25.0 % |",
        "| top-1, y | – | 50.0 % |",
        "| top-1, Mean | – | 37.5 % |",
    ]


def test_a_new_source_is_claimed_where_there_is_one(report):
    assert groups(report)[0].title.endswith("on held-out pictures")
    assert groups(replace(report, new_source=True))[0].title.endswith(
        "on pictures from a source never seen in training"
    )


def test_without_a_threshold_that_is_said(report):
    said = "No threshold was set"
    assert said not in printed(report)  # nothing is recorded of it
    assert said in printed(replace(report, n_calibration=0))
    assert said not in printed(replace(report, n_calibration=60, threshold=Threshold(0.5, 0.1, 0.04)))


def test_texts_are_no_images(report):
    assert "Images" not in printed(replace(report, thing="text"))
