"""Parts of lattice shells that are not orbits: signs on the supports of a code, and signs with one exception.

Both have few "words" with many vectors each. The best vector of every word, and the sum over every word's vectors,
have closed forms; so a search looks at all words first, and at single vectors only within the words that are near.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from rootspace.systems.classical.linear_code import LinearCode, sign_table
from rootspace.systems.classical.scored import by_rows, draw
from rootspace.systems.constants import kept_per_device

#: Inner products held at a time where nothing needs a gradient.
ELEMENTS = 2**24


class Shell(ABC):
    """Vectors numbered word * choices + choice, with the hooks of a `VectorSystem` on flat batches."""

    words: int
    choices: int

    @property
    def size(self) -> int:
        return self.words * self.choices

    @abstractmethod
    def _vector(self, word: Tensor, choice: Tensor, dtype: torch.dtype) -> Tensor:
        """(...), (...) -> (..., n)."""

    @abstractmethod
    def _parts(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The word and the choice of each vector, and anything for what is not a member: (B, n) -> (B,), (B,)."""

    @abstractmethod
    def _best(self, x: Tensor) -> Tensor:
        """The largest inner product within each word: (B, n) -> (B, words)."""

    @abstractmethod
    def _sums(self, z: Tensor) -> Tensor:
        """The log-partition of each word: (B, n) -> (B, words)."""

    @abstractmethod
    def _within(self, x: Tensor, word: Tensor) -> Tensor:
        """The inner products with all vectors of given words: (B, n), (B, k) -> (B, k, choices)."""

    def _unrank(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        return self._vector(index // self.choices, index % self.choices, dtype)

    def _rank(self, vectors: Tensor) -> Tensor:
        word, choice = self._parts(vectors)
        return word * self.choices + choice

    def _contains(self, vectors: Tensor) -> Tensor:
        word, choice = self._parts(vectors)
        return (self._vector(word, choice, vectors.dtype) == vectors).all(1)

    def _rows(self) -> int:
        return max(1, ELEMENTS // (16 * self.words))

    @torch.no_grad()
    def _nearest(self, x: Tensor) -> Tensor:
        if len(x) > self._rows():
            return torch.cat([self._nearest(part) for part in x.split(self._rows())])
        word = self._best(x).argmax(1)
        choice = self._within(x, word[:, None])[:, 0].argmax(1)
        return self._vector(word, choice, x.dtype)

    def _nearest_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        # each of the k words with the best vectors holds one as near as any vector of another word
        count = min(k, self.words)
        rows = max(1, ELEMENTS // max(16 * self.words, 8 * count * self.choices))
        if len(x) > rows:
            parts = [self._nearest_k(part, k) for part in x.split(rows)]
            return torch.cat([values for values, _ in parts]), torch.cat([vectors for _, vectors in parts])
        word = self._best(x).topk(count, dim=1).indices
        values, picked = self._within(x, word).flatten(1).topk(k, dim=1)
        word = word.gather(1, picked // self.choices)
        return values, self._vector(word, picked % self.choices, x.dtype)

    def _log_partition(self, z: Tensor) -> Tensor:
        return by_rows(lambda part: torch.logsumexp(self._sums(part), dim=1), self._rows(), z)

    def _log_partition_without(self, z: Tensor, excluded: Tensor) -> Tensor:
        def rest(part: Tensor, word: Tensor, choice: Tensor) -> Tensor:
            others = self._sums(part).scatter(1, word, float("-inf"))
            same = self._within(part, word)[:, 0].scatter(1, choice, float("-inf"))
            return torch.logsumexp(torch.cat([others, same], dim=1), dim=1)

        word, choice = self._parts(excluded)
        return by_rows(rest, self._rows(), z, word[:, None], choice[:, None])

    def _sample_vectors(self, z: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
        if not (len(z) and k):
            return z.new_empty(len(z), k, z.shape[1])
        rows = max(1, ELEMENTS // max(16 * self.words, 4 * k * self.choices))
        drawn = []
        for part in z.split(rows):
            word = draw(self._sums(part), k, generator)
            choice = draw(self._within(part, word).flatten(0, 1), 1, generator).reshape(word.shape)
            drawn.append(self._vector(word, choice, z.dtype))
        return torch.cat(drawn)


@dataclass(frozen=True)
class SignedSupports(Shell):
    """`value` or its opposite on the support of a word of the given weight, an even number of times the opposite.

    Words: the supports, in the code's order. Choices: the signs of all but the last coordinate of a support.
    """

    code: LinearCode
    weight: int
    value: float

    @property
    def words(self) -> int:  # type: ignore[override]
        return self.code.weight_enumerator()[self.weight]

    @property
    def choices(self) -> int:  # type: ignore[override]
        return 1 << (self.weight - 1)

    def _vector(self, word: Tensor, choice: Tensor, dtype: torch.dtype) -> Tensor:
        supports = _supports(word.device, self.code, self.weight)
        signs = self.value * _even_signs(word.device, self.weight, dtype)
        empty = torch.zeros(*word.shape, self.code.n, dtype=dtype, device=word.device)
        return empty.scatter(-1, supports[word], signs[choice])

    def _parts(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        used = (vectors != 0).float()
        supports = _supports(vectors.device, self.code, self.weight)
        indicator = torch.zeros(self.words, self.code.n, device=vectors.device).scatter(1, supports, 1.0)
        word = (used @ indicator.T).argmax(1)
        negative = vectors.gather(1, supports[word])[:, :-1] < 0
        places = torch.arange(self.weight - 2, -1, -1, device=vectors.device)
        return word, (negative.long() << places).sum(1)

    def _on_supports(self, x: Tensor) -> Tensor:
        return self.value * x[:, _supports(x.device, self.code, self.weight)]  # (B, words, weight)

    def _best(self, x: Tensor) -> Tensor:
        # the signs of x, and where their number is odd, the smallest coordinate gives way
        y = self._on_supports(x)
        odd = (y < 0).sum(2) % 2
        return y.abs().sum(2) - 2 * odd * y.abs().amin(2)

    def _sums(self, z: Tensor) -> Tensor:
        # sums over even and over odd signs, two groups of coordinates at a time; only positive terms
        y = self._on_supports(z)
        even, odd = y, -y
        while even.shape[2] > 1:
            if even.shape[2] % 2:
                even = torch.cat([even, torch.zeros_like(even[..., :1])], dim=2)
                odd = torch.cat([odd, torch.full_like(odd[..., :1], -1e30)], dim=2)
            e, f, g, h = even[..., 0::2], even[..., 1::2], odd[..., 0::2], odd[..., 1::2]
            even, odd = torch.logaddexp(e + f, g + h), torch.logaddexp(e + h, g + f)
        return even[..., 0]

    def _within(self, x: Tensor, word: Tensor) -> Tensor:
        supports = _supports(x.device, self.code, self.weight)[word]  # (B, k, weight)
        y = x[:, None].expand(-1, word.shape[1], -1).gather(2, supports)
        return self.value * (y @ _even_signs(x.device, self.weight, x.dtype).T)


@dataclass(frozen=True)
class SignsWithException(Shell):
    """The sign vectors of a self-dual code [2k, k], one coordinate of each multiplied by -3.

    Words: the words of the code. Choices: the coordinate. The code's first k and its last k coordinates must both
    be information bits (the Golay code's are).
    """

    code: LinearCode

    @property
    def words(self) -> int:  # type: ignore[override]
        return 1 << self.code.k

    @property
    def choices(self) -> int:  # type: ignore[override]
        return self.code.n

    def _vector(self, word: Tensor, choice: Tensor, dtype: torch.dtype) -> Tensor:
        signs = sign_table(word.device, self.code, dtype)[word]
        place = choice[..., None]
        return signs.scatter(-1, place, -3 * signs.gather(-1, place))

    def _parts(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        choice = vectors.abs().argmax(1)
        negative = (vectors < 0).long()
        place = choice[:, None]
        negative = negative.scatter(1, place, 1 - negative.gather(1, place))
        places = torch.arange(self.code.k - 1, -1, -1, device=vectors.device)
        return (negative[:, : self.code.k] << places).sum(1), choice

    def _best(self, x: Tensor) -> Tensor:
        # <x, v> = sum of s_i x_i less 4 s_j x_j: the smallest s_j x_j makes the exception
        return self._sum_over_signs(x) - 4 * self._over_signs(x, torch.minimum)

    def _sums(self, z: Tensor) -> Tensor:
        return self._sum_over_signs(z) + self._over_signs(-4 * z, torch.logaddexp)

    def _sum_over_signs(self, x: Tensor) -> Tensor:
        return x @ sign_table(x.device, self.code, x.dtype).T

    def _over_signs(self, x: Tensor, join) -> Tensor:  # type: ignore[no-untyped-def]
        """`join` over all coordinates of s_j x_j, for each word s: (B, n) -> (B, words).

        Made for all signs of the first half and all signs of the second, coordinate by coordinate; a word picks one
        of each.
        """
        k = self.code.k
        first, second = _all_signs(x[:, :k], join), _all_signs(x[:, k:], join)
        return join(first, second[:, _second_half(x.device, self.code)])

    def _within(self, x: Tensor, word: Tensor) -> Tensor:
        signed = sign_table(x.device, self.code, x.dtype)[word] * x[:, None]  # (B, k, n)
        return signed.sum(2, keepdim=True) - 4 * signed


def _all_signs(x: Tensor, join) -> Tensor:  # type: ignore[no-untyped-def]
    """`join` over the coordinates of s_i x_i for all signs s: (B, k) -> (B, 2^k), the first sign the highest bit."""
    found = torch.stack([x[:, 0], -x[:, 0]], dim=1)
    for i in range(1, x.shape[1]):
        pair = torch.stack([x[:, i], -x[:, i]], dim=1)
        found = join(found[:, :, None], pair[:, None]).flatten(1)
    return found


@kept_per_device
def _supports(code: LinearCode, weight: int) -> Tensor:
    """The coordinates of the words of a weight: int64 (words, weight), in the order of the words."""
    used = sign_table(torch.device("cpu"), code, torch.float32) < 0
    used = used[used.sum(1) == weight]
    return used.nonzero()[:, 1].reshape(-1, weight)


@kept_per_device
def _even_signs(weight: int, dtype: torch.dtype) -> Tensor:
    """Signs with an even number of -1: (2^(weight - 1), weight), numbered by all but the last."""
    number = torch.arange(1 << (weight - 1))
    bits = number[:, None] >> torch.arange(weight - 2, -1, -1) & 1
    return (1 - 2 * torch.cat([bits, bits.sum(1, keepdim=True) % 2], dim=1)).to(dtype)


@kept_per_device
def _second_half(code: LinearCode) -> Tensor:
    """The bits of each word on the last k coordinates, as a number: int64 (2^k,)."""
    bits = (sign_table(torch.device("cpu"), code, torch.float32)[:, code.n - code.k :] < 0).long()
    return (bits << torch.arange(code.k - 1, -1, -1)).sum(1)
