"""The keyed random assignment of arXiv 2512.07509, computed for each label, with nothing stored per class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rootspace.assign.base import Assignment
from rootspace.assign.shuffle import KeyedShuffle
from rootspace.errors import InputError
from rootspace.systems import VectorSystem
from rootspace.systems.base import INT64_MAX

#: Finding the w nearest vectors by decoding takes about as long as comparing with 130 w^1.3 classes (measured with V22
#: from 41 to 128 coordinates, w from 10 to 400).
DECODE_COST, DECODE_POWER = 130, 1.3


class ShuffledAssignment(Assignment):
    """Class c has the vector whose index is the keyed shuffle of c.

    Any class id gets its vector in O(1) memory, so class 10^12 costs what class 0 costs. (Systems of more than
    2^63 vectors are indexed with Python integers, one class at a time.)
    """

    def __init__(self, system: VectorSystem, n_classes: int, key: int = 0) -> None:
        super().__init__(system, n_classes)
        self.key = key
        self.shuffle = KeyedShuffle(system.size, key)

    def _vectors(self, labels: Tensor) -> Tensor:
        if self.system.size <= INT64_MAX:
            return self.system._unrank(self.shuffle(labels), torch.float32)
        words = [self.system.unrank_exact(self.shuffle.exact(label)) for label in labels.tolist()]
        rows = [[float(value) for value in word] for word in words]
        return torch.tensor(rows, device=labels.device).reshape(len(rows), self.system.dim)

    def _nearest(self, unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
        # where nearly all of the system is in use, the k nearest vectors nearly always are; elsewhere
        # `size / n_classes` vectors are visited for each one in use
        spare = self.system.size - self.n_classes
        width = k if k * spare < self.system.size // 8 else 2 * k * -(-self.system.size // self.n_classes)
        width = min(self.system.size, width)
        # integers: a width can be too large for a float, and is then far too large
        if width > self.n_classes or DECODE_COST * width**DECODE_POWER > self.n_classes:
            return super()._nearest(unit, k)
        scores = unit.new_empty(unit.shape[0], k)
        labels = torch.empty(unit.shape[0], k, dtype=torch.int64, device=unit.device)
        rows = torch.arange(unit.shape[0], device=unit.device)
        while len(rows):
            values, index = self.system.topk(unit[rows], width)
            found = self.shuffle.inverse(index)
            in_use = found < self.n_classes
            done = in_use.sum(1) >= k
            # the first k in use, in order of nearness
            place = (~in_use[done]).to(torch.int8).argsort(dim=1, stable=True)[:, :k]
            scores[rows[done]] = values[done].gather(1, place) / self.system.norm
            labels[rows[done]] = found[done].gather(1, place)
            rows = rows[~done]
            width = min(self.system.size, 4 * width)
        return scores, labels

    def grown(self, n_new: int) -> ShuffledAssignment:
        """The same assignment with n_new classes more: the shuffle's next numbers. Old classes keep their vectors.

        Raises `InputError` where the system has no room for them.

        >>> from rootspace.systems import V
        >>> old = ShuffledAssignment(V(10, 2, 2), 1000)
        >>> bool((old.grown(100).vectors(torch.arange(1000)) == old.vectors(torch.arange(1000))).all())
        True
        """
        if n_new < 0:
            raise InputError(f"classes to add: expected 0 or more, got {n_new}")
        return ShuffledAssignment(self.system, self.n_classes + n_new, self.key)

    def save(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"kind": "shuffled", "system": self.system.spec, "n_classes": self.n_classes, "key": self.key}, {}
