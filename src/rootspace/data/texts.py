"""One text: brought to the cell of bytes or token numbers that a model takes, and read back from it."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rootspace.data.fields import shown
from rootspace.errors import InputError, require

TOKENIZER = "tokenizer.json"
"""What a tokenizer is called in a folder: a store's, a model's, or one of Hugging Face."""

HIDDEN = 0xFF
"""Fills a byte or token that is hidden: 0xFF, which UTF-8 never uses, or 0xFFFFFF, which is no token."""

_LONGEST = 65536
_MOST_TOKENS = (1 << 24) - 2  # 0 is padding, the last one a hidden token


@dataclass(frozen=True)
class TextPreprocessing:
    """How a text becomes a uint8 cell; stored with data and model, so both agree.

    Without a tokenizer: its UTF-8 bytes after NFC, cut to `length` at a character's border and padded with 0,
    (1, length, 1). `tokenizer` is a tokenizer.json of the package `tokenizers` (the file, its folder, or its JSON):
    then token numbers + 1, cut as the tokenizer does it and padded with 0, (1, length, 3), the lowest byte first.

    >>> prepare = TextPreprocessing(length=8)
    >>> prepare.apply("Ölbaum")[0, :, 0].tolist()
    [195, 150, 108, 98, 97, 117, 109, 0]
    >>> prepare.texts(prepare.cells(["Ölbaum", "Walnussbäume"]))
    ['Ölbaum', 'Walnussb']
    >>> TextPreprocessing.from_dict(prepare.to_dict()) == prepare
    True
    """

    length: int = 64
    tokenizer: str | Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.length, int) or isinstance(self.length, bool) or not 1 <= self.length <= _LONGEST:
            raise InputError(f"preprocessing: length must be an integer from 1 to {_LONGEST}, got {self.length!r}")
        if self.tokenizer is not None:
            object.__setattr__(self, "tokenizer", _json_of(self.tokenizer))
            if self.vocabulary > _MOST_TOKENS:
                raise InputError(f"tokenizer: has {self.vocabulary:,} tokens, expected at most {_MOST_TOKENS:,}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(1, length, channels) of a cell."""
        return 1, self.length, 1 if self.tokenizer is None else 3

    @property
    def vocabulary(self) -> int:
        """How many different tokens there are; 256 bytes without a tokenizer."""
        return 256 if self.tokenizer is None else int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def apply(self, text: str) -> np.ndarray:
        """The text as a (1, length, channels) uint8 array; what is no text, or none but spaces, is an `InputError`."""
        return self.cells([text])[0]

    def cells(self, texts: Sequence[str]) -> np.ndarray:
        """Several texts as (B, 1, length, channels) uint8; see `apply`."""
        for text in texts:
            if error := text_error(text):
                raise error
        if self.tokenizer is None:
            joined = b"".join(_cut(text, self.length).ljust(self.length, b"\0") for text in texts)
            return np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), *self.shape).copy()
        numbers = np.zeros((len(texts), self.length), dtype="<u4")
        for row, found in zip(numbers, self._tokenizer.encode_batch_fast(list(texts)), strict=True):
            row[: len(found.ids)] = np.asarray(found.ids, dtype=np.uint32) + 1
        parts = numbers.view(np.uint8).reshape(len(texts), 1, self.length, 4)
        return np.ascontiguousarray(parts[..., :3])

    def texts(self, cells: np.ndarray) -> list[str]:
        """What cells (B, 1, length, channels) say: the text as far as it was kept, in the tokenizer's spelling."""
        if self.tokenizer is None:
            return [bytes(row).rstrip(b"\0").decode("utf-8", "replace") for row in cells.reshape(len(cells), -1)]
        numbers = cells.reshape(len(cells), -1, 3).astype(np.int64) @ np.array([1, 1 << 8, 1 << 16])
        kept = [row[(row > 0) & (row <= _MOST_TOKENS)] - 1 for row in numbers]
        return list(self._tokenizer.decode_batch([row.tolist() for row in kept]))

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON object; of a tokenizer the SHA-256 of its JSON."""
        digest = None if self.tokenizer is None else hashlib.sha256(str(self.tokenizer).encode()).hexdigest()
        return {"kind": "text", "length": self.length, "tokenizer": digest}

    @classmethod
    def from_dict(cls, value: Any, tokenizer: str | None = None) -> TextPreprocessing:
        """The inverse of `to_dict`, with the tokenizer's JSON where there is one; anything else is an `InputError`."""
        if not isinstance(value, dict) or set(value) != {"kind", "length", "tokenizer"} or value["kind"] != "text":
            raise InputError(f"preprocessing: expected an object with kind 'text', length and tokenizer, got {value!r}")
        if (value["tokenizer"] is None) != (tokenizer is None):
            raise InputError(f"preprocessing: {TOKENIZER} and the tokenizer's digest belong together; one is missing")
        if tokenizer is not None and hashlib.sha256(tokenizer.encode()).hexdigest() != value["tokenizer"]:
            raise InputError(f"{TOKENIZER}: checksum mismatch, the file was altered or damaged")
        return cls(value["length"], tokenizer)

    @property
    def _tokenizer(self) -> Any:
        return _loaded(str(self.tokenizer), self.length)


def text_ids(cells: torch.Tensor) -> torch.Tensor:
    """Cells of texts (B, C, 1, L) in [-1, 1], as `to_tensor` gives them, back to (B, L) int64: 0 is padding.

    C = 1: bytes, 0xFF hidden. C = 3: token numbers + 1, 0xFFFFFF hidden. Needs float32: a bfloat16 has no 256 steps.

    >>> text_ids(torch.tensor([[[[195 / 127.5 - 1, -1.0]]]])).tolist()
    [[195, 0]]
    """
    parts = ((cells.float() + 1) * 127.5).round().long().flatten(2)
    ids = parts[:, 0]
    for channel in range(1, parts.shape[1]):
        ids = ids + (parts[:, channel] << (8 * channel))
    return ids


def text_error(text: Any) -> InputError | None:
    """Why a value is no text to learn from or to recognise; None where it is one."""
    if not isinstance(text, str):
        return InputError(f"expected a text (a string), got {shown(text)}")
    if not text.replace("\0", "").strip():
        return InputError(f"the text is empty ({text!r:.40})")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        return InputError(f"the text {text!r:.60} holds half a character (a lone surrogate), so it has no UTF-8")
    return None


def _cut(text: str, length: int) -> bytes:
    """The text's bytes, at most so many, no character in parts; without NUL, which is padding."""
    data = unicodedata.normalize("NFC", text).replace("\0", "").encode()
    return data if len(data) <= length else data[:length].decode("utf-8", "ignore").encode()


def _json_of(tokenizer: str | Path) -> str:
    """The JSON of a tokenizer: given itself, or as a file, or as the folder of one."""
    if isinstance(tokenizer, str) and tokenizer.lstrip().startswith("{"):
        return tokenizer
    path = Path(tokenizer) / TOKENIZER if Path(tokenizer).is_dir() else Path(tokenizer)
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{path}: cannot be read ({reason}); expected a {TOKENIZER}") from None


@lru_cache(maxsize=4)
def _loaded(text: str, length: int) -> Any:
    library = require("tokenizers", extra="hf")
    try:
        tokenizer = library.Tokenizer.from_str(text)
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=length)
    except Exception as error:  # the package raises plain Exception and ValueError
        raise InputError(f"tokenizer: not a {TOKENIZER} ({' '.join(str(error).split())[:120]})") from None
    return tokenizer
