"""The page of the site with what every command says for --help."""

from __future__ import annotations

from collections.abc import Iterator

import click

from rootspace.cli import main

WIDTH = 100


def page() -> str:
    """Markdown: a section for each command, with its help as the terminal shows it."""
    parts = ["# The command line", "What each command says for `--help`, from the program itself."]
    for context in contexts(click.Context(main, info_name="rootspace", terminal_width=WIDTH, **main.context_settings)):
        depth = "#" * min(4, 1 + len(context.command_path.split()))
        parts.append(f"{depth} {context.command_path}\n\n```text\n{context.get_help()}\n```")
    return "\n\n".join(parts) + "\n"


def contexts(context: click.Context) -> Iterator[click.Context]:
    """A command's context, and those of all commands in it, in the order of the program."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            yield from contexts(
                click.Context(command, parent=context, info_name=name, terminal_width=WIDTH, **command.context_settings)
            )
