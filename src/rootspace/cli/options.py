"""Options under headings, examples at the end of the help, and the options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rootspace.cli.errors import Group

if TYPE_CHECKING:
    from rootspace.data import Fields

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


def setting(
    key: str, type: Any = None, default: Any = None, help: str = "", *, flag: str | None = None, **extra: Any
) -> Callable[[str], Decorator]:
    """The option that sets the setting with this dotted key, as `section` takes it; called as the key ends, or `flag`.

    >>> @section("Optimiser", setting("train.weight_decay", float, 0.05, "Of AdamW."))
    ... def command(weight_decay: float) -> None: ...
    """
    names = {"type": type, "default": default}
    given = {name: value for name, value in names.items() if value is not None}
    flag = flag or "--" + key.rpartition(".")[2].replace("_", "-")
    return lambda heading: option(flag, heading=heading, key=key, help=help, **given, **extra)


def section(heading: str, *settings: Callable[[str], Decorator]) -> Decorator:
    """Options of settings under one heading, in the order given."""
    return together(*(setting(heading) for setting in settings))


PATH = click.Path(path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)

MODEL = click.argument("model", type=PATH)
DATA = click.argument("data", type=PATH)
JSON = option("--json", "as_json", is_flag=True, help="Print JSON.")
SKIP_BAD = option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and count them.")

COLUMNS = together(
    *(
        option(f"--{kind}-column", heading="Columns or keys", key=f"data.{kind}_column", metavar="NAME", help=text)
        for kind, text in (
            ("image", "Of the picture, or of its path, where it is not the usual one."),
            ("text", "Of the text; the data are texts then, not images."),
            ("label", 'Of the class; of shards, "json:species" is an entry of a json.'),
            ("source", "Of where a sample comes from: a camera, a writer, a site."),
        )
    )
)
"""What columns of a table or a saved data set, or keys of shards, are called."""


def fields_of(columns: Mapping[str, str | None]) -> Fields:
    """The names that the options `COLUMNS` give."""
    from rootspace.data import Fields

    return Fields(**{name.removesuffix("_column"): value for name, value in columns.items()})


RUN = "How long and how fast"


def run_options(learning_rate: float) -> Decorator:
    """What demo and train share; defaults are `TrainConfig`'s, written again: --help must not wait for torch."""
    return together(
        section(
            RUN,
            setting("train.epochs", click.IntRange(min=1), 5, "Passes over the training images."),
            setting("train.batch_size", click.IntRange(min=1), 128, "Images a step."),
            setting("train.learning_rate", POSITIVE, learning_rate, "The highest learning rate of the schedule."),
            setting("train.seed", click.IntRange(min=0), 0, "Makes a run on a CPU reproducible."),
        ),
        option("--threads", heading=RUN, type=click.IntRange(min=1), help="Processor threads.  [default: all cores]"),
    )


def use_threads(threads: int | None) -> None:
    """Do as --threads says."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


OUTPUT = "Output"

CONTINUE = together(
    option("--resume", heading=OUTPUT, is_flag=True, help="Go on with the interrupted run in --output."),
    option("--overwrite", heading=OUTPUT, is_flag=True, help="Throw away the run in --output and start anew."),
)


def announce_skipped(images: Any) -> None:
    """Say on stderr which files an image folder left out, because they cannot be read."""
    skipped = images.store.about.get("skipped") or []
    say_skipped(len(skipped), len(images.store), skipped)


def say_skipped(bad: int, good: int, names: Sequence[str] = ()) -> None:
    """Say on stderr that files were left out, how many and which; nothing where there are none."""
    if bad:
        named = ": " + ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else ""
        click.echo(f"skipped {bad:,} of {bad + good:,} images that cannot be read{named}", err=True)
