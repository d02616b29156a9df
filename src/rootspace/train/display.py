"""Shows a run: a progress bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rootspace.train.history import EpochRecord, StepRecord
from rootspace.train.hooks import Plan

REFRESH_SECONDS = 0.25  # drawing takes about 2 ms, so less than 1 % of the time


class Display:
    """Made by `show`; this one shows nothing."""

    def start(self, plan: Plan, step: int) -> None: ...
    def step(self, step: int) -> None: ...
    def record(self, record: StepRecord) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...
    def close(self) -> None: ...


def show(progress: bool | None) -> Display:
    """A bar where stderr is a terminal, else lines; `progress` True forces lines at least, False is silence."""
    if progress is False:
        return Display()
    return Bar() if sys.stderr.isatty() else Lines()


class Lines(Display):
    """One line an epoch on stderr."""

    def start(self, plan: Plan, step: int) -> None:
        self._plan = plan

    def epoch(self, record: EpochRecord) -> None:
        self.say(f"epoch {record.epoch + 1}/{self._plan.epochs}  {describe(record)}")

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class Bar(Lines):
    """A bar with loss, training accuracy, images a second and time left, and a line above it per epoch."""

    def start(self, plan: Plan, step: int) -> None:
        super().start(plan, step)
        from rich import progress
        from rich.console import Console

        # drawn from the loop: a thread of its own would compete with it for the interpreter
        self._bar: Any = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}"),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.fields[numbers]}"),
            progress.TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._begun, self._first, self._drawn = time.monotonic(), step, 0.0
        self._record: StepRecord | None = None
        self._task = self._bar.add_task("", total=plan.steps, completed=step, epoch="-", numbers="", left="")
        self._bar.start()

    def step(self, step: int) -> None:
        now = time.monotonic()
        if now - self._drawn >= REFRESH_SECONDS:
            self._drawn = now
            rate = (now - self._begun) / max(1, step - self._first)
            self._bar.update(
                self._task,
                completed=step,
                epoch=f"{min(step // self._plan.steps_per_epoch + 1, self._plan.epochs)}/{self._plan.epochs}",
                numbers=self._numbers(),
                left=f"{duration(rate * (self._plan.steps - step))} left",
            )
            self._bar.refresh()

    def record(self, record: StepRecord) -> None:
        self._record = record

    def say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()

    def _numbers(self) -> str:
        if self._record is None:
            return ""
        accuracy = "" if self._record.accuracy is None else f"  accuracy {self._record.accuracy:.1%}"
        return f"loss {self._record.loss:.4f}{accuracy}  {self._record.images_per_second:,.0f} images/s"


def describe(record: EpochRecord) -> str:
    """One epoch in one line.

    >>> describe(EpochRecord(0, 10, 1.5, 0.25, 2.0, 1280.0, {"serif": {"top1": 0.5, "top5": 0.75}}))
    'loss 1.5000  accuracy 25.0%  1,280 images/s  | serif 50.0% (top-5 75.0%)'
    """
    accuracy = "" if record.accuracy is None else f"  accuracy {record.accuracy:.1%}"
    text = f"loss {record.loss:.4f}{accuracy}  {record.images_per_second:,.0f} images/s"
    held = ", ".join(f"{name} {top['top1']:.1%} (top-5 {top['top5']:.1%})" for name, top in record.heldout.items())
    return f"{text}  | {held}" if held else text


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds.

    >>> duration(5), duration(75), duration(3700)
    ('0:05', '1:15', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
