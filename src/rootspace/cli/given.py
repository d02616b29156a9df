"""What a command is given to look at: files, folders, texts, or lines of standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from rootspace.cli.options import PATH, option
from rootspace.errors import InputError
from rootspace.files import text_lines

TEXTS = option("--texts", metavar="FILE", type=PATH, help="For a model of texts: a file with one text a line.")


def check_given(given: Sequence[str], texts: Path | None) -> None:
    """Refuse a command that was given nothing to look at."""
    if not given and texts is None:
        raise click.MissingParameter(param_hint="'IMAGES...'", param_type="argument", ctx=click.get_current_context())


def check_no_texts(texts: Path | None, where: Path) -> None:
    """Refuse --texts where the model, or that of the index, was trained on pictures."""
    if texts is not None:
        raise InputError(f"{where}: takes pictures; give their files or folders, and no --texts")


def texts_of(given: Iterable[str], file: Path | None) -> Iterator[str]:
    """The texts that arguments and --texts give, in order: "-" is standard input, lines of white space are left out."""
    for one in given:
        if one == "-":
            yield from _input_lines()
        else:
            yield one
    if file is not None:
        yield from text_lines(file)


def files_of(given: Iterable[str]) -> Iterator[Path]:
    """The image files that arguments give: files, those in folders, and for "-" one for each line of standard input."""
    from rootspace.index.pictures import image_files

    for one in given:
        if one == "-":
            yield from map(Path, _input_lines())
        else:
            yield from (path for path, _ in image_files(Path(one)))


def _input_lines() -> Iterator[str]:
    return filter(str.strip, (line.rstrip("\r\n") for line in sys.stdin))
