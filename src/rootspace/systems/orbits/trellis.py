"""One recursion over the coordinates, in several semirings.

A word of an orbit is spelled coordinate by coordinate: each coordinate chooses a value, and the state counts
how often each level has been used (and, for even-signed orbits, the parity of the signs). All words are the
paths from the first state to the last, so every question about the whole orbit is a sum over paths:

=================  ==========================  ============================================
`nearest_k`        max-plus, k best values     the k vectors nearest to an embedding
`log_partition`    log-sum-exp                 the logarithm of the softmax's denominator
`sample`           log-sum-exp, then backward  draws from the softmax
=================  ==========================  ============================================

The work is n x states x choices for one embedding, whatever the number of words. Where the states are few
`log_partition` takes running sums along the coordinates, one for each state (`cumulative`); where signs have a parity,
which turns at every coordinate, it multiplies the coordinates' polynomials pairwise in a balanced tree, in log n steps.

Scores have shape (B, n, C): the logit of choice c at coordinate i, usually x_i times the choice's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from rootspace.systems.constants import kept_per_device
from rootspace.systems.orbits import cumulative

#: The logarithm of zero, finite so that no difference of two of them is NaN.
LOG_ZERO = -1e30

#: Above this many states there is no recursion: its tables would not fit in memory.
STATE_LIMIT = 2**16

#: Up to this many states log_partition goes over the states, each along all coordinates at once.
FEW_STATES = 16

#: Working memory for the k-best recursion, in tensor elements.
KBEST_ELEMENTS = 2**25


@dataclass(frozen=True)
class Trellis:
    """Which choices a coordinate has, and how often each counted level must be chosen in all.

    counts: how often each counted level is used in a word; the uncounted level fills the rest.
    levels: for each choice the counted level it uses, or -1 for the uncounted one.
    signs: for each choice whether it flips the parity; an empty tuple where parity does not matter.
    moves: for each choice how it moves a flag, (before, after); an empty tuple where there is no flag. A word
    starts with the flag at 0 and ends with it at 1.
    """

    counts: tuple[int, ...]
    levels: tuple[int, ...]
    signs: tuple[bool, ...] = ()
    moves: tuple[tuple[int, int], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values each component of a state takes: flag, counts, parity."""
        flag, parity = (2,) if self.moves else (), (2,) if self.signs else ()
        return (*flag, *(count + 1 for count in self.counts), *parity)

    @property
    def states(self) -> int:
        return prod(self.shape)

    def final(self, odd: bool) -> int:
        """The state of a whole word; `odd` says which parity of signs is wanted."""
        full = self.states - 1  # every count full, parity one
        return full if odd or not self.signs else full - 1

    def deviating(self) -> Trellis:
        """The trellis of all words but one; its scores are made by `deviating_scores`.

        The flag says whether a word has left the one that is excluded. Each choice occurs three times: on the
        excluded word, leaving it, and after that.
        """
        c = len(self.levels)
        return Trellis(self.counts, 3 * self.levels, 3 * self.signs, c * ((0, 0),) + c * ((0, 1),) + c * ((1, 1),))


@kept_per_device
def _predecessors(trellis: Trellis) -> Tensor:
    """The state each choice came from: (states, choices) int64; `states` itself where there is none."""
    grid = _grid(trellis)
    columns = []
    for choice, level in enumerate(trellis.levels):
        previous = grid.clone()
        if level >= 0:
            previous[:, level + bool(trellis.moves)] -= 1
        if trellis.moves:
            before, after = trellis.moves[choice]
            previous[:, 0] = torch.where(grid[:, 0] == after, before, -1)
        if trellis.signs and trellis.signs[choice]:
            previous[:, -1] = 1 - previous[:, -1]
        columns.append(torch.where((previous >= 0).all(1), _flat_state(previous, trellis), trellis.states))
    return torch.stack(columns, dim=1)


@kept_per_device
def _splits(trellis: Trellis) -> Tensor:
    """All ways to write each state as a sum of two: int64 (2, states, pairs), padded with `states`."""
    grid = _grid(trellis)
    rest = grid[:, None] - grid[None, :]  # (state, first part, component)
    if trellis.signs:
        rest[..., -1] %= 2
    valid = (rest >= 0).all(-1)
    width = int(valid.sum(1).max())
    order = valid.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    kept = valid.gather(1, order)
    second = _flat_state(rest.clamp_min(0), trellis).gather(1, order)
    none = torch.tensor(trellis.states)
    return torch.stack([torch.where(kept, order, none), torch.where(kept, second, none)])


def _grid(trellis: Trellis) -> Tensor:
    """Every state as a row of counts, in the order of their numbers: int64 (states, components)."""
    grid = torch.zeros(trellis.states, len(trellis.shape), dtype=torch.int64)
    number = torch.arange(trellis.states)
    for component in range(len(trellis.shape) - 1, -1, -1):
        grid[:, component] = number % trellis.shape[component]
        number = number // trellis.shape[component]
    return grid


def _flat_state(grid: Tensor, trellis: Trellis) -> Tensor:
    flat = torch.zeros(grid.shape[:-1], dtype=torch.int64)
    for component, radix in enumerate(trellis.shape):
        flat = flat * radix + grid[..., component]
    return flat


# ---------------------------------------------------------------------- the logarithmic semiring


def log_partition(trellis: Trellis, scores: Tensor, odd: bool = False) -> Tensor:
    """log of the sum over all words of exp(sum of the scores chosen): (B, n, C) -> (B,), differentiable."""
    if trellis.states <= FEW_STATES and not trellis.moves:
        if trellis.signs:
            return _tree(trellis, scores)[:, trellis.final(odd)]
        return cumulative.log_partition(_level_scores(trellis, scores), trellis.counts)
    total: Tensor = _ScanLogPartition.apply(scores, trellis, odd)
    return total


def deviating_scores(scores: Tensor, excluded: Tensor) -> Tensor:
    """Scores for `Trellis.deviating`: (B, n, C) and bool (B, n, C), true at the excluded word's choices."""
    on, off = scores.masked_fill(~excluded, LOG_ZERO), scores.masked_fill(excluded, LOG_ZERO)
    return torch.cat([on, off, scores], dim=-1)


def _level_scores(trellis: Trellis, scores: Tensor) -> Tensor:
    """Log-weights of the levels, over the choices that use each: the uncounted one first, (B, 1 + counted, n)."""
    choices = [[c for c, own in enumerate(trellis.levels) if own == level] for level in range(-1, len(trellis.counts))]
    levels = [scores[..., c[0]] if len(c) == 1 else torch.logsumexp(scores[..., c], -1) for c in choices]
    return torch.stack(levels, dim=1)


def _tree(trellis: Trellis, scores: Tensor) -> Tensor:
    """The log-coefficient of every state after all coordinates: (B, n, C) -> (B, states)."""
    before = _predecessors(torch.device("cpu"), trellis).tolist()
    steps = [[c for c, p in enumerate(before[s]) if p == 0] for s in range(trellis.states)]
    empty = scores.new_full(scores.shape[:2], LOG_ZERO)
    leaf = [torch.logsumexp(scores[..., chosen], -1) if chosen else empty for chosen in steps]
    polynomials = torch.stack(leaf, dim=-1)
    first, second = _splits(scores.device, trellis)
    while polynomials.shape[1] > 1:
        padded = _with_zero(polynomials, dim=-1)
        if padded.shape[1] % 2:
            padded, odd_one = padded[:, :-1], polynomials[:, -1:]
        else:
            odd_one = polynomials[:, :0]
        left, right = padded[:, 0::2], padded[:, 1::2]
        products = torch.logsumexp(left[..., first] + right[..., second], dim=-1)
        polynomials = torch.cat([products.clamp_min(LOG_ZERO), odd_one], dim=1)
    return polynomials[:, 0]


def _with_zero(x: Tensor, dim: int) -> Tensor:
    """x with one more entry, the logarithm of zero, where padding indices point."""
    shape = list(x.shape)
    shape[dim] = 1
    return torch.cat([x, x.new_full(shape, LOG_ZERO)], dim=dim)


def _start(trellis: Trellis, like: Tensor) -> Tensor:
    alpha = like.new_full((like.shape[0], trellis.states), LOG_ZERO)
    alpha[:, 0] = 0
    return alpha


def _forward(trellis: Trellis, scores: Tensor) -> Tensor:
    """The log-weight of reaching each state after i coordinates: (B, n, C) -> (B, n + 1, states)."""
    before = _predecessors(scores.device, trellis)
    alphas = [_start(trellis, scores)]
    for i in range(scores.shape[1]):
        candidates = _with_zero(alphas[-1], dim=-1)[:, before] + scores[:, i, None, :]
        alphas.append(torch.logsumexp(candidates, dim=-1).clamp_min(LOG_ZERO))
    return torch.stack(alphas, dim=1)


class _ScanLogPartition(torch.autograd.Function):
    """The recursion along the coordinates, with the forward-backward algorithm as its gradient.

    The gradient with respect to a score is the probability that a word drawn from the softmax makes that
    choice at that coordinate.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, trellis: Trellis, odd: bool) -> Tensor:
        alphas = _forward(trellis, scores)
        ctx.save_for_backward(scores, alphas)
        ctx.trellis, ctx.odd = trellis, odd
        return alphas[:, -1, trellis.final(odd)].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        scores, alphas = ctx.saved_tensors
        trellis = ctx.trellis
        before = _predecessors(scores.device, trellis)
        total = alphas[:, -1, trellis.final(ctx.odd)]
        beta = scores.new_full((scores.shape[0], trellis.states), LOG_ZERO)
        beta[:, trellis.final(ctx.odd)] = 0
        marginals = torch.empty_like(scores)
        for i in range(scores.shape[1] - 1, -1, -1):
            through = beta[:, :, None] + scores[:, i, None, :]  # (B, state after, choice)
            path = _with_zero(alphas[:, i], dim=-1)[:, before] + through - total[:, None, None]
            marginals[:, i] = path.exp().sum(1)
            beta = _push_back(through, before, trellis.states)
        return marginals * grad[:, None, None], None, None


def _push_back(through: Tensor, before: Tensor, states: int) -> Tensor:
    """Log-sum-exp of (B, state after, choice) onto the state each came from: -> (B, states)."""
    # Each choice maps states one to one, so a choice's column is scattered without collisions.
    columns = []
    for choice in range(before.shape[1]):
        column = through.new_full((through.shape[0], states + 1), LOG_ZERO)
        columns.append(column.index_copy(1, before[:, choice], through[:, :, choice])[:, :states])
    return torch.logsumexp(torch.stack(columns, -1), -1).clamp_min(LOG_ZERO)


# ---------------------------------------------------------------------- sampling and the k best


def sample(
    trellis: Trellis, scores: Tensor, k: int, generator: torch.Generator | None = None, odd: bool = False
) -> Tensor:
    """Draw k words from the softmax over all words: (B, n, C) -> choices (B, k, n) int64."""
    batch, n, choices = scores.shape
    chosen = torch.empty(batch, k, n, dtype=torch.int64, device=scores.device)
    if not (batch and k):
        return chosen
    alphas = _forward(trellis, scores)
    before = _predecessors(scores.device, trellis)
    state = torch.full((batch, k), trellis.final(odd), device=scores.device)
    for i in range(n - 1, -1, -1):
        origin = before[state]  # (B, k, C)
        weights = _with_zero(alphas[:, i], dim=-1).gather(1, origin.reshape(batch, -1)).reshape(origin.shape)
        probabilities = torch.softmax(weights + scores[:, i, None, :], dim=-1)
        pick = torch.multinomial(probabilities.reshape(-1, choices), 1, generator=generator).reshape(batch, k)
        chosen[:, :, i] = pick
        state = origin.gather(-1, pick[..., None])[..., 0]
    return chosen


def nearest_k(trellis: Trellis, scores: Tensor, k: int, odd: bool = False) -> tuple[Tensor, Tensor]:
    """The k words of largest total score: (B, n, C) -> scores (B, k) descending, choices (B, k, n) int64.

    The system must hold at least k words.
    """
    batch, n, _ = scores.shape
    rows = max(1, KBEST_ELEMENTS // max(1, trellis.states * k * n))
    if batch > rows:
        parts = [nearest_k(trellis, part, k, odd) for part in scores.split(rows)]
        return torch.cat([values for values, _ in parts]), torch.cat([words for _, words in parts])
    before = _predecessors(scores.device, trellis)
    best = scores.new_full((batch, trellis.states, 1), float("-inf"))
    best[:, 0] = 0
    pointers, widths = [], []
    for i in range(n):
        width = best.shape[-1]
        padded = torch.cat([best, best.new_full((batch, 1, width), float("-inf"))], dim=1)
        candidates = (padded[:, before] + scores[:, i, None, :, None]).flatten(2)  # (B, states, C * width)
        best, pointer = candidates.topk(min(k, candidates.shape[-1]), dim=-1)
        pointers.append(pointer.to(torch.int32))
        widths.append(width)
    final = trellis.final(odd)
    values = best[:, final]
    slot = torch.arange(k, device=scores.device).expand(batch, k)
    state = torch.full((batch, k), final, device=scores.device)
    chosen = torch.empty(batch, k, n, dtype=torch.int64, device=scores.device)
    row = torch.arange(batch, device=scores.device)[:, None]
    for i in range(n - 1, -1, -1):
        pointer = pointers[i][row, state, slot].long()
        pick, slot = pointer // widths[i], pointer % widths[i]
        chosen[:, :, i] = pick
        state = before[state, pick]
    return values, chosen
