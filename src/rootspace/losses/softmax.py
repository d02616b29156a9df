"""Cross-entropy over predefined vectors. What the softmax is normalised over is in the name:

* `SystemSoftmax`: every vector of the system, in closed form; the cost does not know the number of classes.
* `ClassSoftmax`: the classes in use; an exact sum, (B x n_classes) scores.
* `NeighbourSoftmax`: the classes that occur in the batch and the nearest neighbours of each, (B x B(k+1)) scores.
* `BatchSoftmax`: the classes that occur in the batch, (B x B) scores.

Logits are `scale` times the cosine of the embedding and a class's vector. All take label smoothing and
an additive cosine margin (the CosFace margin, arXiv 1801.09414), exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rootspace.assign import Assignment, TableAssignment
from rootspace.assign import neighbours as near_classes
from rootspace.losses.common import batch_mean, check_batch, full_precision, run_eagerly
from rootspace.losses.gather import gathered
from rootspace.systems import VectorSystem
from rootspace.systems.constants import kept_per_device

#: The largest logit scale; float32 holds the loss to 1e-5 up to here.
MAX_SCALE = 100.0


class _Softmax(nn.Module):
    """Cosine logits, their scale, and the door.

    scale: the factor from cosines to logits, in (0, 100]; with learn_scale it is where a trained one starts.
    label_smoothing: the share of the target spread evenly over all that is normalised over, in [0, 1).
    margin: subtracted from the cosine of the sample's own class, >= 0.
    """

    def __init__(
        self,
        assignment: Assignment,
        scale: float = 16.0,
        learn_scale: bool = False,
        label_smoothing: float = 0.0,
        margin: float = 0.0,
    ) -> None:
        super().__init__()
        self._check_system(assignment.system)
        if not 0 < scale <= MAX_SCALE:
            raise ValueError(f"scale lies in (0, {MAX_SCALE:g}], got {scale}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing lies in [0, 1), got {label_smoothing}")
        if not 0 <= margin <= 2:
            raise ValueError(f"margin is a difference of cosines in [0, 2], got {margin}")
        self.assignment = assignment
        self.label_smoothing = label_smoothing
        self.margin = margin
        log_scale = torch.tensor(math.log(scale))
        self.log_scale: Tensor
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def extra_repr(self) -> str:
        return f"scale={self.scale.item():g}, label_smoothing={self.label_smoothing}, margin={self.margin}"

    @property
    def scale(self) -> Tensor:
        """The factor from cosines to logits."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(B, n), (B,) -> the mean cross-entropy, a scalar; 0 for an empty batch."""
        check_batch(embeddings, labels, self.assignment.system.dim)
        with full_precision(embeddings) as x:
            return batch_mean(self._losses(normalize(x, dim=1), labels))

    def _check_system(self, system: VectorSystem) -> None:
        """Raise `ValueError` for a system this loss cannot work with."""

    def _losses(self, unit: Tensor, labels: Tensor) -> Tensor:
        """Unit embeddings (B, n), labels -> (B,)."""
        raise NotImplementedError

    def _cross_entropy(self, cosines: Tensor, own: Tensor, absent: Tensor | None = None) -> Tensor:
        """Cross-entropy of cosines (B, m) at the own columns (B,); columns `absent` (m,) do not take part."""
        own = own[:, None]
        if self.margin:
            cosines = cosines.scatter_add(1, own, torch.full_like(cosines[:, :1], -self.margin))
        logits = self.scale * cosines
        target = logits.gather(1, own)[:, 0]
        if self.label_smoothing:
            mean = logits.mean(1) if absent is None else (logits @ (~absent).to(logits)) / (~absent).sum()
            target = (1 - self.label_smoothing) * target + self.label_smoothing * mean
        if absent is not None:
            # only here: a learned scale times infinity would have no gradient
            logits = logits.masked_fill(absent, float("-inf"))
        return torch.logsumexp(logits, dim=1) - target


class SystemSoftmax(_Softmax):
    """Cross-entropy against every vector of the system, whether a class uses it or not.

    The normaliser is the system's `log_partition`: exact, and of a cost that does not depend on the number of
    classes or of vectors. Label smoothing spreads over the whole system.

    >>> from rootspace.assign import shuffled
    >>> from rootspace.systems import V
    >>> classes = shuffled(V(41, 2, 2), 600_000)
    >>> labels = torch.tensor([599_999])
    >>> bool(SystemSoftmax(classes, scale=64.0)(classes.vectors(labels), labels) < 0.01)
    True
    """

    def _check_system(self, system: VectorSystem) -> None:
        if not system.has_log_partition:
            raise ValueError(f"{system.spec} has no exact sum over all its vectors: take ClassSoftmax or BatchSoftmax")

    def _losses(self, unit: Tensor, labels: Tensor) -> Tensor:
        system = self.assignment.system
        scale = self.scale
        own = self.assignment.vectors(labels).to(unit)
        target = scale * (unit * own).sum(1) / system.norm
        z = scale * unit / system.norm
        if self.margin:
            # the own class's logit drops: the sum over all others is needed exactly, however small it is
            target = target - scale * self.margin
            others = system.log_partition(z, without=own)
            log_partition = torch.logaddexp(others, target)
        else:
            log_partition = system.log_partition(z)
        if self.label_smoothing:
            mean = scale * (unit @ _centroid(unit.device, system, unit.dtype) - self.margin / system.size)
            target = (1 - self.label_smoothing) * target + self.label_smoothing * mean
        return log_partition - target


@kept_per_device
def _centroid(system: VectorSystem, dtype: torch.dtype) -> Tensor:
    """The mean of a system's vectors at norm 1, (n,)."""
    return torch.tensor([float(value) for value in system.centroid()]).to(dtype) / system.norm


class ClassSoftmax(_Softmax):
    """Cross-entropy against the classes in use: the exact softmax of a classifier, with fixed weights.

    Cost and memory are B x n_classes, like a classification layer's, but nothing is learned or stored for a
    class beyond the assignment. Class vectors of a `TableAssignment` are kept as one tensor while training.
    """

    _rows: Tensor | None = None
    _rows_of: tuple[object, ...] = ()

    def class_directions(self, like: Tensor) -> Tensor:
        """The unit vectors of all classes, (n_classes, n), in the dtype and on the device of `like`."""
        if isinstance(self.assignment, TableAssignment) and self.assignment.released is not None:
            return self.assignment.released.to(like)
        stored = self.assignment.codes if isinstance(self.assignment, TableAssignment) else None
        # the table's version counts changes made in place
        current = (stored._version if stored is not None else 0, like.device, like.dtype)
        if self._rows is None or self._rows_of != current:
            ids = torch.arange(self.assignment.n_classes, device=like.device)
            with torch.no_grad():
                self._rows = self.assignment._vectors(ids).to(like) / self.assignment.system.norm
            self._rows_of = current
        return self._rows

    def _losses(self, unit: Tensor, labels: Tensor) -> Tensor:
        return self._cross_entropy(unit @ self.class_directions(unit).T, self.assignment.check_labels(labels))


class BatchSoftmax(_Softmax):
    """Cross-entropy against the classes that occur in the batch, each counted once.

    Cost and memory are B x B, whatever the number of classes. With few rivals in a batch the task gets easy:
    large batches help, and the rivals that matter are in `NeighbourSoftmax`.

    In P processes of `torch.distributed` the batch is that of all: while training, with gradients on, each gives its
    B labels (all processes as many) to the others, and the mean loss is that of one process with P x B samples.
    """

    def _losses(self, unit: Tensor, labels: Tensor) -> Tensor:
        return self._against(unit, labels, self._in_all_batches(labels))

    def _in_all_batches(self, labels: Tensor) -> Tensor:
        """The labels of all processes, (B,) -> (P B,); those given where nothing is trained."""
        # a validation loss may be computed by one process alone: it must not wait for the others
        return gathered(labels) if self.training and torch.is_grad_enabled() else labels

    def _against(self, unit: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
        """Cross-entropy against the classes in `rivals` (m,), which hold the labels; repeated ones count once."""
        # fixed shapes, so that nothing waits for the device: a repeated class stays, and is left out of the sum
        rivals = rivals.sort().values
        directions = self.assignment.vectors(rivals).to(unit) / self.assignment.system.norm
        repeated = torch.zeros_like(rivals, dtype=torch.bool)
        repeated[1:] = rivals[1:] == rivals[:-1]
        return self._cross_entropy(unit @ directions.T, torch.searchsorted(rivals, labels), repeated)


class NeighbourSoftmax(BatchSoftmax):
    """Cross-entropy against the classes that occur in the batch and the k nearest neighbours of each.

    A class's hardest rivals are the classes whose vectors are near its own, and a batch hardly ever holds them.
    Cost and memory of a step are B x B(k + 1), whatever the number of classes; the list of neighbours takes k
    int32 a class. `refresh` finds them anew once class vectors have moved. Takes what the other softmaxes take,
    and k; and how neighbours are found, (assignment, k, those known or None) -> int (n_classes, k): exactly or, with
    many classes, nearly so (`rootspace.assign.neighbours`), or by an index of yours.

    >>> from rootspace.assign import shuffled
    >>> from rootspace.systems import V
    >>> loss = NeighbourSoftmax(shuffled(V(16, 2, 2), 500), neighbours=4)
    >>> loss.near.shape
    torch.Size([500, 4])
    """

    near: Tensor

    def __init__(
        self,
        assignment: Assignment,
        scale: float = 16.0,
        learn_scale: bool = False,
        label_smoothing: float = 0.0,
        margin: float = 0.0,
        neighbours: int = 16,
        find: Callable[[Assignment, int, Tensor | None], Tensor] = near_classes,
    ) -> None:
        super().__init__(assignment, scale, learn_scale, label_smoothing, margin)
        if neighbours < 1:
            raise ValueError(f"neighbours is a number of at least 1, got {neighbours}")
        self.neighbours, self.find = neighbours, find
        self.register_buffer("near", find(assignment, neighbours, None).int())

    def refresh(self) -> None:
        """Find the neighbours of every class anew."""
        self.near.copy_(self.find(self.assignment, self.neighbours, self.near))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, neighbours={self.neighbours}"

    def _losses(self, unit: Tensor, labels: Tensor) -> Tensor:
        labels = self.assignment.check_labels(labels)
        present = self._in_all_batches(labels)
        return self._against(unit, labels, torch.cat([present, self.near[present].long().flatten()]))
