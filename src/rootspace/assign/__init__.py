"""Which vector of a system each class has: a keyed shuffle, a hash of its name, or its likeness to other classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rootspace.assign.base import Assignment, check_room
from rootspace.assign.free import nearest_free
from rootspace.assign.names import by_name
from rootspace.assign.neighbours import cell_neighbours, exact_neighbours, neighbours
from rootspace.assign.shuffle import KeyedShuffle
from rootspace.assign.shuffled import ShuffledAssignment
from rootspace.assign.similarity import by_similarity, discriminant_axes, discriminants, whiten, whitening_axes
from rootspace.assign.table import TableAssignment
from rootspace.errors import InputError
from rootspace.systems import SpecError, Table, VectorSystem, parse

__all__ = [
    "Assignment",
    "KeyedShuffle",
    "ShuffledAssignment",
    "TableAssignment",
    "by_name",
    "by_similarity",
    "cell_neighbours",
    "check_room",
    "discriminant_axes",
    "discriminants",
    "exact_neighbours",
    "load",
    "nearest_free",
    "neighbours",
    "save",
    "shuffled",
    "whiten",
    "whitening_axes",
]

#: Raised whenever the same stored assignment would give other vectors.
FORMAT_VERSION = 1


def shuffled(system: VectorSystem, n_classes: int, key: int = 0) -> ShuffledAssignment:
    """The paper's random assignment (arXiv 2512.07509): class c has vector number shuffle(c).

    >>> from rootspace.systems import V
    >>> shuffled(V(41, 2, 2), 600_000, key=7).n_classes
    600000
    """
    return ShuffledAssignment(system, n_classes, key)


def save(assignment: Assignment) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `load` rebuilds an assignment from: JSON values, and tensors for a safetensors file."""
    config, tensors = assignment.save()
    if isinstance(assignment.system, Table):
        tensors["system"] = assignment.system.vectors
    return {"version": FORMAT_VERSION, **config}, tensors


def load(config: dict[str, Any], tensors: dict[str, Tensor]) -> Assignment:
    """Rebuild an assignment from what `save` gave; raises `InputError` where that is not sound."""
    try:
        version, kind, spec, n_classes = (config[name] for name in ("version", "kind", "system", "n_classes"))
    except (KeyError, TypeError):
        raise InputError("the assignment lacks one of version, kind, system, n_classes") from None
    if version != FORMAT_VERSION:
        raise InputError(f"the assignment has format version {version}; this rootspace reads {FORMAT_VERSION}")
    if not isinstance(n_classes, int) or isinstance(n_classes, bool):
        raise InputError(f"the assignment's n_classes should be an integer, got {n_classes!r}")
    system = _load_system(spec, tensors)
    if kind == "shuffled":
        key = config.get("key")
        if not isinstance(key, int):
            raise InputError("a shuffled assignment needs an integer key")
        return ShuffledAssignment(system, n_classes, key)
    if kind == "table":
        if "codes" not in tensors:
            raise InputError("the assignment's table is missing")
        return TableAssignment.from_saved(system, n_classes, tensors["codes"])
    raise InputError(f"the assignment is of an unknown kind, {kind!r}")


def _load_system(spec: Any, tensors: dict[str, Tensor]) -> VectorSystem:
    if "system" in tensors:
        table = Table(tensors["system"])
        if table.spec != spec:
            raise InputError(f"the stored vectors are not those of {spec}")
        return table
    try:
        return parse(str(spec))
    except SpecError as error:
        raise InputError(f"the assignment's system does not parse: {error}") from None
