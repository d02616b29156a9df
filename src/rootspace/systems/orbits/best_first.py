"""The k best arrangements of a multiset of levels, found by best-first search from the sorted one.

Coordinates are sorted in descending order, so the best arrangement gives them the levels in descending order. A word
of level codes (0 for the largest level) is *out of order* at i if its code at i is larger than the one at i + 1.
Swapping the two puts one inversion right and costs nothing: the value changes by (x_i - x_{i+1}) times the gap of the
two levels, both at least 0. Two things follow, whatever x is and with ties as well:

* A word with m inversions lies above a chain of m different words that are at least as good. Ordered by value, and
  among equal values by inversions, the first k words have at most k - 1 inversions each. So a coordinate holds
  another level than in the best word only if it is one of the k - 1 next to a boundary of two levels
  (`contested_places`); the search leaves out all others.
* The words form a tree with the sorted one at its root, in which no word is better than its parent: the parent is the
  word with its first out-of-order pair swapped. So the k best are found one by one, each the best among the children
  not yet taken of those found before. A word has at most as many children as there are levels: one for each boundary
  in its ascending head, and one behind it.

The work is k (m + k / 2) for one embedding with m contested places, whatever the number of words or states.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

from rootspace.systems.constants import kept_per_device

#: Working memory of a search, in tensor elements.
ELEMENTS = 2**25


@kept_per_device
def contested_places(counts: tuple[int, ...], k: int) -> Tensor:
    """The places in descending order at which one of the k best words may differ from the best: int64 (m,).

    counts: how often each level occurs, the largest level first.
    """
    ends = [0, *accumulate(counts)]
    inner = ends[1:-1]
    near = {place for end in inner for place in range(max(0, end - k + 1), min(ends[-1], end + k - 1))}
    return torch.tensor(sorted(near), dtype=torch.int64)


@kept_per_device
def _sorted_codes(counts: tuple[int, ...], k: int) -> Tensor:
    """The best word at its contested places: int32 (m,)."""
    codes = torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), torch.tensor(counts))
    return codes[contested_places(torch.device("cpu"), counts, k)]


def best_words(x: Tensor, levels: Tensor, counts: tuple[int, ...], k: int) -> Tensor:
    """The k best words, best first: x (B, m) descending, at the contested places -> int32 codes (B, k, m).

    levels: the values of the codes, descending. There must be k words, and k must be at least 2.
    """
    width = min(len(counts), k, x.shape[1] - 1)
    rows = max(1, ELEMENTS // (k * (x.shape[1] + 3 * width)))
    return torch.cat([_search(part, levels, counts, k, width) for part in x.split(rows)])


def _search(x: Tensor, levels: Tensor, counts: tuple[int, ...], k: int, width: int) -> Tensor:
    batch, m = x.shape
    row = torch.arange(batch, device=x.device)
    steps = x[:, :-1] - x[:, 1:]
    words = torch.empty(batch, k, m, dtype=torch.int32, device=x.device)
    # of each word found: its children by what they lose against the best word, and which of them is next
    losses = x.new_full((batch, k, width + 1), float("inf"))
    places = torch.zeros(batch, k, width, dtype=torch.int64, device=x.device)
    following = torch.zeros(batch, k, dtype=torch.int64, device=x.device)
    heads = x.new_full((batch, k), float("inf"))
    word, loss = _sorted_codes(x.device, counts, k).expand(batch, m), x.new_zeros(batch)
    for found in range(k):
        if found:
            parent = heads[:, :found].argmin(1)
            loss = heads[row, parent]
            child = following[row, parent]
            place = places[row, parent, child][:, None]
            following[row, parent] = child + 1
            heads[row, parent] = losses[row, parent, child + 1]
            word = words[row, parent]
            pair = torch.cat([place, place + 1], dim=1)
            word = word.scatter(1, pair, word.gather(1, pair).flip(1))
        words[:, found] = word
        cost, places[:, found] = _children(word, steps, levels).topk(width, dim=1, largest=False)
        losses[:, found, :width] = cost + loss[:, None]
        heads[:, found] = losses[:, found, 0]
    return words


def _children(word: Tensor, steps: Tensor, levels: Tensor) -> Tensor:
    """What each swap of neighbours costs that makes a child of a word: (B, m) -> (B, m - 1), infinite for no child.

    Swapping (i, i + 1) makes a child if it puts the pair out of order and no earlier pair of the child is.
    """
    left, right = word[:, :-1], word[:, 1:]
    child = left < right
    child[:, 1:] &= word[:, :-2] <= word[:, 2:]
    disorder = (left > right).cumsum(1)
    child[:, 2:] &= disorder[:, :-2] == 0
    values = levels[word]
    return torch.where(child, steps * (values[:, :-1] - values[:, 1:]), float("inf"))
