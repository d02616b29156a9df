"""`Assignment`: which vector of a system each class has, and which class is nearest to an embedding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rootspace.errors import InputError
from rootspace.systems import VectorSystem, readable_size, smallest

#: Class vectors compared with a batch of embeddings at a time, in tensor elements of the score matrix.
SCORE_ELEMENTS = 2**24


def check_room(system: VectorSystem, n_classes: int) -> None:
    """Raise `InputError` naming a system that would do, unless every class can have a vector of its own."""
    if system.size >= n_classes:
        return
    try:
        larger = smallest(system.spec.partition(":")[0], n_classes)
    except ValueError:  # a base vector or a product has no family that grows
        larger = smallest("V22", n_classes)
    raise InputError(
        f"{n_classes:,} classes do not fit {system.spec}, which has {readable_size(system.size)} vectors: "
        f"{larger.spec} has {readable_size(larger.size)} (n = {larger.dim}), "
        f"and 'rootspace plan --classes {n_classes}' lists more"
    )


def best_of(scores: Tensor, labels: Tensor, more: Tensor, more_labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best, or all where there are fewer, of two lists for each row: scores (B, m) descending, labels (B, m)."""
    both = torch.cat([scores, more], dim=1)
    scores, place = both.topk(min(k, both.shape[1]), dim=1)
    return scores, torch.cat([labels, more_labels], dim=1).gather(1, place)


class Assignment(nn.Module, ABC):
    """An injective map from class ids 0 .. n_classes - 1 to the vectors of a system.

    A module, so that what little it stores moves with the model's device; it has no parameters.
    """

    def __init__(self, system: VectorSystem, n_classes: int) -> None:
        super().__init__()
        if n_classes < 1:
            raise InputError(f"an assignment needs at least one class, got {n_classes}")
        check_room(system, n_classes)
        self.system = system
        self.n_classes = n_classes

    def vectors(self, labels: Tensor) -> Tensor:
        """The vectors of classes: int64 (...) -> float32 (..., n), with the system's own norm.

        Raises `IndexError` for a label outside [0, n_classes) (checked on the CPU; on an accelerator the
        check would wait for the device).
        """
        flat = self._vectors(self.check_labels(labels).reshape(-1))
        return flat.reshape(*labels.shape, self.system.dim)

    def check_labels(self, labels: Tensor) -> Tensor:
        """Labels as int64, after the checks `vectors` describes."""
        if labels.dtype.is_floating_point or labels.dtype == torch.bool:
            raise TypeError(f"labels are integers, got {labels.dtype}")
        if labels.device.type == "cpu" and not torch.compiler.is_compiling() and labels.numel():
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= self.n_classes:
                raise IndexError(f"labels lie in [0, {self.n_classes}), got {low} .. {high}")
        return labels.long()

    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """The k classes nearest to each embedding: (..., n) -> cosines (..., k) descending, labels (..., k).

        Exact: the largest cosines over all classes. Raises `ValueError` for NaN or infinity in an embedding
        and unless 1 <= k <= n_classes.
        """
        if not 1 <= k <= self.n_classes:
            raise ValueError(f"k lies in [1, {self.n_classes}], the number of classes; got {k}")
        if embeddings.ndim == 0 or embeddings.shape[-1] != self.system.dim:
            raise ValueError(f"embeddings have shape (..., {self.system.dim}), got {tuple(embeddings.shape)}")
        shape = embeddings.shape[:-1]
        flat = (
            embeddings.reshape(-1, self.system.dim) if embeddings.numel() else embeddings.new_zeros(0, self.system.dim)
        )
        with torch.no_grad(), torch.autocast(device_type=flat.device.type, enabled=False):
            if flat.device.type == "cpu" and not bool(torch.isfinite(flat).all()):
                raise ValueError("an embedding holds NaN or infinity")
            scores, labels = self._nearest(normalize(flat.float(), dim=1), k)
        return scores.reshape(*shape, k), labels.reshape(*shape, k)

    def log_sum(self, embeddings: Tensor, scale: float) -> Tensor:
        """log of the sum over all classes of exp(scale cosine): (B, n) -> (B,), what a softmax is divided by."""
        unit = normalize(embeddings.float(), dim=1)
        found = unit.new_full((len(unit),), float("-inf"))
        for _, cosines in self._cosines(unit, 1):
            found = torch.logaddexp(found, torch.logsumexp(scale * cosines, dim=1))
        return found

    def _cosines(self, unit: Tensor, least: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Class numbers (m,) and the cosines of unit embeddings with them (B, m), `least` classes or more at a time."""
        block = max(least, SCORE_ELEMENTS // max(1, unit.shape[0] + self.system.dim))
        for start in range(0, self.n_classes, block):
            ids = torch.arange(start, min(start + block, self.n_classes), device=unit.device)
            yield ids, unit @ self._vectors(ids).T / self.system.norm

    def _nearest(self, unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Compare unit embeddings (B, n) with every class, a block of classes at a time: (B, k) twice."""
        best = unit.new_full((unit.shape[0], 0), 0)
        labels = torch.zeros(unit.shape[0], 0, dtype=torch.int64, device=unit.device)
        for ids, scores in self._cosines(unit, k):
            best, labels = best_of(best, labels, scores, ids.expand(unit.shape[0], -1), k)
        return best, labels

    @abstractmethod
    def _vectors(self, labels: Tensor) -> Tensor:
        """int64 (B,) in range -> float32 (B, n)."""

    @abstractmethod
    def save(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `load` rebuilds the assignment from: JSON values, and tensors."""

    def extra_repr(self) -> str:
        return f"{self.system.spec}, n_classes={self.n_classes}"
