"""One thin adapter for each library that stores and searches vectors, behind `Backend`."""

from __future__ import annotations

from importlib import import_module

from rootspace.errors import InputError
from rootspace.index.backends.base import Backend, Payload

__all__ = ["NAMES", "Backend", "Payload", "backend"]

#: Name -> class, in the module of that name; imported when asked for.
NAMES = {"faiss": "Faiss", "usearch": "USearch", "lancedb": "LanceDB", "qdrant": "Qdrant", "system": "System"}


def backend(name: str, dtype: str | None = None) -> type[Backend]:
    """The adapter of a name; `InputError` for another name, or a dtype in which it cannot store.

    >>> backend("system", "int8").name
    'system'
    >>> backend("system", "binary")
    Traceback (most recent call last):
    rootspace.errors.InputError: dtype: system stores float32, float16, int8, graded, got 'binary'
    """
    if name not in NAMES:
        raise InputError(f"backend: expected one of {', '.join(NAMES)}, got {name!r}")
    kind: type[Backend] = getattr(import_module(f"rootspace.index.backends.{name}"), NAMES[name])
    if dtype is not None and dtype not in kind.dtypes:
        raise InputError(f"dtype: {name} stores {', '.join(kind.dtypes)}, got {dtype!r}")
    return kind
