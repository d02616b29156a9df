"""Ctrl-C and SIGTERM end a run at the end of a step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from rootspace.train import processes

LOOK_SECONDS = 5.0  # between looks at the other processes' flags: launchers wait half a minute, then they kill
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The run was asked to stop and has; the message says where it is saved and how to go on.

    The command line prints it and exits with code 130.
    """


class StopFlag:
    """True once a signal asked the run to stop; a second signal acts as if nobody listened."""

    def __init__(self) -> None:
        self._asked = False
        self._looked_at, self._clock, self._next_look = -1, 0.0, 0

    def __bool__(self) -> bool:
        return self._asked

    def ask(self) -> None:
        """Ask the run to stop at the end of its step."""
        self._asked = True

    def heard(self, step: int, device: torch.device, at_once: bool = False) -> bool:
        """Whether any process was asked to stop: the same answer in all of them, which must all ask at each step.

        Several processes tell one another every few seconds, or `at_once`.
        """
        if processes.count() == 1:
            return bool(self)
        if step < self._next_look and not at_once:
            return False
        now = time.perf_counter()
        told = torch.tensor([float(bool(self)), now - self._clock], device=device)
        torch.distributed.all_reduce(told)
        asked, seconds = told.tolist()
        steps = step - self._looked_at if self._looked_at >= 0 else 0
        # from what all have told, so that all look again at the same step
        wait = int(LOOK_SECONDS * steps * processes.count() / max(seconds, 1e-3))
        self._looked_at, self._clock, self._next_look = step, time.perf_counter(), step + 1 + wait
        return bool(asked)

    @contextmanager
    def listening(self) -> Iterator[StopFlag]:
        """Listen within the block; outside the main thread, where signals never arrive, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def handle(number: int, frame: FrameType | None) -> None:
            self.ask()
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)

        for number in SIGNALS:
            signal.signal(number, handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
