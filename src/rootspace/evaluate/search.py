"""Retrieval measured exactly with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace.errors import InputError
from rootspace.evaluate.embed import as_tensor, check_embeddings, check_finite
from rootspace.evaluate.processes import Processes

TIE = 1e-6  # float32 dot products of unit vectors that differ by less are not told apart
CHUNK = 4096  # embeddings normalised at a time
UNIT = 1 << 32  # of the integers that average precisions are summed as, so that the order of queries does not matter


@dataclass(frozen=True)
class Retrieval:
    """`recall[k]`: share of queries with one of their class among the k nearest; `mean_average_precision`:
    the mean over queries of the precision at each relevant item's rank, averaged over those items.

    `n` queries were counted; `n_skipped` had nothing relevant in the gallery and count nowhere.
    """

    recall: dict[int, float]
    mean_average_precision: float
    n: int
    n_skipped: int


def retrieval(
    embeddings: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    ks: Iterable[int] = (1, 5, 10),
    *,
    gallery: np.ndarray | Tensor | None = None,
    gallery_labels: np.ndarray | Tensor | None = None,
    query_chunk: int = 256,
    gallery_chunk: int = 8192,
    collective: bool = False,
) -> Retrieval:
    """Recall@k and mean average precision by cosine, of queries (N, dim) with labels (N,).

    Without a gallery every sample is a query against all the others. Exact: for every relevant item the
    irrelevant ones at least as near are counted, over gallery chunks, so that memory beside one float32 copy of
    queries and gallery is of order query_chunk x (gallery_chunk + the largest class). Ties count against the
    relevant item, so that embeddings that all fell together do not look good.

    Raises `InputError` for empty input, NaN or infinity, shapes that do not fit, k below 1, and when no query
    has anything relevant.

    With `collective`, every process of `torch.distributed`'s default group makes this call with its own part of the
    queries, and of the gallery if there is one; parts may be empty. Each asks its own queries against the galleries of
    all, of which it holds a copy, and gets the numbers of all queries together.

    >>> x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> retrieval(x, np.array([0, 0, 1, 1]), [1])
    Retrieval(recall={1: 1.0}, mean_average_precision=1.0, n=4, n_skipped=0)
    """
    wanted = tuple(sorted({int(k) for k in ks}))
    if not wanted or wanted[0] < 1:
        raise InputError(f"retrieval: expected k of at least 1, got {list(wanted)}")
    if (gallery is None) != (gallery_labels is None):
        raise InputError("retrieval: expected gallery and gallery_labels together, got one of them")
    processes = Processes.of(collective)
    with processes.together():
        queries, labels = _checked(embeddings, labels, "retrieval", processes)
        items, classes = queries, labels
        if gallery is not None and gallery_labels is not None:
            items, classes = _checked(gallery, gallery_labels, "retrieval gallery", processes)
        if items.shape[1] != queries.shape[1]:
            raise InputError(f"retrieval: expected a gallery of dimension {queries.shape[1]}, got {items.shape[1]}")
    own = None
    if gallery is None:  # where the queries stand in what is gathered
        before = sum(processes.sizes(len(queries))[: processes.rank])
        own = torch.arange(before, before + len(queries), device=queries.device)
    search = _Search(processes.gather(items), processes.gather(classes), query_chunk, gallery_chunk)
    with processes.together():
        found = search.ask(queries, labels, own, wanted)
    n, n_queries, precision, *hits = processes.totals([*found[:1], len(queries), *found[1:]])
    if n == 0:
        raise InputError(
            "retrieval: expected queries with another sample of their class in the gallery, got none; "
            "give at least two samples of a class"
        )
    recall = {k: hit / n for k, hit in zip(wanted, hits, strict=True)}
    return Retrieval(recall, precision / UNIT / n, n, n_queries - n)


class _Search:
    """A gallery of unit vectors (N, dim) with labels (N,), against which queries are asked chunk by chunk."""

    def __init__(self, items: Tensor, labels: Tensor, query_chunk: int, gallery_chunk: int) -> None:
        self.items, self.labels = items, labels
        self.query_chunk, self.gallery_chunk = query_chunk, gallery_chunk
        # in order of class: the items relevant to a query are then one range
        self.sorted_labels, self.order = labels.sort(stable=True)

    def ask(self, queries: Tensor, labels: Tensor, own: Tensor | None, ks: tuple[int, ...]) -> list[int]:
        """Sums over queries with anything relevant: their number, average precisions in 1/UNIT, hits at each k.

        `own`, where the queries are of the gallery, is the item (Q,) that each of them is.
        """
        first = torch.searchsorted(self.sorted_labels, labels)
        last = torch.searchsorted(self.sorted_labels, labels, right=True)
        relevant = last - first - int(own is not None)
        asked = (relevant > 0).nonzero()[:, 0]
        # queries with equally many relevant items together: little padding
        asked = asked[relevant[asked].argsort(stable=True)]
        precision, hits, start = 0, [0] * len(ks), 0
        while start < len(asked):
            now = asked[start : start + self.query_chunk]
            # the last one has the most: keep (queries, relevant) within the budget of (queries, gallery chunk)
            most = int(relevant[now[-1]])
            now = now[: max(1, self.query_chunk * self.gallery_chunk // max(most, self.gallery_chunk))]
            start += len(now)
            near = self._relevant_scores(queries[now], first[now], last[now], None if own is None else own[now])
            before = self._irrelevant_before(queries[now], labels[now], near)
            rank = torch.arange(1, near.shape[1] + 1, dtype=torch.float64, device=near.device)
            real = near > -torch.inf
            each = torch.where(real, rank / (rank + before), 0.0)
            precision += int((each.sum(1) / real.sum(1) * UNIT).round().long().sum())
            for at, k in enumerate(ks):
                hits[at] += int((before[:, 0] < k).sum())
        return [len(asked), precision, *hits]

    def _relevant_scores(self, queries: Tensor, first: Tensor, last: Tensor, own: Tensor | None) -> Tensor:
        """Cosines of each query to the items of its class (Q, R), best first, padded with -infinity."""
        most = int((last - first).max())
        near = queries.new_full((len(queries), most), -torch.inf)
        block = max(1, (1 << 22) // max(1, queries.numel()))
        for start in range(0, most, block):
            columns = torch.arange(start, min(start + block, most), device=queries.device)
            places = first[:, None] + columns
            items = self.order[places.clamp(max=len(self.order) - 1)]
            real = places < last[:, None]
            if own is not None:
                real &= items != own[:, None]
            scores = torch.einsum("qd,qrd->qr", queries, self.items[items])
            near[:, columns] = torch.where(real, scores, -torch.inf)
        return near.sort(dim=1, descending=True).values

    def _irrelevant_before(self, queries: Tensor, labels: Tensor, near: Tensor) -> Tensor:
        """For each relevant cosine (Q, R): how many items of other classes are at least as near (Q, R)."""
        bars = near - TIE
        before = torch.zeros_like(near, dtype=torch.int64)
        for start in range(0, len(self.items), self.gallery_chunk):
            scores = queries @ self.items[start : start + self.gallery_chunk].T
            scores.masked_fill_(self.labels[start : start + self.gallery_chunk] == labels[:, None], -torch.inf)
            before += scores.shape[1] - torch.searchsorted(_ascending(scores), bars)
        return before


def _ascending(scores: Tensor) -> Tensor:
    """Each row sorted; the scores themselves are lost."""
    if scores.device.type != "cpu":
        return scores.sort(dim=1).values
    scores.numpy().sort(axis=1)  # NumPy's vectorised sort: an order of magnitude faster than torch's on a CPU
    return scores


def _checked(
    embeddings: np.ndarray | Tensor, labels: np.ndarray | Tensor, what: str, processes: Processes
) -> tuple[Tensor, Tensor]:
    """Embeddings as unit vectors, a chunk at a time, and labels beside them."""
    check_embeddings(embeddings, labels, what, empty=processes.count > 1)
    device = embeddings.device if isinstance(embeddings, Tensor) else torch.device("cpu")
    unit = torch.empty(embeddings.shape, device=device)
    for start in range(0, len(unit), CHUNK):
        part = as_tensor(embeddings[start : start + CHUNK]).float()
        check_finite(part, first=start)
        unit[start : start + CHUNK] = normalize(part, dim=1)
    return unit, as_tensor(labels).long().to(device)
