"""How many texts stand more than once: what a test share has in common with training, and what nothing tells apart."""

from __future__ import annotations

import numpy as np


class Repeats:
    """Counts equal cells by 64-bit digests: 8 bytes a cell, like its label."""

    def __init__(self) -> None:
        self._digests: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, cells: np.ndarray, labels: np.ndarray) -> None:
        """Take note of cells (B, ...) uint8 and their labels (B,)."""
        flat = cells.reshape(len(cells), -1)
        words = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 8))).view(np.uint64)
        # odd factors: cells that differ in one word only have different digests
        factors = np.random.default_rng(0x7E47).integers(1 << 63, size=words.shape[1], dtype=np.uint64) * 2 + 1
        self._digests.append((words * factors).sum(axis=1, dtype=np.uint64))
        self._labels.append(labels.astype(np.int64))

    def count(self) -> dict[str, int]:
        """rows: of cells that came before with the same label. ambiguous: cells that have more than one label.

        >>> repeats = Repeats()
        >>> cells = np.array([[1], [2], [1], [1]], dtype=np.uint8)
        >>> repeats.add(cells, np.array([0, 1, 0, 2]))
        >>> repeats.count()
        {'rows': 1, 'ambiguous': 1}
        """
        digests = np.concatenate([*self._digests, np.zeros(0, dtype=np.uint64)])
        labels = np.concatenate([*self._labels, np.zeros(0, dtype=np.int64)])
        order = np.lexsort((labels, digests))
        same_cell = np.diff(digests[order]) == 0
        same_label = np.diff(labels[order]) == 0
        ambiguous = np.unique(digests[order][1:][same_cell & ~same_label])
        return {"rows": int((same_cell & same_label).sum()), "ambiguous": len(ambiguous)}
