"""Docstrings as the site shows them."""

from __future__ import annotations

from typing import Any

import griffe


class FencedDoctests(griffe.Extension):
    """Put the doctests of docstrings into code blocks, where Markdown would take `>>>` for quotations.

    A function of a package with the name of one of its modules, such as `rootspace.assign.shuffled`, is seen as a
    member of that module: by its own path griffe would find the module alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._functions: list[griffe.Function] = []

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if isinstance(obj, griffe.Function) and obj.parent is not None and obj.parent.is_init_module:
            self._functions.append(obj)
        if obj.docstring is None:
            return
        lines: list[str] = []
        inside = False
        for line in [*obj.docstring.value.splitlines(), ""]:
            if not inside and line.startswith(">>>"):
                lines.append("```pycon")
                inside = True
            elif inside and not line.strip():
                lines.append("```")
                inside = False
            lines.append(line)
        obj.docstring.value = "\n".join(lines).rstrip()

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        for function in self._functions:
            found = pkg.modules_collection[function.path]
            if found.is_module and not found.is_alias:
                found.set_member(function.name, function)
