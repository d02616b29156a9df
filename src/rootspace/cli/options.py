"""Options under headings, examples at the end of the help, and the options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from rootspace.cli.errors import Group

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class Option(click.Option):
    """An option that stands under a heading of the help; `key` is the setting of a run that it sets."""

    def __init__(self, *args: Any, heading: str = "Options", key: str | None = None, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.heading, self.key = heading, key
        if self.metavar is None and isinstance(self.type, (click.types.IntParamType, click.types.FloatParamType)):
            self.metavar = "N" if isinstance(self.type, click.types.IntParamType) else "X"


class Command(click.Command):
    """A command whose help has its options under headings, and examples at the end."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "heading", "Options"), []).append(record)
        # --help and its like come last
        plain = sections.pop("Options", [])
        for heading, records in [*sections.items(), ("Options", plain)]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"{'':{formatter.current_indent}}{line}\n" for line in self.examples))


class CommandGroup(Group, Command):
    """A group of commands whose help ends in examples."""

    format_options = Group.format_options


def option(*names: str, heading: str = "Options", **extra: Any) -> Decorator:
    """`click.option` under a heading."""
    return click.option(*names, cls=Option, heading=heading, **extra)


def given(context: click.Context) -> list[tuple[str, Any]]:
    """The settings that options on the command line ask for, by their dotted keys."""
    found = []
    for parameter in context.command.params:
        key, source = getattr(parameter, "key", None), context.get_parameter_source(parameter.name or "")
        if key is not None and source is click.core.ParameterSource.COMMANDLINE:
            value = context.params[parameter.name]
            found.append((key, str(value) if isinstance(value, Path) else value))
    return found


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, in the order given."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


PATH = click.Path(path_type=Path)

MODEL = click.argument("model", type=PATH)
DATA = click.argument("data", type=PATH)
JSON = option("--json", "as_json", is_flag=True, help="Print JSON.")
SKIP_BAD = option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and count them.")

RUN = "How long and how fast"


def run_options(learning_rate: float) -> Decorator:
    """What demo and train share; defaults are `TrainConfig`'s, written again: --help must not wait for torch."""
    return together(
        option(
            "--epochs",
            heading=RUN,
            key="train.epochs",
            type=click.IntRange(min=1),
            default=5,
            help="Passes over the training images.",
        ),
        option(
            "--batch-size",
            heading=RUN,
            key="train.batch_size",
            type=click.IntRange(min=1),
            default=128,
            help="Images a step.",
        ),
        option(
            "--learning-rate",
            heading=RUN,
            key="train.learning_rate",
            type=click.FloatRange(min=0, min_open=True),
            default=learning_rate,
            help="The highest learning rate of the schedule.",
        ),
        option(
            "--seed",
            heading=RUN,
            key="train.seed",
            type=click.IntRange(min=0),
            default=0,
            help="Makes a run on a CPU reproducible.",
        ),
        option("--threads", heading=RUN, type=click.IntRange(min=1), help="Processor threads.  [default: all cores]"),
    )


OUTPUT = "Output"

CONTINUE = together(
    option("--resume", heading=OUTPUT, is_flag=True, help="Go on with the interrupted run in --output."),
    option("--overwrite", heading=OUTPUT, is_flag=True, help="Throw away the run in --output and start anew."),
)


TEXTS = option("--texts", metavar="FILE", type=PATH, help="For a model of texts: a file with one text a line.")


def check_given(given: Sequence[str], texts: Path | None) -> None:
    """Refuse a command that was given nothing to look at."""
    if not given and texts is None:
        raise click.MissingParameter(param_hint="'IMAGES...'", param_type="argument", ctx=click.get_current_context())


def announce_skipped(images: Any) -> None:
    """Say on stderr which files an image folder left out, because they cannot be read."""
    skipped = images.store.about.get("skipped") or []
    if skipped:
        named = ", ".join(skipped[:3]) + (", ..." if len(skipped) > 3 else "")
        of = len(skipped) + len(images.store)
        click.echo(f"skipped {len(skipped):,} of {of:,} images that cannot be read: {named}", err=True)
