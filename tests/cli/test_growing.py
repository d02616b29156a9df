"""`rootspace grow`: new classes on top of a trained model, and what bad input looks like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import rootspace

from .conftest import Run, tree, write_arrays, write_shapes

Fails = Callable[..., str]
SHORT = ("--epochs", 2, "--batch-size", 8, "--threads", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def new_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of drawings under names the model does not know."""
    folder = write_shapes(tmp_path_factory.mktemp("new") / "shapes", 9, 10, ("круг", "three sides"))
    (folder / "круг").rename(folder / "星")
    (folder / "three sides").rename(folder / "tent")
    return folder


def test_a_model_grows_and_says_what_became_of_it(
    works: Run, fails: Fails, model: Path, shapes: Path, new_shapes: Path, other_shapes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "more"
    command = ("grow", model, new_shapes, "--replay", shapes, "--output", output, *SHORT)
    result: Result = works(*command)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["top-1", "before", "enrolled", "trained"]
    assert lines[1].startswith("4 old classes")
    assert lines[2].split()[:4] == ["2", "new", "classes", "-"]
    grown = rootspace.load(output / "model")
    assert grown.label_names == (*rootspace.load(model).label_names, "tent", "星")
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert results["accuracy"]["trained"].keys() == {"old", "new"}
    assert f"{results['accuracy']['trained']['old']:.2%}" == lines[1].split()[-1]
    works("predict", output / "model", other_shapes)
    assert "holds another run" in fails(*command)
    assert "replay_share 0.25" in fails(*command, "--replay-share", 0.25, "--resume")
    works(*command, "--resume")


def test_tests_of_its_own_and_no_replay(
    works: Run, model: Path, new_shapes: Path, shapes: Path, tmp_path: Path
) -> None:
    found = works("grow", model, new_shapes, "--test", new_shapes, "--output", tmp_path / "a", "--no-enrol", *SHORT)
    assert "old classes" not in found.stdout
    found = works("grow", model, new_shapes, "--test", shapes, "--output", tmp_path / "b", *SHORT)
    assert "new classes" not in found.stdout
    works("grow", model, new_shapes, "--test-share", 0, "--output", tmp_path / "c", *SHORT)


def test_bad_input(fails: Fails, model: Path, shapes: Path, new_shapes: Path, tmp_path: Path) -> None:
    output = ("--output", tmp_path / "o", *SHORT)
    before = tree(tmp_path)
    message = fails("grow", model, shapes, *output)
    assert "the model knows 'three sides' already (4 of 4 classes)" in message
    assert "--replay" in message
    assert "not known: tent, 星" in fails("grow", model, new_shapes, "--replay", new_shapes, *output)
    assert "no such folder; expected a model folder" in fails("grow", tmp_path / "none", new_shapes, *output)
    assert "no such file or folder" in fails("grow", model, tmp_path / "none", *output)
    assert "--replay-share" in fails("grow", model, new_shapes, "--replay-share", 1, *output)
    assert "Missing option '--output'" in fails("grow", model, new_shapes)
    spec = rootspace.load(model).assignment.system.spec
    assert f"are not vectors of V22:99; take embedded({spec}, 99)" in fails(
        "grow", model, new_shapes, "--system", "V22:99", *output
    )
    assert "cannot read system" in fails("grow", model, new_shapes, "--system", "V22;99", *output)
    assert "margin" in fails("grow", model, new_shapes, "--margin", -1, *output)
    assert tree(tmp_path) == before
    stranger = write_arrays(tmp_path / "d.npz", np.array(["moon", "sun"]))
    assert "not known: moon, sun" in fails("grow", model, new_shapes, "--test", stranger, *output)
    assert not (tmp_path / "o").exists()
