"""The log-partition by running sums along the coordinates, one for each state.

Let level l have weight u_l(i) at coordinate i, relative to the level that is not counted. F_s(i), the sum over all ways
to spell the first i coordinates with s_l of level l, only grows along the coordinates:

    F_s(i) = sum over j <= i of  sum over l of u_l(j) F_{s - e_l}(j - 1),

a running sum for each state, taken in order of the counts. So nothing waits for the coordinate before, whatever their
number, and no product is wasted on states that no word passes. All terms are positive: nothing cancels.

The sums are of plain numbers in float64 where these cannot leave its range, and of logarithms elsewhere. The gradient
is the probability of each level at each coordinate, from the sums before it and those behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from rootspace.systems.constants import values_of

#: The largest difference of logarithms that plain numbers may have to hold; float64 reaches from -708 to 709, and the
#: number of words needs room too.
PLAIN_RANGE = 600.0

#: Rows are taken in parts of so many, and of fewer where their sums are more numbers than that. On a CPU its caches
#: hold them, and more rows would take memory and hardly be faster; an accelerator works on many at once.
CPU_ROWS, CPU_ELEMENTS = 48, 2**17
ACCELERATOR_ELEMENTS = 2**26

_State = tuple[int, ...]


@dataclass(frozen=True)
class _Semiring:
    """How weights are multiplied, added, and added up along the coordinates."""

    times: Callable[[Tensor, Tensor], Tensor]
    plus: Callable[[Tensor, Tensor], Tensor]
    running: Callable[[Tensor], Tensor]
    one: float
    zero: float


_PLAIN = _Semiring(torch.mul, torch.add, lambda x: x.cumsum(-1), 1.0, 0.0)
# a finite zero, so that no difference of two of them is NaN
_LOGARITHMS = _Semiring(torch.add, torch.logaddexp, lambda x: x.logcumsumexp(-1), 0.0, -1e30)


def log_partition(levels: Tensor, counts: tuple[int, ...]) -> Tensor:
    """log of the sum over all words in which level l > 0 occurs counts[l - 1] times, and level 0 else: -> (B,).

    levels: the log-weight of each level at each coordinate, (B, 1 + L, n); a word weighs the product over its
    coordinates. Twice differentiable.
    """
    total: Tensor = _LogPartition.apply(levels, counts)
    return total


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, levels: Tensor, counts: tuple[int, ...]) -> Tensor:
        parts = _parts(levels, counts)
        if not ctx.needs_input_grad[0]:
            return torch.cat([_logarithm(part, counts) for part in parts])
        # the sums of the value are half of those of the gradient, so both come at once
        logarithms, shares = zip(*(_with_shares(part, counts) for part in parts), strict=True)
        ctx.save_for_backward(levels, torch.cat(shares))
        ctx.counts = counts
        return torch.cat(logarithms)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        levels, shares = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted, which the stored shares do not have
            shares = torch.cat([_with_shares(part, ctx.counts)[1] for part in _parts(levels, ctx.counts)])
        return shares * grad[:, None, None], None


def _parts(levels: Tensor, counts: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The rows in equal parts that are worked on at once."""
    if torch.compiler.is_compiling():
        return (levels,)  # a graph is for any number of rows
    rows, a_row = len(levels), levels.shape[2] * prod(count + 1 for count in counts)
    if levels.device.type == "cpu":
        at_once = min(CPU_ROWS, CPU_ELEMENTS // max(1, a_row))
    else:
        at_once = ACCELERATOR_ELEMENTS // max(1, a_row)
    parts = -(-rows // max(1, at_once))
    return levels.split(max(1, -(-rows // max(1, parts))))


def _logarithm(levels: Tensor, counts: tuple[int, ...]) -> Tensor:
    """`log_partition`, of a part of the rows."""
    weights, top, ring = _relative(levels, counts)
    return _absolute(_sums(weights, counts, ring)[1], levels, counts, top, ring)


def _with_shares(levels: Tensor, counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """`_logarithm`, and the share of all words' weight that has a level at a coordinate: (B, 1 + L, n)."""
    weights, top, ring = _relative(levels, counts)
    paths, total = _through(weights, counts, ring)
    share = paths / total[:, None, None] if ring is _PLAIN else (paths - total[:, None, None]).exp()
    shares = torch.cat([1 - share.sum(1, keepdim=True), share], dim=1).to(levels.dtype)
    return _absolute(total, levels, counts, top, ring), shares


def _absolute(total: Tensor, levels: Tensor, counts: tuple[int, ...], top: Tensor, ring: _Semiring) -> Tensor:
    """The logarithm of a sum of relative weights, given back what they were relative to."""
    logarithm = total.log() if ring is _PLAIN else total
    often = values_of(top.device, counts, top.dtype)
    return (logarithm + (top * often).sum(1) + _wide(levels[:, 0]).sum(1)).to(levels.dtype)


def _wide(x: Tensor) -> Tensor:
    """float64, where the device has it: large logits may cancel, and little is left of float32 then."""
    return x if x.device.type == "mps" else x.double()


def _relative(levels: Tensor, counts: tuple[int, ...]) -> tuple[Tensor, Tensor, _Semiring]:
    """Weights of the counted levels relative to level 0 and to their largest, (B, L, n); its logarithm, (B, L).

    As plain numbers if no word's weight leaves their range beside the largest one. That is asked on the CPU alone: an
    accelerator would have to wait for the answer.
    """
    weights = _wide(levels[:, 1:]) - _wide(levels[:, :1])
    if weights.device.type != "cpu" or torch.compiler.is_compiling() or not weights.numel():
        return weights, weights.new_zeros(weights.shape[:2]), _LOGARITHMS
    top = weights.detach().amax(-1)
    spread = top - weights.detach().amin(-1)
    if float(spread.max()) * sum(counts) <= PLAIN_RANGE:
        return (weights - top[..., None]).exp(), top, _PLAIN
    return weights, torch.zeros_like(top), _LOGARITHMS


def _sums(weights: Tensor, counts: tuple[int, ...], ring: _Semiring) -> tuple[dict[_State, Tensor], Tensor]:
    """For each state the sum before each coordinate, (B, n); and the sum over whole words, (B,)."""
    start = (0,) * len(counts)
    before = {start: weights.new_full((weights.shape[0], weights.shape[2]), ring.one)}
    total = weights.new_full(weights.shape[:1], ring.one)
    nothing = weights.new_full((weights.shape[0], 1), ring.zero)
    for state in product(*(range(count + 1) for count in counts)):
        steps = [ring.times(weights[:, level], before[rest]) for level, rest in _one_less(state)]
        if steps:
            sums = ring.running(reduce(ring.plus, steps))
            before[state] = torch.cat([nothing, sums[:, :-1]], dim=1)
            total = sums[:, -1]
    return before, total


def _through(weights: Tensor, counts: tuple[int, ...], ring: _Semiring) -> tuple[Tensor, Tensor]:
    """The sum over all words with level l at coordinate i, (B, L, n); and over all words, (B,)."""
    batch = len(weights)
    sums, totals = _sums(torch.cat([weights, weights.flip(-1)]), counts, ring)
    others: dict[int, Tensor] = {}
    for state in product(*(range(count + 1) for count in counts)):
        rest = tuple(count - used for count, used in zip(counts, state, strict=True))
        for level, missing in _one_less(rest):
            # turned round here and not all beforehand, which took half as much memory again
            term = ring.times(sums[state][:batch], sums[missing][batch:].flip(-1))
            others[level] = ring.plus(others[level], term) if level in others else term
    paths = [ring.times(weights[:, level], others[level]) for level in range(len(counts))]
    return (torch.stack(paths, dim=1) if paths else weights), totals[:batch]


def _one_less(state: _State) -> Iterator[tuple[int, _State]]:
    """Each level that a state counts, with the state that has one of it less."""
    for level, used in enumerate(state):
        if used:
            yield level, (*state[:level], used - 1, *state[level + 1 :])
