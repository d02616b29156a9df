"""The vector system as an inverted file: `SystemIndex` behind the common interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootspace.index.backends.base import Backend, Payload
from rootspace.index.codes import DTYPES
from rootspace.index.inverted import SystemIndex
from rootspace.index.segments import STATE


class System(Backend):
    """Cells found by decoding; settings: "cells", the spec of the system whose vectors they are, or none."""

    name = "system"
    dtypes = DTYPES
    verifies = True

    def __init__(self, folder: Path, dim: int, dtype: str, writing: bool, settings: Mapping[str, Any]) -> None:
        if writing and not (folder / STATE).is_file():
            self.index = SystemIndex.create(folder, dim, dtype, settings.get("cells"))
        else:
            self.index = SystemIndex.open(folder, writing)

    @property
    def count(self) -> int:
        return len(self.index)

    def ids(self) -> np.ndarray:
        return self.index.ids()

    def add(self, ids: np.ndarray, vectors: np.ndarray, payload: Payload) -> None:
        self.index.add(ids, vectors)

    def delete(self, ids: np.ndarray) -> None:
        self.index.delete(ids)

    def search(self, queries: np.ndarray, k: int, probes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        return self.index.search(queries, k, probes)

    def compact(self) -> None:
        self.index.compact()

    def facts(self) -> dict[str, Any]:
        cells = self.index.cells
        return {
            "cells": "none yet" if cells is None else cells.system.spec,
            "cells in use": self.index.cells_in_use,
            "segments": len(self.index.folder.segments),
        }

    def close(self) -> None:
        self.index.close()
