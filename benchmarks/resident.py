"""Memory that this process holds, as Linux counts it, in bytes."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path


def status(name: str) -> int:
    """A line of the process's status: VmSize, VmRSS for what is resident, or VmHWM for the peak of that."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def reset_peak() -> int:
    """Give back what is free, begin the peak anew, and say what is resident now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak_memory() -> int:
    """The most that was resident since `reset_peak`."""
    return status("VmHWM")
