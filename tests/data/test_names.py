"""Lazy names behave like the tuple of the same texts."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootspace.data import ImageSet, Numbered, with_label_names
from rootspace.data.names import NameTable, check_distinct
from rootspace.errors import InputError


@given(st.lists(st.text()), st.slices(12))
def test_a_table_is_the_tuple_of_its_names(names: list[str], part: slice) -> None:
    table = NameTable.of(names)
    assert tuple(table) == tuple(names)
    assert [table[number] for number in range(-len(names), len(names))] == names + names
    assert table[part] == tuple(names[part])
    assert table == tuple(names)
    assert tuple(names) == table
    assert pickle.loads(pickle.dumps(table)) == names
    assert table != [*names, "more"]
    with pytest.raises(IndexError):
        _ = table[len(names)]


def test_other_bytes_survive() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert NameTable.of([name])[0] == name


def test_long_tables_are_read_piece_by_piece() -> None:
    names = [f"班级 {number}" for number in range(10_000)]
    assert list(NameTable.of(names)) == names


def test_numbered_names_hold_nothing() -> None:
    names = Numbered("image", 10**9)
    assert sys.getsizeof(names) < 100
    assert len(pickle.dumps(names)) < 200
    assert names[10**9 - 1] == "image 999999999"
    assert names == Numbered("image", 10**9)
    assert names != Numbered("view", 10**9)
    assert Numbered("image", 2) == ("image 0", "image 1")
    check_distinct(names, "label")  # at once


@pytest.mark.parametrize("names", [["a", "b", "a"], NameTable.of(["a", "b", "a"])])
def test_names_that_repeat_are_refused(names: Sequence[str]) -> None:
    with pytest.raises(InputError, match="label name 'a' stands twice"):
        ImageSet.from_arrays(np.zeros((2, 4, 4), np.uint8), np.array([0, 1]), names)


def test_a_set_takes_lazy_names_as_they_are() -> None:
    names = Numbered("image", 50_000_000)
    data = ImageSet.from_arrays(np.zeros((2, 4, 4), np.uint8), np.array([0, 49_999_999]), names)
    assert data.label_names is names
    assert with_label_names(data, Numbered("image", 50_000_000)) is data
