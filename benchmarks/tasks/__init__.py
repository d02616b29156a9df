"""Real data sets, each with sets to tune on and sets that stay untouched until the end."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from rootspace.errors import InputError
from tasks.base import Task

#: The tasks there are: each a function of the same name in a module of the same name.
TASKS = ("characters", "words", "instances", "places", "emoji", "fashion")

#: Those that take a number of classes.
SIZED = ("characters", "words", "instances", "places")


def open_task(text: str) -> Task:
    """A task by name, with the number of classes after a colon where it takes one: "characters:3000"."""
    name, colon, classes = text.partition(":")
    if name not in TASKS:
        raise InputError(f"no task is called {name!r}; there are {', '.join(TASKS)}")
    if colon and (name not in SIZED or not classes.isdecimal()):
        raise InputError(f"task {text!r}: a number of classes goes with {', '.join(SIZED)}, as in {SIZED[0]}:3000")
    make: Callable[..., Task] = getattr(import_module(f"tasks.{name}"), name)
    return make(int(classes)) if colon else make()
