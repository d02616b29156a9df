"""The classes nearest to each class: the rivals a softmax must not leave out."""

from __future__ import annotations

import torch
from torch import Tensor

from rootspace.assign.base import Assignment

#: Classes whose neighbours are looked up at a time, in the exact search.
BLOCK = 256

#: Up to this many classes every class is compared with every other; above, with those in its leaves.
EXACT_UP_TO = 2**14

#: Trees of the approximate search, and the most classes in a leaf.
TREES, LEAF = 4, 2048

#: Rows, and elements of the matrices of products within leaves, that are worked on at a time.
ROWS, LEAF_ELEMENTS = 2**16, 2**23


def neighbours(assignment: Assignment, k: int, known: Tensor | None = None) -> Tensor:
    """For each class k other classes whose vectors are nearest to its own: int64 (n_classes, k), nearest first.

    Exact for up to `EXACT_UP_TO` classes, and above by `forest_neighbours`, to which `known` neighbours of an earlier
    search are a help. With k or fewer other classes, all of them.
    """
    if assignment.n_classes <= EXACT_UP_TO:
        return exact_neighbours(assignment, k)
    directions = torch.cat([assignment.vectors(ids) for ids in _ids(assignment).split(ROWS)]) / assignment.system.norm
    # seeded by the vectors: other trees after they have moved, the same in every process
    seed = int(directions[:BLOCK].view(torch.int32).long().sum()) % 2**63
    return forest_neighbours(directions, k, known, generator=torch.Generator().manual_seed(seed))


def exact_neighbours(assignment: Assignment, k: int) -> Tensor:
    """The k classes nearest to each class, (n_classes, k), from n_classes^2 comparisons, a block of classes at a time.

    No (n_classes x n_classes) matrix is held. Vectors that are still moving are taken as they are.
    """
    everyone = _ids(assignment)
    k = min(k, assignment.n_classes - 1)
    found = everyone.new_empty(len(everyone), k)
    for ids in everyone.split(BLOCK) if k else ():
        # one more, because the nearest of all is the class itself
        _, nearest = assignment.nearest(assignment.vectors(ids), k + 1)
        others = (nearest != ids[:, None]).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :k]
        found[ids] = nearest.gather(1, others)
    return found


def forest_neighbours(
    directions: Tensor,
    k: int,
    known: Tensor | None = None,
    trees: int = TREES,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Near rows for each unit row of (N, n), most of them the nearest: int64 (N, k), nearest first; k < `LEAF` / 2.

    Random projection trees (Dasgupta & Freund, STOC 2008) split the rows at medians until a leaf holds at most `LEAF`;
    rows are compared within their leaves, and with the neighbours `known` (N, j) from an earlier search. Cost
    N (LEAF + log N) n for a tree, in tensor operations of the rows' device. The generator is on the CPU.
    """
    best = torch.zeros(len(directions), 0, dtype=torch.int64, device=directions.device)
    scores = directions.new_zeros(len(directions), 0)
    if known is not None:
        best = known.long()
        scores = _scores(directions, best)
    for _ in range(trees):
        more_scores, more = _in_leaves(directions, _leaves(directions, generator), k)
        scores, best = _merged(torch.cat([scores, more_scores], 1), torch.cat([best, more], 1), k)
    return best


def _ids(assignment: Assignment) -> Tensor:
    device = next((buffer.device for buffer in assignment.buffers()), torch.device("cpu"))
    return torch.arange(assignment.n_classes, device=device)


def _leaves(directions: Tensor, generator: torch.Generator | None) -> Tensor:
    """The rows in leaves of one size, (leaves, size) int64; -1 where a leaf is not full."""
    n = len(directions)
    levels = max(0, -(-n // LEAF) - 1).bit_length()
    size = -(-n // 2**levels)
    order = torch.full((2**levels * size,), -1, device=directions.device)
    order[:n] = torch.randperm(n, generator=generator).to(order)
    for level in range(levels):
        groups = order.view(2**level, -1)
        # across the line through two of its rows: an axis drawn at random might miss a group's extent
        first, second = (directions[groups[:, place].clamp_min(0)] for place in (0, groups.shape[1] // 2))
        axes = first - second
        group = torch.arange(len(order), device=order.device) // groups.shape[1]
        along = torch.cat(
            [
                (directions[rows.clamp_min(0)] * axes[of]).sum(1)
                for rows, of in zip(order.split(ROWS), group.split(ROWS), strict=True)
            ]
        )
        along = along.masked_fill(order < 0, torch.inf).view_as(groups)
        order = groups.gather(1, along.argsort(dim=1)).flatten()
    return order.view(2**levels, size)


def _in_leaves(directions: Tensor, leaves: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """For each row the k best products with other rows of its leaf, and which rows those are: (N, k) twice."""
    size = leaves.shape[1]
    k = min(k, size - 1)
    scores = directions.new_empty(len(directions), k)
    found = leaves.new_empty(len(directions), k)
    itself = torch.eye(size, dtype=torch.bool, device=leaves.device)
    for part in leaves.split(max(1, LEAF_ELEMENTS // size**2)):
        inside = directions[part.clamp_min(0)]
        products = torch.bmm(inside, inside.transpose(1, 2))
        products.masked_fill_(itself | (part < 0)[:, None, :], -torch.inf)
        values, places = products.topk(k, dim=2)
        real = part >= 0
        scores[part[real]] = values[real]
        found[part[real]] = part[:, None, :].expand_as(products).gather(2, places)[real]
    return scores, found


def _scores(directions: Tensor, rows: Tensor) -> Tensor:
    """The products of each row with the given rows (N, j): (N, j)."""
    parts = zip(directions.split(BLOCK), rows.split(BLOCK), strict=True)
    return torch.cat([torch.einsum("rn,rjn->rj", own, directions[others]) for own, others in parts])


def _merged(scores: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of (N, m) candidates, each row counted once."""
    rows, order = rows.sort(dim=1)
    scores = scores.gather(1, order)
    scores[:, 1:].masked_fill_(rows[:, 1:] == rows[:, :-1], -torch.inf)
    scores, places = scores.topk(min(k, scores.shape[1]), dim=1)
    return scores, rows.gather(1, places)
