"""One of two processes that wait for one another, with patience and silence of seconds: CASE, and FOLDER for what each
found.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rootspace.train import ProcessLostError, processes

PATIENCE = 3.0


def work(rank: int, seconds: float) -> Callable[[], int]:
    """A function that takes long in the process of this rank, and says where it ran."""

    def run() -> int:
        if own == rank:
            time.sleep(seconds)
        return own

    return run


def longer_than_patience() -> list[object]:
    """What is read in turn, and by the first process, each for longer than anybody waits for a collective."""
    return [processes.in_turn(work(0, 2 * PATIENCE)), processes.by_main(work(0, 1.5 * PATIENCE))]


def lost() -> list[object]:
    """Process 1 ends while process 0 waits for it."""
    with processes.together(patiently=True):
        if own == 1:
            time.sleep(0.5)
            os._exit(0)
    return []


def late() -> list[object]:
    """Process 1 lives, but comes too late to what both do at once."""
    work(1, 2 * PATIENCE)()
    return list(processes.every(own))


if __name__ == "__main__":
    case, folder, own = sys.argv[1], Path(sys.argv[2]), int(os.environ["RANK"])
    os.environ["LOCAL_RANK"] = os.environ["RANK"]  # both on one machine
    processes.PATIENCE, processes.BEAT, processes.SILENCE = timedelta(seconds=PATIENCE), 0.2, 2.0
    processes.join(cpu=True)
    try:
        with processes.watched(lambda: "go on with --resume"):
            found: object = {"longer": longer_than_patience, "lost": lost, "late": late}[case]()
    except ProcessLostError as error:
        found = str(error)
    (folder / f"{own}.json").write_text(json.dumps(found))
    os._exit(0)  # torch's own end would wait for a process that is gone
