"""The folder a run writes into: looked at before any work, held by one run, and swept after a failed start."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rootspace.cli.launched import is_first, together
from rootspace.errors import InputError

# `training` holds one folder for each training run, and what both of them must agree on
_TRAINING, _SETTINGS, _RUNS = "training", "settings.yaml", ("rootspace", "baseline")
# what a training run writes before it has saved anything
_BEGUN = (".lock", "run.json", "metrics.jsonl", "tracking", "checkpoints")
# sections that the run itself compares, with what it began with
_COMPARED_BY_RUN = frozenset({"data", "train", "baseline"})


def check_output(output: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Raise `InputError` unless a run can start (or, with `resume`, go on) in the folder `output`.

    Nothing is written, so that a mistake costs nothing and leaves nothing. Of several processes the first one looks.
    """
    with together():
        if is_first():
            _check_output(output, resume, overwrite)


def _check_output(output: Path, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise InputError("--resume goes on with the run in --output, --overwrite throws it away: give one of them")
    _check_place(output)
    holds = (output / _TRAINING / _RUNS[0] / "run.json").is_file()
    if resume and not holds:
        raise InputError(f"{output}: holds no run to resume; leave --resume out to start one")
    if holds and not (resume or overwrite):
        raise InputError(
            f"{output}: holds another run; go on with it (--resume), replace it (--overwrite), or give another --output"
        )
    model = output / "model"
    if model.exists():
        from rootspace.models.folder import is_replaceable  # torch takes a second, and is not needed elsewhere here

        if not is_replaceable(model):
            raise InputError(
                f"{model}: is in the way and no model folder of rootspace; move it, or give another --output"
            )


@contextmanager
def held(output: Path, settings: Mapping[str, Any], resume: bool = False, overwrite: bool = False) -> Iterator[None]:
    """Hold `output` for this run within the block; `InputError` while another run holds it.

    The settings (JSON values in sections) are stored; a run is resumed only with the same recipe. Where it goes on
    with other settings, those are stored once it took them: at its end, or where it is stopped. A block that fails
    before anything was trained leaves no file behind. Of several processes the first one holds the folder, and the
    others wait for that.
    """
    with ExitStack() as stack:
        with together():
            if is_first():
                stack.enter_context(_held(output, settings, resume, overwrite))
        yield


@contextmanager
def _held(output: Path, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> Iterator[None]:
    from rootspace.experiment.settings import as_yaml, read_settings
    from rootspace.files import write_text
    from rootspace.train import Interrupted
    from rootspace.train.checkpoint import claimed

    before = {path for path in _traces(output) if path.exists()}
    settings = json.loads(json.dumps(settings))
    path = output / _TRAINING / _SETTINGS
    with claimed(output):
        try:
            if overwrite:
                _throw_away(output)
                before = {path for path in before if path.exists()}
            if resume and path.is_file():
                _check_same(output, read_settings(path), settings)
            if not (resume and path.is_file()):
                write_text(path, as_yaml(settings))
            try:
                yield
            except Interrupted:
                write_text(path, as_yaml(settings))
                raise
            # what is resumed may be refused until its end: data and training are compared by the run itself
            write_text(path, as_yaml(settings))
        except BaseException as error:
            if not resume:
                _sweep(output, before)
            if isinstance(error, KeyboardInterrupt) and _saved(output):  # between two trainings, or at their end
                raise Interrupted(
                    f"stopped; what was trained is saved in {output}: run the same command with --resume to go on"
                ) from None
            raise


def _check_same(output: Path, began: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    for section in settings.keys() - _COMPARED_BY_RUN:
        before = began.get(section)
        if not isinstance(before, dict):
            raise InputError(f"{output / _TRAINING / _SETTINGS}: lacks {section!r}; start anew with --overwrite")
        for name, value in settings[section].items():
            # a setting that is younger than the run was not chosen differently
            if name in before and before[name] != value:
                raise InputError(
                    f"{output}: cannot be resumed with {name} {value!r}: the run began with {before[name]!r}"
                )


def _check_place(output: Path) -> None:
    """Whether the folder is there, or could be made."""
    place = output
    while not place.exists() and place != place.parent:
        if place.is_symlink():
            raise InputError(f"{place}: a link that leads nowhere; expected an output folder")
        place = place.parent
    if not place.is_dir():
        what = "is a file, expected an output folder" if place == output else f"cannot be made, {place} is a file"
        raise InputError(f"{output}: {what}; give another --output")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{output}: cannot be written, there is no permission to write in {place}; give another")


def _runs(output: Path) -> list[Path]:
    """The folders of a run's trainings. Whatever else lies in a folder called training is the user's own."""
    return [output / _TRAINING / name for name in _RUNS]


def _throw_away(output: Path) -> None:
    """Remove the runs in `output`, and nothing that is not one."""
    for folder in _runs(output):
        if (folder / "run.json").is_file():
            shutil.rmtree(folder)


def _saved(output: Path) -> bool:
    return any(path for run in _runs(output) for path in run.glob("checkpoints/step-*"))


def _traces(output: Path) -> list[Path]:
    """What a run leaves that has saved nothing: files, and then the folders that they lie in."""
    runs = _runs(output)
    begun = [run / name for run in runs for name in _BEGUN]
    return [output / _TRAINING / _SETTINGS, output / ".lock", *begun, *runs, output / _TRAINING, output]


def _sweep(output: Path, before: Collection[Path]) -> None:
    """Take away what a run that saved nothing left; what was there `before` it stays, whoever wrote it."""
    if _saved(output):
        return
    for path in _traces(output):
        if path in before:
            continue
        if path.name == "tracking":
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir():
            with suppress(OSError):  # somebody put something in
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
