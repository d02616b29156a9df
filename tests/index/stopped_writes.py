"""Does one write on copies of an index again and again, killed before its n-th rename, until it comes to its end.

    python stopped_writes.py INDEX COPIES add|delete|compact MODULE

Each COPIES/n is what the n-th kill left. What the libraries do for themselves is not cut into, only what is between.
"""

import os
import shutil
import signal
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from rootspace import index as indexes


def write(place: Path, what: str, stop: int) -> None:
    rename, seen = os.replace, 0

    def counted(*names: object, **more: object) -> None:
        nonlocal seen
        if seen == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
        rename(*names, **more)

    with indexes.open(place, writing=True) as index:
        os.replace = counted
        if what == "add":
            index.add(np.load(place.parent.parent / "more.npy"), [f"more {n}" for n in range(5)])
        elif what == "delete":
            index.delete([1, 3, 5])
        else:
            index.compact()


def main(start: Path, copies: Path, what: str, module: str) -> int:
    import_module(module)  # once for all children; nothing is opened, as threads would not come along
    for stop in range(99):
        shutil.copytree(start, copies / str(stop))
        child = os.fork()
        if not child:
            write(copies / str(stop), what, stop)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
    raise RuntimeError("a write that never comes to its end")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
