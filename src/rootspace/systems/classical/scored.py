"""Systems whose inner products with all vectors are computed at once: few vectors, or a fast transform."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from fractions import Fraction
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem

#: Inner products held at a time where nothing needs a gradient.
ELEMENTS = 2**24


def in_full_precision(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method of (self, x, ...) multiply in the dtype of x where autocast would take a shorter one."""

    @wraps(method)
    def exact(self: Any, x: Tensor, *arguments: Any) -> Any:
        with torch.autocast(device_type=x.device.type, enabled=False):
            return method(self, x, *arguments)

    return exact


def by_rows(function: Callable[..., Tensor], rows: int, z: Tensor, *others: Tensor) -> Tensor:
    """function(z, *others), so many rows at a time: (B, n), (B, ...) -> (B,), differentiable in z.

    In more than one part the gradient is computed along with the value, and is all that is kept.
    """
    if len(z) <= rows:
        return function(z, *others)
    total: Tensor = _ByRows.apply(z, function, rows, others)
    return total


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, function: Callable[..., Tensor], rows: int, others: tuple[Tensor, ...]) -> Tensor:
        totals, gradients = [], []
        for part, *rest in zip(z.split(rows), *(other.split(rows) for other in others), strict=True):
            with torch.enable_grad():
                leaf = part.detach().requires_grad_(ctx.needs_input_grad[0])
                total = function(leaf, *rest)
                if ctx.needs_input_grad[0]:
                    gradients.append(torch.autograd.grad(total.sum(), leaf)[0])
            totals.append(total.detach())
        ctx.save_for_backward(*([torch.cat(gradients)] if gradients else []))
        return torch.cat(totals)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad[:, None] * gradient, None, None, None


class Scored(VectorSystem):
    """A system given by `_scores`, from which searching, summing and sampling follow by brute force over indices.

    A gradient of `log_partition` is kept as the mean vectors where the inner products would take too much memory.
    A system adds its exact scalars, `_scores`, `_unrank`, `_rank` and `_contains`.
    """

    @abstractmethod
    def _scores(self, x: Tensor) -> Tensor:
        """The inner products with all vectors, in the order of their indices: (B, n) -> (B, size)."""

    def _rows(self) -> int:
        return max(1, ELEMENTS // self.size)

    # one vector of exact numbers, through a float64 row: the alphabet keeps rows and numbers in step

    def _rank_exact(self, word: tuple[Fraction, ...]) -> int:
        row = torch.tensor([[float(value) for value in word]], dtype=torch.float64)
        if not bool(self._contains(row)):
            raise ValueError(f"not a vector of {self.spec}")
        return int(self._rank(row))

    def _unrank_exact(self, index: int) -> tuple[Fraction, ...]:
        return tuple(Fraction(value) for value in self._unrank(torch.tensor([index]), torch.float64)[0].tolist())

    @in_full_precision
    @torch.no_grad()
    def _nearest(self, x: Tensor) -> Tensor:
        parts = [self._scores(part).argmax(1) for part in x.split(self._rows())] if len(x) else []
        index = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=x.device)
        return self._unrank(index, x.dtype)

    @in_full_precision
    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if len(x) > self._rows():
            parts = [Scored._nearest_k(self, part, k) for part in x.split(self._rows())]
            return torch.cat([values for values, _ in parts]), torch.cat([vectors for _, vectors in parts])
        values, index = self._scores(x).topk(k, dim=1)
        return values, self._unrank(index.reshape(-1), x.dtype).reshape(len(x), k, self.dim)

    def _log_partition(self, z: Tensor) -> Tensor:
        return by_rows(lambda part: torch.logsumexp(self._scores(part), dim=1), self._rows(), z)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        def rest(part: Tensor, own: Tensor) -> Tensor:
            return torch.logsumexp(self._scores(part).scatter(1, own[:, None], float("-inf")), dim=1)

        return by_rows(rest, self._rows(), z, self._rank(excluded))

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        if not (len(z) and k):
            return z.new_empty(len(z), k, self.dim)
        parts = [draw(self._scores(part), k, generator) for part in z.split(self._rows())]
        return self._unrank(torch.cat(parts).reshape(-1), z.dtype).reshape(len(z), k, self.dim)


def draw(scores: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    """k draws from each row's softmax: (B, C) -> int64 (B, k), for any number C of choices."""
    weights = torch.softmax(wide(scores), dim=1).cumsum(1)
    point = torch.rand(len(scores), k, dtype=weights.dtype, device=scores.device, generator=generator)
    return torch.searchsorted(weights, point * weights[:, -1:], right=True).clamp_max(scores.shape[1] - 1)


def wide(x: Tensor) -> Tensor:
    """x in float64, or in float32 on a device that has no float64."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)
