"""The few words of an orbit among which the k nearest to any embedding are, whatever the embedding.

An embedding is first brought to a standard form by the orbit's own group: coordinates in descending order, and for
signed orbits made positive. On standard embeddings, words are partly ordered once and for all: w dominates v if
<x, w> >= <x, v> for every standard x. That is so if the inequality holds for the group's fundamental weights, which
span the standard embeddings (Humphreys, *Reflection Groups and Coxeter Groups*, 1.12); for permutations these are
(1, .., 1, 0, .., 0), so that dominance is that of prefix sums.

A word that k others dominate can be left out: those others are at least as near. What remains does not depend on the
embedding nor, but for a logarithm or so, on the size of the system: 68 words of 607,620 for the 13 nearest in V22:41.
So a graph needs no search and no loop: it sorts, multiplies by a small constant matrix, and takes the largest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import lcm

import numpy as np

from rootspace.systems.orbits.orbit import Orbit
from rootspace.systems.orbits.signed import EvenSignedOrbit, SignedOrbit

#: More words than this are not worth a matrix in a graph.
MOST_WORDS = 4096


def nearest_words(orbit: Orbit, k: int) -> np.ndarray | None:
    """Words among which the k nearest to every standard embedding are: float64 (m, n), the nearest one first.

    None where there are more than `MOST_WORDS`, or coordinates too large for exact comparison.

    >>> from rootspace.systems import V
    >>> nearest_words(V(5, 1, 1), 3)
    array([[ 1.,  0.,  0.,  0., -1.],
           [ 0.,  1.,  0.,  0., -1.],
           [ 1.,  0.,  0., -1.,  0.],
           [ 0.,  0.,  1.,  0., -1.],
           [ 1.,  0., -1.,  0.,  0.]])
    """
    unit = lcm(*(value.denominator for value, _ in orbit.levels))
    top = [int(value * unit) for value, count in orbit.levels for _ in range(count)]
    if sum(map(abs, top)) * len(top) >= 2**62:
        return None
    kept: list[np.ndarray] = []
    heights = np.empty((0, len(top)), dtype=np.int64)
    # by falling sum of the weights' inner products: whatever dominates a word comes before it
    queue, seen = [(0, tuple(top))], {tuple(top)}
    while queue:
        _, word = heapq.heappop(queue)
        row = np.array(word, dtype=np.int64)
        height = _along_weights(orbit, row)
        # the first k of those that dominate it are kept themselves, so it is enough to count among these
        if int((heights >= height).all(axis=1).sum()) >= k:
            continue
        if len(kept) == MOST_WORDS:
            return None
        kept.append(row)
        heights = np.concatenate([heights, height[None]])
        for child in _reflections(orbit, word):
            if child not in seen:
                seen.add(child)
                heapq.heappush(queue, (-int(_along_weights(orbit, np.array(child, dtype=np.int64)).sum()), child))
    return np.stack(kept) / unit


def _along_weights(orbit: Orbit, word: np.ndarray) -> np.ndarray:
    """The inner products with the fundamental weights, up to factors: int64 (n,)."""
    sums = word.cumsum()
    if isinstance(orbit, EvenSignedOrbit):
        sums[-2] -= word[-1]  # the two spin weights, (1, .., 1, -1) and (1, .., 1)
    return sums


def _reflections(orbit: Orbit, word: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The words that a simple reflection makes of a word, and that it dominates."""
    for i in range(len(word) - 1):
        if word[i] > word[i + 1]:
            yield (*word[:i], word[i + 1], word[i], *word[i + 2 :])
    if isinstance(orbit, EvenSignedOrbit):
        if word[-2] + word[-1] > 0:
            yield (*word[:-2], -word[-1], -word[-2])
    elif isinstance(orbit, SignedOrbit) and word[-1] > 0:
        yield (*word[:-1], -word[-1])
