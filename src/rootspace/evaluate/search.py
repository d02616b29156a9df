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

TIE = 1e-6  # float32 dot products of unit vectors that differ by less are not told apart


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
) -> Retrieval:
    """Recall@k and mean average precision by cosine, of queries (N, dim) with labels (N,).

    Without a gallery every sample is a query against all the others. Exact: for every relevant item the
    irrelevant ones at least as near are counted, over gallery chunks, so that memory is of order
    query_chunk x (gallery_chunk + the largest class). Ties count against the relevant item, so that
    embeddings that all fell together do not look good.

    Raises `InputError` for empty input, NaN or infinity, shapes that do not fit, k below 1, and when no query
    has anything relevant.

    >>> x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> retrieval(x, np.array([0, 0, 1, 1]), [1])
    Retrieval(recall={1: 1.0}, mean_average_precision=1.0, n=4, n_skipped=0)
    """
    wanted = tuple(sorted({int(k) for k in ks}))
    if not wanted or wanted[0] < 1:
        raise InputError(f"retrieval: expected k of at least 1, got {list(wanted)}")
    check_embeddings(embeddings, labels, "retrieval")
    itself = gallery is None
    if gallery is None or gallery_labels is None:
        if gallery is not None or gallery_labels is not None:
            raise InputError("retrieval: expected gallery and gallery_labels together, got one of them")
        gallery, gallery_labels = embeddings, labels
    check_embeddings(gallery, gallery_labels, "retrieval gallery")
    if gallery.shape[1] != embeddings.shape[1]:
        raise InputError(f"retrieval: expected a gallery of dimension {embeddings.shape[1]}, got {gallery.shape[1]}")
    return _retrieval(
        _unit(embeddings), as_tensor(labels), _unit(gallery), as_tensor(gallery_labels),
        wanted, itself, query_chunk, gallery_chunk,
    )  # fmt: skip


def _retrieval(
    queries: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor,
    ks: tuple[int, ...], itself: bool, query_chunk: int, gallery_chunk: int,
) -> Retrieval:  # fmt: skip
    # the gallery in order of class: the items relevant to a query are then one range
    gallery_labels, order = gallery_labels.to(gallery.device).sort(stable=True)
    gallery, labels = gallery[order], labels.to(queries.device)
    first = torch.searchsorted(gallery_labels, labels)
    last = torch.searchsorted(gallery_labels, labels, right=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    relevant = last - first - int(itself)
    asked = (relevant > 0).nonzero()[:, 0]
    if len(asked) == 0:
        raise InputError(
            "retrieval: expected queries with another sample of their class in the gallery, got none; "
            "give at least two samples of a class"
        )
    # queries with equally many relevant items together: little padding
    asked = asked[relevant[asked].argsort(stable=True)]
    hits = dict.fromkeys(ks, 0)
    precision = 0.0
    start = 0
    while start < len(asked):
        now = asked[start : start + query_chunk]
        # the last one has the most: keep (queries, relevant) within the budget of (queries, gallery chunk)
        most = int(relevant[now[-1]])
        now = now[: max(1, query_chunk * gallery_chunk // max(most, gallery_chunk))]
        start += len(now)
        skip = place[now] if itself else None
        near = _relevant_scores(queries[now], gallery, first[now], last[now], skip)
        before = _irrelevant_before(queries[now], labels[now], near, gallery, gallery_labels, gallery_chunk)
        rank = torch.arange(1, near.shape[1] + 1, device=near.device)
        real = near > -torch.inf
        each = torch.where(real, rank / (rank + before), 0.0).double()
        precision += float((each.sum(1) / real.sum(1)).sum())
        for k in ks:
            hits[k] += int((before[:, 0] < k).sum())
    n = len(asked)
    return Retrieval({k: hits[k] / n for k in ks}, precision / n, n, len(labels) - n)


def _relevant_scores(queries: Tensor, gallery: Tensor, first: Tensor, last: Tensor, skip: Tensor | None) -> Tensor:
    """Cosines of each query to the items of its class (Q, R), best first, padded with -infinity."""
    most = int((last - first).max())
    near = queries.new_full((len(queries), most), -torch.inf)
    block = max(1, (1 << 22) // max(1, queries.numel()))
    for start in range(0, most, block):
        columns = torch.arange(start, min(start + block, most), device=queries.device)
        items = first[:, None] + columns
        real = items < last[:, None]
        if skip is not None:
            real &= items != skip[:, None]
        scores = torch.einsum("qd,qrd->qr", queries, gallery[items.clamp(max=len(gallery) - 1)])
        near[:, columns] = torch.where(real, scores, -torch.inf)
    return near.sort(dim=1, descending=True).values


def _irrelevant_before(
    queries: Tensor, labels: Tensor, near: Tensor, gallery: Tensor, gallery_labels: Tensor, chunk: int
) -> Tensor:
    """For each relevant cosine (Q, R): how many items of other classes are at least as near (Q, R)."""
    bars = (near - TIE).cpu().numpy()
    before = np.zeros(bars.shape, np.int64)
    for start in range(0, len(gallery), chunk):
        scores = (queries @ gallery[start : start + chunk].T).cpu().numpy()
        same = (gallery_labels[start : start + chunk] == labels[:, None]).cpu().numpy()
        scores[same] = -np.inf
        # NumPy's vectorised sort, then few look-ups: an order of magnitude faster than a look-up per item
        scores.sort(axis=1)
        for row, ranked in enumerate(scores):
            before[row] += len(ranked) - np.searchsorted(ranked, bars[row])
    return torch.from_numpy(before).to(near.device)


def _unit(embeddings: np.ndarray | Tensor) -> Tensor:
    values = as_tensor(embeddings).float()
    check_finite(values)
    return normalize(values, dim=1)
