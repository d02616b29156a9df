"""plan, systems and show: what comes out, what a mistake looks like, and the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from rootspace.systems import FAMILIES
from rootspace.systems.planning.catalogue import KINDS

from .conftest import Run, tree

Fails = Callable[..., str]


def test_plan_says_everything_about_each_family(works: Run) -> None:
    rows = {row["family"]: row for row in json.loads(works("plan", "--classes", 600_000, "--json").stdout)}
    assert rows.keys() >= set(FAMILIES)
    v22 = rows["V22"]
    assert (v22["spec"], v22["n_min"], v22["size"], v22["neighbours"]) == ("V22:41", 41, "607620", 148)
    assert (v22["decode_cost"], v22["log_partition_cost"], v22["on_front"]) == (246, 1107, False)
    assert v22["fill"] == pytest.approx(600_000 / 607_620)
    assert 0.3 < v22["lower_bound"] < v22["random_coding"] < v22["max_cosine"] == 0.75
    assert v22["gap"] == pytest.approx(v22["max_cosine"] - v22["lower_bound"])
    assert rows["dense"]["on_front"]


def test_plan_table(works: Run) -> None:
    table = works("plan", "--classes", 10**12).stdout
    assert "…" not in table
    for word in ("V11:1000001", "1.0e12", "neighbours", "log-partition", "at least", "│ * │ dense"):
        assert word in table


def test_plan_keeps_limits(works: Run, fails: Fails) -> None:
    rows = json.loads(works("plan", "--classes", 50_000, "--max-cosine", 0.7, "--dim", 100, "--json").stdout)
    assert rows
    assert all(row["max_cosine"] <= 0.7 and row["n_min"] <= 100 for row in rows)
    message = fails("plan", "--classes", 600_000, "--family", "V22", "--max-cosine", 0.7, "--dim", 30)
    for word in ("no system holds 600,000 classes", "in at most 30", "allow 41 dimensions, 11 more, and", "0.05 more"):
        assert word in message


def test_plan_draws(works: Run, tmp_path: Path) -> None:
    result = works("plan", "--classes", 5000, "--plot", tmp_path / "new" / "plan.png", "--json")
    assert json.loads(result.stdout)
    assert "plan.png" in result.stderr
    with Image.open(tmp_path / "new" / "plan.png") as picture:
        assert min(picture.size) > 400
    for _ in range(2):
        works("plan", "--classes", 5000, "--family", "V22", "--plot", tmp_path / "plan.svg")
        drawn = (tmp_path / "plan.svg").read_bytes()
    works("plan", "--classes", 5000, "--family", "V22", "--plot", tmp_path / "plan.svg")
    assert drawn == (tmp_path / "plan.svg").read_bytes()  # the same picture is the same file
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    assert tree(tmp_path) == ["new", "new/plan.png", "plan.svg"]


def test_systems(works: Run) -> None:
    text = works("systems").stdout
    rows = json.loads(works("systems", "--json").stdout)
    assert len(rows) == len(KINDS)
    for row in rows:
        assert row["example"] in text
    assert "signed[...]" in text  # brackets are no markup


@pytest.mark.parametrize(
    ("spec", "lines"),
    [
        ("V22:41", ["vectors  607,620", "neighbours  148", "3/4  148", "-3/4  148", "max cosine  0.750000"]),
        ("E8", ["gap to the lower bound  0.000000", "levenshtein  0.500000", "1/2  56"]),
        ("V22:8^2 x W1:4", ["dimensions  20", "int64 indices  yes"]),
        ("dense:64", ["and 41 more; --json has all", "int64 indices  no"]),
        ("dense:20000", ["too many digits to write", "lines  - (no cheap exact answer)"]),
    ],
)
def test_show(works: Run, spec: str, lines: list[str]) -> None:
    text = works("show", spec).stdout
    for line in lines:
        assert line in text


def test_show_json(works: Run) -> None:
    facts = json.loads(works("show", "A:3", "--json").stdout)
    assert facts["vectors_at_cosine"] == {"1": "1", "1/2": "4", "0": "2", "-1/2": "4", "-1": "1"}
    assert facts["lines"] == "6"
    assert facts["bound_on_mcs"]["welch"] < facts["mcs"]
    assert facts["smallest_angle"] == pytest.approx(60)
    assert len(json.loads(works("show", "dense:64", "--json").stdout)["vectors_at_cosine"]) == 65


@pytest.mark.parametrize("spec", ["A:2", "A:3", "D:4", "W1:2", "E8", "dense:64", "even[1^3]", "perm[2,1,0,-3]"])
def test_show_draws(works: Run, tmp_path: Path, spec: str) -> None:
    works("show", spec, "--plot", tmp_path / "system.png")
    with Image.open(tmp_path / "system.png") as picture:
        assert min(picture.size) > 300
    assert tree(tmp_path) == ["system.png"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plan --classes 10 --plot p.pdf", ["p.pdf", ".png or .svg"]),
        ("plan --classes 10 --plot p", ["a plot's file name"]),
        ("plan --classes 10 --max-cosine 2", ["--max-cosine", "range"]),
        ("plan --classes 10 --max-cosine nan", ["nan"]),
        ("plan --classes 10 --dim 0", ["--dim", "range"]),
        ("plan --classes 600000 --family E8", ["240 classes", "V22"]),
        ("plan --classes 600000 --dim 9", ["no system holds", "allow 16 dimensions, 7 more"]),
        ("show", ["Missing argument 'SPEC'"]),
        ("show V22:4x", ["character 6"]),
        ("show V22:8 --plot p.jpg", ["p.jpg", ".png or .svg"]),
        ("systems V22", ["unexpected extra argument"]),
    ],
)
def test_mistakes(fails: Fails, line: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = fails(*line.split())
    for word in words:
        assert word in message
    assert tree(tmp_path) == []


def test_a_plot_that_cannot_be_written(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "file" in fails("plan", "--classes", 10, "--plot", tmp_path / "file" / "plan.png")
    assert (tmp_path / "file").read_text() == "mine"


def test_show_of_vectors_without_structure(works: Run, tmp_path: Path) -> None:
    text = works("show", "random:300,9,1", "--plot", tmp_path / "random.png").stdout
    assert "vectors at cosine" not in text  # 44,850 different ones
    assert "neighbours" in text
    assert "neighbours  - (no cheap exact answer)" in works("show", "random:3000,9,1").stdout
    assert "max cosine  - (no cheap exact answer)" in works("show", "perturbed(V22:41, 0.1, 3)").stdout
