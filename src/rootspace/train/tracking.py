"""Experiment trackers that Accelerate knows (TensorBoard, Weights & Biases, MLflow, ...), beside metrics.jsonl."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rootspace.errors import InputError, MissingExtraError, require
from rootspace.files import read_json, write_json
from rootspace.train.history import EpochRecord, StepRecord

FOLDER, PROJECT = "tracking", "rootspace"
#: What is told of a run beside its configuration: entries of its run.json.
TOLD = ("processes", "data", "loss", "augment", "hooks")
_PACKAGES = {"comet_ml": "comet-ml"}  # the others are called as their tracker is
_ABOUT = "run.json"


class Trackers:
    """Hands records to the trackers that `start` opened; without any it does nothing."""

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator

    def add(self, record: StepRecord | EpochRecord) -> None:
        """Log the numbers of a record at its step."""
        if self._accelerator is not None:
            self._accelerator.log(scalars(record), step=record.step)

    def close(self) -> None:
        # not `end_training`, which also parts the processes: another training may follow
        for tracker in [] if self._accelerator is None else self._accelerator.trackers:
            tracker.finish()


def options(names: Sequence[str], output: Path | None) -> dict[str, Any]:
    """What an `Accelerator` is given for these trackers; a name that cannot work is an `InputError`.

    Names are those of the installed Accelerate, and of classes given to its `register_tracker_class`.
    """
    if not names:
        return {}
    known = require("accelerate.tracking", extra="train")
    for name in names:
        if name not in known.LOGGER_TYPE_TO_CLASS:
            raise InputError(f"track: expected some of {', '.join(sorted(known.LOGGER_TYPE_TO_CLASS))}, got {name!r}")
        if name in known.LoggerType.list() and name not in map(str, known.get_available_trackers()):
            raise MissingExtraError(f"track: {name!r} needs a package: pip install {_PACKAGES.get(name, name)}")
        if known.LOGGER_TYPE_TO_CLASS[name].requires_logging_directory and output is None:
            raise InputError(f"track: {name!r} writes into the output folder; give one")
    settings = require("accelerate.utils", extra="train").ProjectConfiguration
    place = None if output is None else str(output)
    logs = None if output is None else str(output / FOLDER)
    return {"log_with": list(names), "project_config": settings(project_dir=place, logging_dir=logs)}


def start(accelerator: Any, about: Mapping[str, Any], output: Path | None, step: int, resumed: bool) -> Trackers:
    """Open the accelerator's trackers at `step`, in the first process; `about` is told to each of them once a run.

    A run that is resumed goes on where its checkpoint stands: TensorBoard hides what came after that, Weights & Biases
    goes on with the same run. Other trackers begin another run, at this step.
    """
    if not accelerator.log_with:
        return Trackers()
    path = None if output is None else output / FOLDER / _ABOUT
    told: dict[str, Any] = {"id": uuid.uuid4().hex, "told": []}
    if resumed and path is not None and path.is_file():
        told = read_json(path)
    more: dict[str, dict[str, Any]] = {
        "tensorboard": {"purge_step": step + 1},
        "wandb": {"id": told["id"], "resume": "allow"},
    }
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        more["wandb"]["dir"] = str(path.parent)
    with _explained(accelerator.log_with, accelerator.trackers):
        accelerator.init_trackers(PROJECT, init_kwargs=more)
    plain = {name: value if isinstance(value, (bool, int, float, str)) else str(value) for name, value in about.items()}
    for tracker in accelerator.trackers:
        if tracker.name not in told["told"]:
            with _explained([tracker.name]):
                tracker.store_init_configuration(plain)
            told["told"].append(tracker.name)
    if path is not None:
        write_json(path, told)
    return Trackers(accelerator)


@contextmanager
def _explained(wanted: Sequence[Any], made: Sequence[Any] = ()) -> Iterator[None]:
    """Turn what a tracker raises when it starts into an `InputError` that names it: of those wanted, the first that is
    not made, or any.
    """
    try:
        yield
    except Exception as error:  # each service has errors of its own, for want of a login or a connection
        names = " or ".join(repr(str(one)) for one in wanted[len(made) :][:1] or wanted)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"track: {names} cannot be started ({reason}); log in, or set what it needs to reach its service, as its "
            "own documentation says, or leave it out of --track"
        ) from error


def scalars(record: StepRecord | EpochRecord) -> dict[str, float]:
    """The numbers of a record by the name under which they are logged; what was not measured is left out.

    >>> scalars(StepRecord(20, 0, 1.5, None, 0.01, 300.0))
    {'train/epoch': 0, 'train/loss': 1.5, 'train/learning_rate': 0.01, 'train/images_per_second': 300.0}
    >>> list(scalars(EpochRecord(0, 20, 1.5, None, 2.0, 300.0, {"new": {"top1": 0.5, "top5": 1.0}})))[-2:]
    ['heldout/new/top1', 'heldout/new/top5']
    """
    kind = "epoch" if isinstance(record, EpochRecord) else "train"
    values = {name: value for name, value in asdict(record).items() if name != "step" and value is not None}
    heldout = values.pop("heldout", {})
    found = {f"{kind}/{name}": value for name, value in values.items()}
    for name, shares in heldout.items():
        found |= {f"heldout/{name}/{what}": share for what, share in shares.items()}
    return found
