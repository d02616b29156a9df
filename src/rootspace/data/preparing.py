"""Either kind of preprocessing, of pictures or of texts, in the folder of a store or of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rootspace.data.images import Preprocessing
from rootspace.data.texts import TOKENIZER, TextPreprocessing
from rootspace.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

AnyPreprocessing = Preprocessing | TextPreprocessing
"""How new data become a cell like those that a model was trained on."""


def is_text(preprocessing: AnyPreprocessing) -> TypeIs[TextPreprocessing]:
    """Whether what it prepares are texts."""
    return isinstance(preprocessing, TextPreprocessing)


def read_preprocessing(value: Any, folder: Path) -> AnyPreprocessing:
    """The preprocessing that `write_preprocessing` described as `value` in `folder`; else `InputError`."""
    if not isinstance(value, dict) or "kind" not in value:  # that of pictures has none: it is older
        return Preprocessing.from_dict(value)
    tokenizer = None
    if value.get("tokenizer") is not None:
        try:
            tokenizer = (folder / TOKENIZER).read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{TOKENIZER}: missing or damaged; it belongs to the preprocessing") from None
    return TextPreprocessing.from_dict(value, tokenizer)


def write_preprocessing(preprocessing: AnyPreprocessing, folder: Path) -> dict[str, Any]:
    """Its description as JSON; a tokenizer is written beside it, into `folder`."""
    if isinstance(preprocessing, TextPreprocessing) and preprocessing.tokenizer is not None:
        (folder / TOKENIZER).write_bytes(str(preprocessing.tokenizer).encode())
    return preprocessing.to_dict()


def check_kind(preprocessing: AnyPreprocessing, texts: bool, where: str) -> None:
    """Raise `InputError` where data that are (or are not) texts would be prepared as the other kind."""
    if is_text(preprocessing) != texts:
        kinds = ("pictures", "texts")
        raise InputError(f"{where}: holds {kinds[texts]}, but is to be prepared as {kinds[not texts]} are")
