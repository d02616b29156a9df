"""Lists of characters to use as classes, derived from the national character sets that Python's codecs know."""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

from rootspace.errors import InputError

BASIC_HAN = range(0x4E00, 0xA000)
"""The block CJK Unified Ideographs, which holds no compatibility duplicates."""

_HAN_BLOCKS = (BASIC_HAN, range(0x3400, 0x4DC0), range(0x20000, 0x2A6E0), range(0x2A700, 0x2EBE1))
# compatibility blocks repeat shapes that have a code point of their own elsewhere: two classes, one picture
_COMPATIBILITY = (range(0xF900, 0xFB00), range(0x2F800, 0x2FA20), range(0x2E80, 0x2FE0), range(0x3300, 0x3400))

# (codec, first row, last row): the everyday part of the Chinese, Japanese, Taiwanese and Korean standards
_EVERYDAY = (("gb2312", 0xB0, 0xD7), ("euc_jp", 0xB0, 0xCF), ("big5", 0xA4, 0xC6), ("euc_kr", 0xCA, 0xFD))


@lru_cache(maxsize=1)
def _ordered_han() -> tuple[str, ...]:
    votes: dict[str, int] = {}
    for codec, first, last in _EVERYDAY:
        for character in _rows(codec, first, last):
            votes[character] = votes.get(character, 0) + 1
    everything = [chr(code) for code in BASIC_HAN if unicodedata.category(chr(code)) == "Lo"]
    return tuple(sorted(everything, key=lambda c: (-votes.get(c, 0), _lot(c))))


def common_han(n: int | None = None) -> list[str]:
    """The n most widely used Han characters: first those everyday in four national standards, then in three, ...

    The standards are GB 2312 level 1, JIS X 0208 level 1, Big5 level 1 and the hanja of KS X 1001; within one
    count of standards the order is a fixed pseudo-random one, so that any prefix mixes all radicals. None
    gives the whole block of about 20,990. Shorter lists are prefixes of longer ones.

    >>> everyday = common_han(1000)
    >>> len(everyday), len(set(everyday)), everyday == common_han(2000)[:1000]
    (1000, 1000, True)
    >>> "人" in everyday or "人" in common_han(2000)
    True
    """
    characters = _ordered_han()
    if n is None:
        return list(characters)
    if not 1 <= n <= len(characters):
        raise InputError(f"the number of Han characters must lie between 1 and {len(characters):,}, got {n}")
    return list(characters[:n])


def hangul(n: int | None = None) -> list[str]:
    """The n first of the 11,172 Hangul syllables in a fixed pseudo-random order, so that prefixes are nested.

    >>> len(hangul()), len(hangul(500))
    (11172, 500)
    """
    characters = sorted(map(chr, range(0xAC00, 0xD7A4)), key=_lot)
    if n is not None and not 1 <= n <= len(characters):
        raise InputError(f"the number of Hangul syllables must lie between 1 and {len(characters):,}, got {n}")
    return characters[:n]


def latin() -> list[str]:
    """The letters and digits of ASCII.

    >>> "".join(latin())
    '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
    """
    return [c for c in map(chr, range(0x30, 0x7B)) if c.isalnum()]


def is_compatibility(character: str) -> bool:
    """Whether the character repeats the shape of another one, so that it cannot be a class of its own.

    >>> is_compatibility(chr(0xF900)), is_compatibility(chr(0x8C48))
    (True, False)
    """
    return any(ord(character) in block for block in _COMPATIBILITY)


def is_han(character: str) -> bool:
    """Whether the character is a unified Han ideograph.

    >>> is_han("山"), is_han("A")
    (True, False)
    """
    return any(ord(character) in block for block in _HAN_BLOCKS)


def check_characters(characters: list[str]) -> None:
    """Raise `InputError` unless these are different single characters that can be classes."""
    seen: set[str] = set()
    for character in characters:
        if not isinstance(character, str) or len(character) != 1:
            raise InputError(f"characters must be single characters, got {character!r}")
        if character in seen:
            raise InputError(f"the character {character!r} stands twice in the list")
        seen.add(character)
    if not characters:
        raise InputError("expected at least one character, got none")


def _rows(codec: str, first: int, last: int) -> list[str]:
    found = []
    for high in range(first, last + 1):
        for low in range(0x40, 0xFF):
            try:
                character = bytes((high, low)).decode(codec)
            except UnicodeDecodeError:
                continue
            if len(character) == 1 and is_han(character):
                found.append(character)
    return found


def _lot(character: str) -> bytes:
    return hashlib.sha256(character.encode()).digest()
