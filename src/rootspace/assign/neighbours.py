"""The classes nearest to each class: the rivals a softmax must not leave out."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace.assign.base import Assignment, best_of

#: Classes compared with all others at a time.
BLOCK = 256

#: Up to this many classes every class is compared with every other; above, with those of some cells.
EXACT_UP_TO = 2**14

#: Cells that each class is compared with.
PROBES = 8

#: Rounds of k-means that place the cells, and classes a cell that take part in it.
ROUNDS, SAMPLED = 5, 32

#: Rows, and elements of their products with a cell, that are worked on at a time.
ROWS, ELEMENTS = 2**14, 2**24


def neighbours(assignment: Assignment, k: int, known: Tensor | None = None) -> Tensor:
    """For each class k other classes whose vectors are nearest to its own: int64 (n_classes, k), nearest first.

    Exact for up to `EXACT_UP_TO` classes, and above by `cell_neighbours`, to which `known` neighbours of an earlier
    search are a help. With k or fewer other classes, all of them.
    """
    if assignment.n_classes <= EXACT_UP_TO:
        return exact_neighbours(assignment, k)
    directions = torch.cat([assignment.vectors(ids) for ids in _ids(assignment).split(ROWS)]) / assignment.system.norm
    # seeded by the vectors: other cells after they have moved, the same in every process
    seed = int(directions[:BLOCK].view(torch.int32).long().sum()) % 2**63
    return cell_neighbours(directions, k, known, generator=torch.Generator().manual_seed(seed))


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


def cell_neighbours(
    directions: Tensor,
    k: int,
    known: Tensor | None = None,
    probes: int = PROBES,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Near rows for each unit row of (N, n), most of them the nearest: int64 (N, k), nearest first; k < N.

    An inverted file: about sqrt(N) cells around centres found by k-means, and every row compared with those of the
    `probes` cells whose centres are nearest to it; and with the neighbours `known` (N, j) from an earlier search, whose
    cells were others. About N sqrt(N) probes n multiplications, in tensor operations of the rows' device; a loop over
    cells, none over rows. The generator is on the CPU.
    """
    probed = _nearest_cells(directions, probes, generator)
    order = probed[:, 0].argsort(stable=True)
    rows, found = _in_cells(directions[order], probed[order], k)
    best = torch.empty_like(found)
    best[order] = order[found]
    scores = torch.empty_like(rows)
    scores[order] = rows
    if known is None:
        return best
    return _merged(torch.cat([scores, _scores(directions, known.long())], 1), torch.cat([best, known.long()], 1), k)[1]


def _ids(assignment: Assignment) -> Tensor:
    device = next((buffer.device for buffer in assignment.buffers()), torch.device("cpu"))
    return torch.arange(assignment.n_classes, device=device)


def _nearest_cells(directions: Tensor, probes: int, generator: torch.Generator | None) -> Tensor:
    """The cells nearest to each row, nearest first: int64 (N, probes), or as many as there are cells."""
    cells = max(1, round(len(directions) ** 0.5))
    drawn = torch.randperm(len(directions), generator=generator)[: SAMPLED * cells].to(directions.device)
    some = directions[drawn]
    centres = some[:cells].clone()
    for _ in range(ROUNDS):
        own = torch.cat([(part @ centres.T).argmax(dim=1) for part in some.split(ROWS)])
        centres = normalize(torch.zeros_like(centres).index_add_(0, own, some), dim=1)
    width = min(probes, cells)
    return torch.cat([(part @ centres.T).topk(width, dim=1).indices for part in directions.split(ROWS)])


def _in_cells(directions: Tensor, probed: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best products of each row with other rows of the cells it probes, and these rows: (N, k) twice.

    The rows lie in order of the cell that each probes first, which is its own.
    """
    best = directions.new_full((len(directions), k), -torch.inf)
    found = probed.new_zeros(len(directions), k)
    cells = int(probed.max()) + 1
    members = _bounds(probed[:, 0], cells)
    for probe in range(probed.shape[1]):
        visitors = probed[:, probe].argsort(stable=True)
        for (start, end), (first, last) in zip(_bounds(probed[:, probe], cells), members, strict=True):
            if first == last:
                continue
            for rows in visitors[start:end].split(max(1, ELEMENTS // (last - first))):
                products = directions[rows] @ directions[first:last].T
                if probe == 0:
                    products[torch.arange(len(rows), device=rows.device), rows - first] = -torch.inf
                values, places = products.topk(min(k, last - first), dim=1)
                best[rows], found[rows] = best_of(best[rows], found[rows], values, places + first, k)
    # a few rows whose cells hold too few others
    for rows in (best[:, -1] == -torch.inf).nonzero()[:, 0].split(BLOCK):
        products = directions[rows] @ directions.T
        products[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
        best[rows], found[rows] = products.topk(k, dim=1)
    return best, found


def _bounds(cell_of: Tensor, cells: int) -> list[tuple[int, int]]:
    """Where each cell begins and ends among rows that are sorted by cell."""
    ends = torch.bincount(cell_of, minlength=cells).cumsum(0).tolist()
    return list(pairwise([0, *ends]))


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
