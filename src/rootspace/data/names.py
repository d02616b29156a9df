"""Names of many classes: sequences of texts that hold no Python string for each of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np

from rootspace.errors import InputError

_SOME = 4096  # names decoded at once


class LazyNames(Sequence[str]):
    """Texts made when they are asked for; equal to any sequence of the same texts."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return self is other or (len(self) == len(other) and all(map(str.__eq__, self, map(str, other))))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = [*map(repr, islice(self, 6)), *(["..."] if len(self) > 6 else [])]
        return f"{type(self).__name__}({len(self):,}: {', '.join(shown)})"

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[str, ...]: ...
    def __getitem__(self, key: Any) -> str | tuple[str, ...]:
        if isinstance(key, slice):
            return tuple(self._name(number) for number in range(len(self))[key])
        return self._name(range(len(self))[key])

    def _name(self, number: int) -> str:
        raise NotImplementedError


class Numbered(LazyNames):
    """The names "stem 0", "stem 1", ... of n classes.

    >>> names = Numbered("image", 1_300_000)
    >>> len(names), names[-1], names[:2]
    (1300000, 'image 1299999', ('image 0', 'image 1'))
    """

    def __init__(self, stem: str, n: int) -> None:
        self.stem, self.n = stem, n

    def __len__(self) -> int:
        return self.n

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Numbered):
            return (self.stem, self.n) == (other.stem, other.n)
        return super().__eq__(other)

    __hash__ = None

    def _name(self, number: int) -> str:
        return f"{self.stem} {number}"


class NameTable(LazyNames):
    """Names kept as one block of UTF-8 `text` (m,) uint8 with the `ends` (n,) int64 of each; may be memory-mapped.

    >>> NameTable.of(["ash", "Ölbaum"])[1]
    'Ölbaum'
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray) -> None:
        self.text, self.ends = text, ends

    @classmethod
    def of(cls, names: Sequence[str]) -> NameTable:
        """The table of the names."""
        # a lone surrogate, from a file name of other bytes, must survive
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _SOME):
            yield from self._names(start, min(start + _SOME, len(self)))

    def _name(self, number: int) -> str:
        return self._names(number, number + 1)[0]

    def _names(self, start: int, stop: int) -> list[str]:
        first = int(self.ends[start - 1]) if start else 0
        ends = [0, *(self.ends[start:stop] - first).tolist()]
        text = self.text[first : first + ends[-1]].tobytes()
        return [text[ends[i] : ends[i + 1]].decode("utf-8", "surrogatepass") for i in range(stop - start)]


def as_names(names: Sequence[str]) -> Sequence[str]:
    """Lazy names as they are, anything else as a tuple of strings."""
    return names if isinstance(names, LazyNames) else tuple(map(str, names))


def normal(name: str) -> str:
    """The name of a class in Unicode's normal form C, so that names that look the same are the same.

    >>> normal("caf\\u0065\\u0301") == "caf\\u00e9"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def normal_names(names: Sequence[str], where: str) -> list[str]:
    """The names in normal form; two that become one are an `InputError`."""
    seen: dict[str, str] = {}
    for name in names:
        if seen.setdefault(normal(name), name) != name:
            raise one_name(where, seen[normal(name)], name)
    return [normal(name) for name in names]


def one_name(where: str, one: str, other: str) -> InputError:
    """What to raise where two labels differ in nothing but the way their letters are composed."""
    return InputError(
        f"{where}: the labels {one!a} and {other!a} look the same and become one name ({normal(one)!r}, "
        "Unicode NFC); rename one, or bring all to NFC"
    )


def check_distinct(names: Sequence[str], what: str) -> None:
    """Raise `InputError` naming the first name that stands twice; numbered names cannot."""
    if isinstance(names, Numbered):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"the {what} name {name!r} stands twice; names must differ")
        seen.add(name)
