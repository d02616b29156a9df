"""The minimal trellis of a binary linear code, and one recursion along it in several semirings.

A state is what the coordinates read so far still owe to those to come. In the trellis-oriented form of a generator
matrix no two rows start, and no two rows end, at the same coordinate; the state between two coordinates is then
the information bits of the rows that have started and not ended. (Bahl, Cocke, Jelinek & Raviv, IEEE Trans. IT 20
(1974); Forney, IEEE Trans. IT 34 (1988); Kschischang & Sorokine, IEEE Trans. IT 41 (1995).)

Scores are penalties: a word pays 2|x_i| at each coordinate whose sign is not that of x_i. So the words that matter
have small scores, and float32 keeps its accuracy at any scale: <x, v> = sum |x_i| - penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from rootspace.systems.classical.linear_code import LinearCode
from rootspace.systems.classical.scored import wide

#: The logarithm of zero, finite so that no difference of two of them is NaN.
LOG_ZERO = -1e30

#: Working memory of one recursion, in tensor elements.
ELEMENTS = 2**25


@dataclass(frozen=True)
class Section:
    """The edges at one coordinate; S states before it, T after it.

    source, bit: for each state after, the states before and the bits of its one or two edges, (T, E).
    target, sent: for each state before, the states after and the bits of its edges, (S, F).
    leave: the state and the edge by which the word of zeros can be left, or None.
    """

    source: Tensor
    bit: Tensor
    target: Tensor
    sent: Tensor
    leave: tuple[int, int] | None


def trellis_rows(code: LinearCode) -> list[int]:
    """Generators in trellis-oriented form: all starts different, all ends different, by start."""
    rows = list(code.generators)
    taken: dict[int, int] = {}
    for start in range(len(rows) - 1, -1, -1):  # from the latest start; later rows never change again
        row = rows[start]
        while (end := row & -row) in taken:
            row ^= taken[end]
        taken[end] = rows[start] = row
    return rows


def widths(code: LinearCode) -> list[int]:
    """log2 of the number of states before each coordinate, and after the last."""
    change = [0] * (code.n + 2)
    for row in trellis_rows(code):
        change[code.n - row.bit_length() + 1] += 1
        change[code.n - (row & -row).bit_length() + 1] -= 1
    active, found = 0, []
    for step in change[: code.n + 1]:
        active += step
        found.append(active)
    return found


@lru_cache(maxsize=8)
def _kept_sections(device: torch.device, code: LinearCode) -> tuple[Section, ...]:
    with torch.inference_mode(False):
        return tuple(_build(device, code))


def sections(device: torch.device, code: LinearCode) -> tuple[Section, ...]:
    return tuple(_build(device, code)) if torch.compiler.is_compiling() else _kept_sections(device, code)


def _build(device: torch.device, code: LinearCode) -> list[Section]:
    n, rows, active, found = code.n, trellis_rows(code), list[int](), list[Section]()
    starts = {n - row.bit_length(): row for row in rows}
    for i in range(n):
        column = 1 << (n - 1 - i)
        known = len(active)
        full = [*active, starts[i]] if i in starts else active
        mask = sum(1 << t for t, row in enumerate(full) if row & column)
        ending = [t for t, row in enumerate(full) if row & -row == column]
        # an edge is the bits of `full`; the state before it lacks the new bit, the state after it the ended one
        after = torch.arange(1 << (len(full) - len(ending)))
        into = _insert(after, ending[0]) if ending else after[:, None]
        before = torch.arange(1 << known)
        out = torch.stack([before + (bit << known) for bit in range(1 + len(full) - known)], dim=1)
        leave = None
        if len(full) > known:
            edge = 1 << known
            leave = (_remove(edge, ending[0]), edge >> ending[0] & 1) if ending else (edge, 0)
        found.append(
            Section(
                source=(into & (1 << known) - 1).to(device),
                bit=_parity(into & mask).to(device),
                target=(_remove(out, ending[0]) if ending else out).to(device),
                sent=_parity(out & mask).to(device),
                leave=leave,
            )
        )
        active = [row for t, row in enumerate(full) if t not in ending]
    return found


def _insert(state: Tensor, place: int) -> Tensor:
    low = state & (1 << place) - 1
    return torch.stack([((state - low) << 1) + (bit << place) + low for bit in (0, 1)], dim=1)


def _remove(edge, place: int):  # type: ignore[no-untyped-def]  # an integer or a tensor of them
    return (edge >> place + 1 << place) + (edge & (1 << place) - 1)


def _parity(x: Tensor) -> Tensor:
    for shift in (32, 16, 8, 4, 2, 1):
        x = x ^ x >> shift
    return x & 1


def _penalties(x: Tensor) -> Tensor:
    """The score of bit 0 and of bit 1 at each coordinate, never positive: (B, n) -> (B, n, 2)."""
    return 2 * torch.stack([x.clamp_max(0), (-x).clamp_max(0)], dim=-1)


def _row_limit(code: LinearCode, k: int = 1) -> int:
    return max(1, ELEMENTS // (2 * k * sum(1 << width for width in widths(code))))


# ---------------------------------------------------------------------- max-plus: the nearest, and the k nearest


@torch.no_grad()
def nearest(code: LinearCode, x: Tensor) -> Tensor:
    """The bits of a word with the largest inner product: (B, n) -> int64 (B, n). (Viterbi's algorithm.)"""
    if len(x) > (rows := 4 * _row_limit(code)):
        return torch.cat([nearest(code, part) for part in x.split(rows)])
    scores, best = _penalties(x), x.new_zeros(len(x), 1)
    choices: list[Tensor] = []
    for i, section in enumerate(sections(x.device, code)):
        candidates = best[:, section.source] + scores[:, i][:, section.bit]
        # of one edge or two; where they are equal, the first
        choices.append(candidates[:, :, -1] > candidates[:, :, 0])
        best = candidates.amax(2)
    state = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    bits = torch.empty(x.shape, dtype=torch.int64, device=x.device)
    for i in range(code.n - 1, -1, -1):
        section = sections(x.device, code)[i]
        edge = choices[i].gather(1, state[:, None])[:, 0].long()
        bits[:, i] = section.bit[state, edge]
        state = section.source[state, edge]
    return bits


@torch.no_grad()
def nearest_k(code: LinearCode, x: Tensor, k: int) -> Tensor:
    """The bits of the k words with the largest inner products, best first: (B, n) -> int64 (B, k, n)."""
    if len(x) > (rows := _row_limit(code, k)):
        return torch.cat([nearest_k(code, part, k) for part in x.split(rows)])
    scores, best, pointers = _penalties(x), x.new_zeros(len(x), 1, 1), []
    for i, section in enumerate(sections(x.device, code)):
        width = best.shape[2]
        candidates = (best[:, section.source] + scores[:, i][:, section.bit][..., None]).flatten(2)
        # every state is reached by equally many paths, so none of these slots is empty
        best, pointer = candidates.topk(min(k, candidates.shape[2]), dim=2)
        pointers.append((pointer.to(torch.int16 if candidates.shape[2] < 2**15 else torch.int32), width))
    row = torch.arange(len(x), device=x.device)[:, None]
    slot = torch.arange(k, device=x.device).expand(len(x), k)
    state = torch.zeros_like(slot)
    bits = torch.empty(len(x), k, code.n, dtype=torch.int64, device=x.device)
    for i in range(code.n - 1, -1, -1):
        section, (pointer, width) = sections(x.device, code)[i], pointers[i]
        picked = pointer[row, state, slot].long()
        edge, slot = picked // width, picked % width
        bits[:, :, i] = section.bit[state, edge]
        state = section.source[state, edge]
    return bits


# ---------------------------------------------------------------------- the logarithmic semiring


def log_partition(code: LinearCode, z: Tensor, without_zero: bool = False) -> Tensor:
    """log of the sum over all words of exp<z, v>, differentiable: (B, n) -> (B,).

    without_zero: leave out the word of zeros, exactly, by summing over the paths that leave it.
    """
    total: Tensor = _LogPartition.apply(z, code, without_zero)
    return total


class _LogPartition(torch.autograd.Function):
    """The gradient is the mean word of the softmax: computed in the forward pass, so that no states are kept."""

    @staticmethod
    def forward(ctx, z: Tensor, code: LinearCode, without_zero: bool) -> Tensor:  # type: ignore[no-untyped-def]
        totals, means = [z.new_empty(0)], [z.new_empty(0, code.n)]
        for part in z.split(_row_limit(code)) if len(z) else ():
            total, mean = _sum(code, part, without_zero, ctx.needs_input_grad[0])
            totals.append(total)
            means.append(mean)
        ctx.save_for_backward(torch.cat(means))
        return torch.cat(totals)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        (mean,) = ctx.saved_tensors
        return grad[:, None] * mean, None, None


def _sum(code: LinearCode, z: Tensor, without_zero: bool, with_mean: bool) -> tuple[Tensor, Tensor]:
    scores = _penalties(z)
    alphas, zeros = _forward(code, scores, without_zero, keep=with_mean)
    total = alphas[-1][:, 0]
    mean = _mean(code, scores, alphas, zeros, total, without_zero) if with_mean else z.new_empty(0, code.n)
    return (wide(z).abs().sum(1) + total).to(z.dtype), mean  # the two may nearly cancel


def _forward(code: LinearCode, scores: Tensor, without_zero: bool, keep: bool) -> tuple[list[Tensor], Tensor]:
    """The log-weight of reaching each state after i coordinates, and of the word of zeros so far, (B, n + 1).

    Without the word of zeros, paths join the sum when they leave it.
    """
    zeros = torch.cat([scores.new_zeros(len(scores), 1), scores[:, :, 0].cumsum(1)], dim=1)
    alpha = scores.new_full((len(scores), 1), LOG_ZERO if without_zero else 0.0)
    alphas = [alpha]
    for i, section in enumerate(sections(scores.device, code)):
        candidates = alpha[:, section.source] + scores[:, i][:, section.bit]
        if without_zero and section.leave is not None:
            state, edge = section.leave
            leaving = zeros[:, i] + scores[:, i, 1]
            candidates[:, state, edge] = torch.logaddexp(candidates[:, state, edge], leaving)
        alpha = _add(candidates).clamp_min(LOG_ZERO)
        alphas = [*alphas, alpha] if keep else [alpha]
    return alphas, zeros


def _add(candidates: Tensor) -> Tensor:
    one = candidates[:, :, 0]
    return one if candidates.shape[2] == 1 else torch.logaddexp(one, candidates[:, :, 1])


def _mean(
    code: LinearCode, scores: Tensor, alphas: list[Tensor], zeros: Tensor, total: Tensor, without_zero: bool
) -> Tensor:
    """The mean word of the softmax, by the backward recursion: (B, n)."""
    mean = scores.new_empty(scores.shape[:2])
    beta = scores.new_zeros(len(scores), 1)
    beta_zero = scores.new_full((len(scores),), LOG_ZERO)  # of the paths on the word of zeros that leave it later
    for i in range(code.n - 1, -1, -1):
        section = sections(scores.device, code)[i]
        through = beta[:, section.target] + scores[:, i][:, section.sent]
        weight = (alphas[i][:, :, None] + through - total[:, None, None]).exp()
        mean[:, i] = (weight * (1 - 2 * section.sent)).sum((1, 2))
        if without_zero:
            stay = scores[:, i, 0] + beta_zero
            mean[:, i] += (zeros[:, i] + stay - total).exp()
            beta_zero = stay
            if section.leave is not None:
                leaving = scores[:, i, 1] + beta[:, section.leave[0]]
                mean[:, i] -= (zeros[:, i] + leaving - total).exp()
                beta_zero = torch.logaddexp(stay, leaving)
        beta = _add(through)
    return mean


def sample(code: LinearCode, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    """The bits of k draws from the softmax over all words: (B, n) -> int64 (B, k, n)."""
    if len(z) > (rows := _row_limit(code)):
        return torch.cat([sample(code, part, k, generator) for part in z.split(rows)])
    scores = _penalties(z)
    alphas, _ = _forward(code, scores, without_zero=False, keep=True)
    state = torch.zeros(len(z), k, dtype=torch.int64, device=z.device)
    bits = torch.empty(len(z), k, code.n, dtype=torch.int64, device=z.device)
    for i in range(code.n - 1, -1, -1):
        section = sections(z.device, code)[i]
        edge = torch.zeros_like(state)
        if section.source.shape[1] == 2:
            origin, sent = section.source[state], section.bit[state]  # (B, k, 2)
            weight = alphas[i].gather(1, origin.flatten(1)).reshape(origin.shape)
            weight = weight + scores[:, i].gather(1, sent.flatten(1)).reshape(sent.shape)
            chance = torch.sigmoid(weight[..., 1] - weight[..., 0])
            edge = (torch.rand(chance.shape, dtype=z.dtype, device=z.device, generator=generator) < chance).long()
        bits[:, :, i] = section.bit[state, edge]
        state = section.source[state, edge]
    return bits
