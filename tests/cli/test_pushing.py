"""`rootspace push`, and models on a hub in the place of folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the hub."""

    def upload(self: Any, *, repo_id: str, folder_path: Path, **options: Any) -> SimpleNamespace:
        shutil.copytree(folder_path, tmp_path / "hub" / repo_id / str(options["revision"]))
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def create(self: Any, repo_id: str, private: bool | None, exist_ok: bool) -> SimpleNamespace:
        (tmp_path / "hub" / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        (tmp_path / "hub" / repo_id / f"private-{private}").touch()
        return SimpleNamespace(repo_id=repo_id)

    monkeypatch.setattr(hub.HfApi, "upload_folder", upload)
    monkeypatch.setattr(hub.HfApi, "create_repo", create)
    monkeypatch.setattr(hub.HfApi, "create_branch", lambda self, **options: None)
    monkeypatch.setattr(
        hub, "snapshot_download", lambda repo_id, revision, **options: str(tmp_path / "hub" / repo_id / str(revision))
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def test_pushed_and_used(works: Any, place: Path, own_model: Path, other_shapes: Path) -> None:
    shutil.rmtree(own_model / "README.md", ignore_errors=True)
    said = works("push", own_model, "user/shapes", "--private").stdout
    assert said == "https://hub/user/shapes/commit/1\n"
    assert (place / "user/shapes/private-True").exists()
    assert {path.name for path in (place / "user/shapes/None").iterdir()} == {
        "README.md", "config.json", "model.safetensors",
    }  # fmt: skip
    picture = next(other_shapes.rglob("*.png"))
    here, there = (works("predict", model, picture).stdout for model in (own_model, "user/shapes"))
    assert here == there
    assert works("evaluate", "user/shapes", other_shapes, "--json").stdout.startswith("{")
    works("index", "build", "user/shapes", other_shapes, "--output", "photos.index")
    assert works("index", "search", "photos.index", picture).stdout.startswith(str(picture))
    works("index", "search", "photos.index", picture, "--model", "user/shapes")
    works("index", "add", "photos.index", picture, "--model", "user/shapes")


def test_a_branch(works: Any, place: Path, own_model: Path) -> None:
    works("push", own_model, "user/shapes", "--revision", "v2")
    assert (place / "user/shapes/v2/config.json").exists()
    assert (place / "user/shapes/private-None").exists()


def test_mistakes_are_one_line(fails: Any, place: Path, own_model: Path, tmp_path: Path) -> None:
    assert "no such folder" in fails("push", tmp_path / "none", "user/x")
    (own_model / "model.safetensors").write_bytes(b"")
    assert "checksum mismatch" in fails("push", own_model, "user/x")
    assert fails("predict", "user/none", "picture.jpg") == (
        "user/none: no such folder; expected a model folder (config.json and model.safetensors)"
    )
