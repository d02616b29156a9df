"""Loads the recipes of the documentation; all draw the packaged typefaces, into one cache."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from rootspace.errors import InputError

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "recipes"

Load = Callable[[str], ModuleType]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _typefaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Skips where the typefaces are not installed."""
    pytest.importorskip("freetype")
    from rootspace.demo import demo_data

    with pytest.MonkeyPatch.context() as patch:
        if "ROOTSPACE_CACHE" not in os.environ:
            patch.setenv("ROOTSPACE_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            demo_data(10, system_fonts=False)
        except InputError:
            pytest.skip("no packaged typefaces: pip install 'rootspace[fonts]'")
        yield


@pytest.fixture
def recipe() -> Load:
    """A recipe, by its file's name, as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
