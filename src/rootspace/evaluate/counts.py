"""How often each class occurs, is guessed, and is guessed rightly: kept for the classes that occur, not for all."""

from __future__ import annotations

import numpy as np
import torch

from rootspace.evaluate.processes import Processes

#: Samples that may wait before they are counted, where few classes occur.
WAITING = 1 << 16


class ClassCounts:
    """Counts of every class that occurs among labels or guesses: memory of their order, whatever the class ids.

    >>> counts = ClassCounts()
    >>> counts.add(np.array([10**9, 3, 3]), np.array([10**9, 3, 7]))
    >>> [column.tolist() for column in counts.columns()]
    [[3, 7, 1000000000], [2, 0, 1], [1, 1, 1], [1, 0, 1]]
    """

    def __init__(self) -> None:
        self._ids = np.zeros(0, np.int64)
        self._counts = np.zeros((0, 3), np.int64)  # samples, guesses, right guesses
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._n_waiting = 0

    def add(self, truth: np.ndarray, guess: np.ndarray) -> None:
        """Count samples with labels and best guesses, both (B,) class ids."""
        self._waiting.append((np.asarray(truth, np.int64), np.asarray(guess, np.int64)))
        self._n_waiting += len(truth)
        if self._n_waiting >= max(WAITING, len(self._ids)):
            self._settle()

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Class ids, ascending, and for each its samples, guesses and right guesses: four of (m,) int64."""
        self._settle()
        samples, guesses, right = self._counts.T
        return self._ids, samples, guesses, right

    def combine(self, processes: Processes) -> None:
        """Let every process have the counts of all together."""
        self._settle()
        ids = processes.gather(torch.from_numpy(self._ids)).numpy()
        counts = processes.gather(torch.from_numpy(self._counts)).numpy()
        self._ids, self._counts = _merged(ids, counts)

    def _settle(self) -> None:
        if not self._waiting:
            return
        truth, guess = (np.concatenate([pair[side] for pair in self._waiting]) for side in (0, 1))
        self._waiting, self._n_waiting = [], 0
        ids, counts = [self._ids], [self._counts]
        for column, occurring in enumerate((truth, guess, truth[truth == guess])):
            found, times = np.unique(occurring, return_counts=True)
            ids.append(found)
            counts.append(np.zeros((len(found), 3), np.int64))
            counts[-1][:, column] = times
        self._ids, self._counts = _merged(np.concatenate(ids), np.concatenate(counts))


def _merged(ids: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every id once, ascending, with the sum of its rows of counts."""
    if not len(ids):
        return ids, counts
    order = ids.argsort(kind="stable")
    ids = ids[order]
    first = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    return ids[first], np.add.reduceat(counts[order], first, axis=0)
