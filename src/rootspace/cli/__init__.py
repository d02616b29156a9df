"""The command `rootspace`. Thin: each command parses, calls the package, and prints.

Modules here import nothing heavy at their top: help comes at once, and a command loads only what it uses.
"""

from __future__ import annotations

import click

from rootspace import __version__
from rootspace.cli.about import info
from rootspace.cli.data import data
from rootspace.cli.errors import Group
from rootspace.cli.exporting import export
from rootspace.cli.growing import grow
from rootspace.cli.indexing import index
from rootspace.cli.planning import plan
from rootspace.cli.pushing import push
from rootspace.cli.systems import show, systems
from rootspace.cli.training import demo, train
from rootspace.cli.using import embed, evaluate, predict

__all__ = ["main"]

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(cls=Group, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="rootspace")
def main() -> None:
    """Train encoders on any number of classes without a classification layer.

    Start with `rootspace demo`; then `rootspace train` with your own images.
    """


for command in (demo, train, grow, evaluate, predict, embed, export, push, index, data, plan, systems, show, info):
    main.add_command(command)
