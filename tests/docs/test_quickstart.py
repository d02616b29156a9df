"""The notebook runs, in the time it promises, and shows what it says."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("freetype")


def printed(notebook: Any) -> str:
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return "".join(out.text for cell in cells for out in cell.outputs if out.get("name") == "stdout")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Kernel is running.*")
def test_it_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))  # nothing is drawn beforehand
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = printed(notebook)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor time, since other tests run at the same time
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 30
    text = printed(notebook)
    assert float(re.search(r"right: ([\d.]+)%", text)[1]) > 90  # type: ignore[index]
    assert "parameters of the head: 0" in text
    # what the page shows was printed by these very cells
    assert re.sub(r"\S*\d\S*", "#", stored).splitlines()[0] == re.sub(r"\S*\d\S*", "#", text).splitlines()[0]
    assert len(stored.splitlines()) == len(text.splitlines())


def test_what_is_stored_is_whole() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(out.output_type == "stream" and out.name == "stdout" for cell in code for out in cell.outputs)
