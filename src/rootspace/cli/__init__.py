"""The command `rootspace`. Thin: each command parses, calls the package, and prints."""

from __future__ import annotations

import click

from rootspace import __version__
from rootspace.cli.errors import Group
from rootspace.cli.planning import plan
from rootspace.cli.training import demo, train
from rootspace.cli.using import embed, evaluate, info, predict

__all__ = ["main"]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rootspace")
def main() -> None:
    """Train encoders on any number of classes without a classification layer.

    Start with `rootspace demo`.
    """


for command in (demo, plan, train, evaluate, predict, embed, info):
    main.add_command(command)
