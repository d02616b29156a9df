"""What a run measured: records in memory, and as JSON lines in the output folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rootspace.errors import InputError


@dataclass(frozen=True)
class StepRecord:
    """The mean `loss` since the record before; `accuracy` (top-1, in [0, 1]) of one batch, where computed."""

    step: int
    epoch: int
    loss: float
    accuracy: float | None
    learning_rate: float
    images_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean training `loss`, `accuracy` of its last batch, and each held-out set's shares.

    `heldout[name]` holds "top1" and "top5" in [0, 1]; `seconds` of training, evaluation not counted.
    """

    epoch: int
    step: int
    loss: float
    accuracy: float | None
    seconds: float
    images_per_second: float
    heldout: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """All records of a run, oldest first."""

    epochs: tuple[EpochRecord, ...] = ()
    steps: tuple[StepRecord, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> History:
        """The history in a metrics.jsonl; a line that is none is an `InputError` naming it."""
        return _history(_read(Path(path), limit=None))


class Log:
    """Appends records to memory and, where `path` is given, to that file, one JSON object a line."""

    def __init__(self, path: Path | None, keep: int = 0) -> None:
        """Keep the first `keep` records of an existing file: a resumed run drops what came after its checkpoint."""
        self._records: list[StepRecord | EpochRecord] = []
        self._stream: TextIO | None = None
        if path is not None:
            if keep:
                self._records = _read(path, limit=keep)
            self._stream = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed by `close`
            for record in self._records:
                self._write(record)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: StepRecord | EpochRecord) -> None:
        self._records.append(record)
        self._write(record)

    def history(self) -> History:
        return _history(self._records)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, record: StepRecord | EpochRecord) -> None:
        if self._stream is not None:
            kind = "epoch" if isinstance(record, EpochRecord) else "steps"
            self._stream.write(json.dumps({"kind": kind, **asdict(record)}) + "\n")
            self._stream.flush()


def _history(records: list[StepRecord | EpochRecord]) -> History:
    return History(
        tuple(record for record in records if isinstance(record, EpochRecord)),
        tuple(record for record in records if isinstance(record, StepRecord)),
    )


def _read(path: Path, limit: int | None) -> list[StepRecord | EpochRecord]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[:limit]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _parse(line: str, where: str) -> StepRecord | EpochRecord:
    try:
        value: dict[str, Any] = json.loads(line)
        return {"epoch": EpochRecord, "steps": StepRecord}[value.pop("kind")](**value)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{where}: expected a record of a training run, got {line[:60]!r}") from None
