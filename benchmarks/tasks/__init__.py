"""Real data sets, each with sets to tune on and sets that stay untouched until the end."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from rootspace.errors import InputError
from tasks.base import Task

#: The tasks there are: each a function of the same name in a module of the same name.
TASKS = ("characters", "places", "emoji", "fashion")


def open_task(text: str) -> Task:
    """A task by name, with the number of classes after a colon where it takes one: "characters:3000"."""
    name, _, classes = text.partition(":")
    if name not in TASKS:
        raise InputError(f"no task is called {name!r}; there are {', '.join(TASKS)}")
    make: Callable[..., Task] = getattr(import_module(f"tasks.{name}"), name)
    return make(int(classes)) if classes else make()
