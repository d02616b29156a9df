"""Ctrl-C and SIGTERM end a run at the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The run was asked to stop and has; the message says where it is saved and how to go on.

    The command line prints it and exits with code 130.
    """


class StopFlag:
    """True once a signal asked the run to stop; a second signal acts as if nobody listened."""

    def __init__(self) -> None:
        self._asked = False

    def __bool__(self) -> bool:
        return self._asked

    def ask(self) -> None:
        """Ask the run to stop at the end of its step."""
        self._asked = True

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
