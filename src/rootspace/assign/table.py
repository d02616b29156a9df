"""An assignment stored as a compact table: a code of a few bits for each coordinate of each class's vector."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from rootspace.assign.base import Assignment, check_room
from rootspace.assign.codes import bits_of, decode, encode, pack, stored_as_index, unpack
from rootspace.assign.free import keys_of, nearest_free, starts
from rootspace.errors import InputError
from rootspace.systems import VectorSystem


class TableAssignment(Assignment):
    """Class c has the vector given in row c.

    In memory a vector takes one byte a coordinate; in a file as few bits as name its values (2 for systems of
    1, 0 and -1). Systems whose coordinates take more than 256 values are stored as indices instead.

    Between `release` and `settle` the classes' vectors may be any directions, one float32 row a class, that
    training moves (`rootspace.train.follow`); `settle` gives each class a vector of the system again.

    Raises `InputError` unless the rows are different vectors of the system.
    """

    codes: Tensor
    letters: Tensor

    def __init__(self, system: VectorSystem, vectors: Tensor) -> None:
        check_room(system, len(vectors))  # before "the same vector", which is what that leads to
        self._hold(system, _checked_codes(system, vectors))

    def _hold(self, system: VectorSystem, codes: Tensor) -> None:
        super().__init__(system, len(codes))
        self.released: Tensor | None = None
        self.register_buffer("letters", letters_of(system), persistent=False)
        self.register_buffer("codes", codes)

    @classmethod
    def _known(cls, system: VectorSystem, codes: Tensor) -> TableAssignment:
        """A table of codes that are known to be those of different vectors of the system."""
        table = cls.__new__(cls)
        table._hold(system, codes)
        return table

    def replace(self, vectors: Tensor) -> None:
        """Give every class a new vector, in place: (n_classes, n)."""
        if len(vectors) != self.n_classes:
            raise InputError(f"expected vectors for {self.n_classes} classes, got {len(vectors)}")
        self.codes.copy_(_checked_codes(self.system, vectors))

    @classmethod
    def of(cls, assignment: Assignment) -> TableAssignment:
        """The vectors of any assignment as a table, (n_classes, n) of them; a table is given back as it is."""
        if isinstance(assignment, cls):
            return assignment
        return cls(assignment.system, assignment.vectors(torch.arange(assignment.n_classes)))

    def grown(self, directions: Tensor) -> TableAssignment:
        """The same table with a class more for each direction (N, n), which gets a vector near it that no class has.

        Old classes keep their vectors. `nearest_free` says how near the new ones are. Raises `InputError` where the
        system has no room for them, and for directions of another shape or with NaN.
        """
        if directions.ndim != 2 or directions.shape[1] != self.system.dim or not bool(directions.isfinite().all()):
            raise InputError(
                f"directions of new classes should be finite and of shape (N, {self.system.dim}), "
                f"got {tuple(directions.shape)}"
            )
        old = self._settled_vectors()
        new = nearest_free(self.system, directions.float().to(old.device), taken=old)
        # free ones: only they are new, and looking through all that is old would take seconds a million
        return TableAssignment._known(self.system, torch.cat([self.codes, encode(self.system, new)]))

    def padded(self, system: VectorSystem) -> TableAssignment:
        """The same vectors, followed by zeros, in a system of more coordinates that holds them.

        Raises `InputError` unless every one of them, so padded, is a vector of `system`.
        """
        spare = system.dim - self.system.dim
        if spare < 1:
            raise InputError(f"{system.spec} has {system.dim} coordinates, expected more than {self.system.dim}")
        vectors = torch.nn.functional.pad(self._settled_vectors(), (0, spare))
        word = [*_word(self.system, vectors[0, : self.system.dim]), *[Fraction(0)] * spare]
        # the norm and one vector in exact numbers; that the others are members too, tensors can tell
        exactly = system.squared_norm == self.system.squared_norm and _is_member(system, word)
        if not (exactly and bool(system.contains(vectors).all())):
            raise InputError(
                f"vectors of {self.system.spec} with {spare} zeros more are not vectors of {system.spec}; "
                f"take embedded({self.system.spec}, {system.dim}), or a larger member of a family whose vectors keep "
                "their number of nonzeros, as V22:41 is to V22:50"
            )
        return TableAssignment(system, vectors)

    def _settled_vectors(self) -> Tensor:
        if self.released is not None:
            raise RuntimeError("the classes' vectors are still moving: call settle() first")
        return decode(self.system, self.codes, self.letters)

    def release(self) -> Tensor:
        """Let the classes' vectors move: their unit directions, float32 (n_classes, n), to be changed in place.

        Until `settle`, `vectors` and `nearest` answer with these directions, at the system's norm.
        """
        if self.released is None:
            self.released = decode(self.system, self.codes, self.letters) / self.system.norm
        return self.released

    def settle(self) -> None:
        """Give each class a free vector of the system near its direction, and drop the directions."""
        if self.released is not None:
            directions, self.released = self.released, None
            self.replace(nearest_free(self.system, directions))

    def _vectors(self, labels: Tensor) -> Tensor:
        if self.released is not None:
            return self.released[labels] * self.system.norm
        return decode(self.system, self.codes[labels], self.letters)

    def save(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        if self.released is not None:
            raise RuntimeError("the classes' vectors are still moving: call settle() before saving them")
        config = {"kind": "table", "system": self.system.spec, "n_classes": self.n_classes}
        codes = self.codes.cpu()
        return config, {"codes": codes if codes.ndim == 1 else pack(codes, bits_of(self.system))}

    @classmethod
    def from_saved(cls, system: VectorSystem, n_classes: int, packed: Tensor) -> TableAssignment:
        """Rebuild from what `save` gave; raises `InputError` if it does not describe vectors of the system."""
        letters = letters_of(system)
        if stored_as_index(system):
            if packed.shape != (n_classes,) or bool(((packed < 0) | (packed >= system.size)).any()):
                raise InputError("the assignment table holds indices out of range")
            return cls(system, decode(system, packed, letters))
        width = -(-system.dim * bits_of(system) // 8)
        if packed.dtype != torch.uint8 or packed.shape != (n_classes, width):
            raise InputError(
                f"the assignment table should have shape ({n_classes}, {width}) and dtype uint8, "
                f"got {tuple(packed.shape)} and {packed.dtype}"
            )
        codes = unpack(packed, bits_of(system), system.dim)
        if bool((codes >= len(letters)).any()):
            raise InputError(f"the assignment table holds codes that {system.spec} does not have")
        return cls(system, decode(system, codes, letters))


def letters_of(system: VectorSystem) -> Tensor:
    """The values that codes stand for."""
    return torch.tensor([float(value) for value in system.alphabet])


def _checked_codes(system: VectorSystem, vectors: Tensor) -> Tensor:
    """The codes of different vectors of a system; `InputError` where they are not that."""
    if vectors.ndim != 2 or vectors.shape[1] != system.dim:
        raise InputError(f"class vectors have shape (n_classes, {system.dim}), got {tuple(vectors.shape)}")
    if not bool(system.contains(vectors).all()):
        raise InputError(f"some class vectors are not in {system.spec}")
    codes = encode(system, vectors)
    # equal numbers are seldom those of different vectors: then all are compared
    if not bool(starts(keys_of(codes).sort().values).all()) and len(torch.unique(codes, dim=0)) < len(codes):
        raise InputError("two classes have the same vector")
    return codes


def _word(system: VectorSystem, vector: Tensor) -> list[Fraction]:
    """The coordinates (n,) of a vector of the system as exact numbers."""
    letters = sorted(system.alphabet)
    ascending = torch.tensor([float(value) for value in letters], device=vector.device)
    places = torch.bucketize(vector, (ascending[1:] + ascending[:-1]) / 2)
    return [letters[place] for place in places.tolist()]


def _is_member(system: VectorSystem, word: list[Fraction]) -> bool:
    """Whether exact coordinates are those of a vector of the system."""
    try:
        system.rank_exact(word)
    except ValueError:
        return False
    return True
