"""A keyed pseudo-random bijection of [0, size): which vector a class gets, in O(1) memory at any size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Any, TypeVar

import torch
from torch import Tensor

_MASK = 2**32 - 1
_ROUNDS = 8

#: Up to this many points outside the range the longest walk is found by following all of them.
_MAX_FOLLOWED = 2**22

#: Up to so many indices on a CPU, Python integers are faster than some hundred tensor operations.
_FEW = 8

#: The network is of integer operations that Python's numbers and tensors share.
_Index = TypeVar("_Index", int, Tensor)


@dataclass(frozen=True)
class KeyedShuffle:
    """A bijection of [0, size) chosen by a key; int64 tensors up to size 2^63 - 1, Python integers beyond.

    A Feistel network (Luby & Rackoff 1988) on pairs (l, r) of Z_a x Z_b with a, b about sqrt(size) and
    a b >= size, made to stay in range by cycle walking (Black & Rogaway 2002). Not a cipher: the key separates
    experiments, it keeps no secrets.

    >>> shuffle = KeyedShuffle(size=10, key=1)
    >>> sorted(shuffle(torch.arange(10)).tolist()) == list(range(10))
    True
    >>> bool((shuffle.inverse(shuffle(torch.arange(10))) == torch.arange(10)).all())
    True
    """

    size: int
    key: int = 0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a shuffle needs a size of at least 1, got {self.size}")

    def __call__(self, index: Tensor) -> Tensor:
        """Shuffle: int64 (...) in [0, size) -> int64 (...) in [0, size)."""
        return self._walk(index, self._forward)

    def inverse(self, index: Tensor) -> Tensor:
        """Undo the shuffle: int64 (...) -> int64 (...)."""
        return self._walk(index, self._backward)

    def exact(self, index: int) -> int:
        """Shuffle one Python integer, at any size; agrees with the tensors where both are possible."""
        return self._walk_exact(index, self._forward if self._fits else self._forward_exact)

    def exact_inverse(self, index: int) -> int:
        """Undo `exact`."""
        return self._walk_exact(index, self._backward if self._fits else self._backward_exact)

    # ------------------------------------------------------------------ the network

    @property
    def _fits(self) -> bool:
        return self._a * self._b <= 2**63 - 1

    @cached_property
    def _a(self) -> int:
        return isqrt(self.size - 1) + 1

    @cached_property
    def _b(self) -> int:
        return -(-self.size // self._a)

    @cached_property
    def _keys(self) -> tuple[int, ...]:
        seed = f"rootspace shuffle 1, size {self.size}, key {self.key}, round "
        return tuple(int.from_bytes(hashlib.sha256(f"{seed}{i}".encode()).digest()[:4], "big") for i in range(_ROUNDS))

    def _forward(self, index: _Index) -> _Index:
        left, right = index // self._b, index % self._b
        for i, key in enumerate(self._keys):
            if i % 2 == 0:
                left = (left + _mix(right, key)) % self._a
            else:
                right = (right + _mix(left, key)) % self._b
        return left * self._b + right

    def _backward(self, index: _Index) -> _Index:
        left, right = index // self._b, index % self._b
        for i, key in reversed(tuple(enumerate(self._keys))):
            if i % 2 == 0:
                left = (left - _mix(right, key)) % self._a
            else:
                right = (right - _mix(left, key)) % self._b
        return left * self._b + right

    @cached_property
    def _longest_walk(self) -> int | None:
        """The most steps any index needs to come back into range, or None if there are too many to follow.

        Knowing it, the walk needs no look at the values, for which an accelerator would have to wait.
        """
        outside = self._a * self._b - self.size
        if outside > _MAX_FOLLOWED:
            return None
        points = torch.arange(self.size, self._a * self._b)
        points = points[self._backward(points) < self.size]  # those entered from inside
        steps = 0
        while len(points):
            points = self._forward(points)
            points = points[points >= self.size]
            steps += 1
        return steps

    def _walk(self, index: Tensor, step: Callable[[Any], Any]) -> Tensor:
        if not self._fits:
            raise OverflowError(f"a shuffle of size {self.size} needs Python integers: use exact and exact_inverse")
        if index.device.type == "cpu" and index.numel() <= _FEW and not torch.compiler.is_compiling():
            walked = [self._walk_exact(one, step) for one in index.reshape(-1).tolist()]
            return torch.tensor(walked, dtype=torch.int64).reshape(index.shape)
        index = step(index)
        longest = self._longest_walk
        if longest is not None:
            for _ in range(longest):
                index = torch.where(index >= self.size, step(index), index)
            return index
        while bool((index >= self.size).any()):
            index = torch.where(index >= self.size, step(index), index)
        return index

    def _walk_exact(self, index: int, step: Callable[[Any], Any]) -> int:
        index = step(index)
        while index >= self.size:
            index = step(index)
        return index

    def _forward_exact(self, index: int) -> int:
        left, right = divmod(index, self._b)
        for i, key in enumerate(self._keys):
            if i % 2 == 0:
                left = (left + _mix_exact(right, key, self._a)) % self._a
            else:
                right = (right + _mix_exact(left, key, self._b)) % self._b
        return left * self._b + right

    def _backward_exact(self, index: int) -> int:
        left, right = divmod(index, self._b)
        for i, key in reversed(tuple(enumerate(self._keys))):
            if i % 2 == 0:
                left = (left - _mix_exact(right, key, self._a)) % self._a
            else:
                right = (right - _mix_exact(left, key, self._b)) % self._b
        return left * self._b + right


def _mix(x: _Index, key: int) -> _Index:
    """Scatter numbers below 2^32 over [0, 2^32): multiply and fold, twice, without leaving int64."""
    x = (x ^ key) & _MASK
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & _MASK
    x = ((x ^ (x >> 15)) * 0x2C1B3C6D) & _MASK
    return x ^ (x >> 16)


def _mix_exact(x: int, key: int, bound: int) -> int:
    width = bound.bit_length() // 8 + 9
    data = f"{key}:{x}".encode()
    digest = b"".join(hashlib.sha256(data + bytes([block])).digest() for block in range(width // 32 + 1))
    return int.from_bytes(digest[:width], "big") % bound
