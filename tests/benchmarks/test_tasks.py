"""The list of tasks, and how one is named."""

import pytest

from rootspace.errors import InputError
from tasks import TASKS, open_task


@pytest.mark.parametrize("text", ["places:many", "characters:", "emoji:5", "fashion:5", "imagenet", ""])
def test_names_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="characters"):
        open_task(text)


def test_there_is_a_module_for_every_task():
    from importlib import import_module

    assert all(callable(getattr(import_module(f"tasks.{name}"), name)) for name in TASKS)
