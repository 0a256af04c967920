"""What one case may take: seconds and memory, stated, and enforced by the system on the worker that does it.

Memory is what Linux counts as data of a process (RLIMIT_DATA): all that is allocated, no shared libraries. It
is not enforced on other systems, where readers still refuse by header what cannot fit.
"""

import ctypes
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path

from mim3d.errors import ConfigError

GB = 1_000_000_000
SECONDS = 600.0
"""A case may take, unless told otherwise."""
MEMORY = 8 * GB
"""Bytes that a case may take at most, unless told otherwise; less where the machine has less for a worker."""
SHARE = 0.8
"""Of the machine's memory that all workers together may take, unless told otherwise."""
_MEGABYTE = 1_000_000


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Limits:
    """What one case may take."""

    seconds: float = SECONDS
    memory: int | None = None
    """Bytes, on top of what a worker takes before it begins; None: `MEMORY`, or a fair share if less."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ConfigError(f"case-seconds must be above 0, got {self.seconds:g}")
        if self.memory is not None and self.memory < _MEGABYTE:
            raise ConfigError(f"case-memory must be at least 0.001 GB, got {self.memory / GB:g}")

    def shared_by(self, workers: int) -> "Limits":
        """The same limits with memory as a number of bytes, for one of `workers` on this machine."""
        fair = int(SHARE * machine_memory() / workers)
        return self if self.memory is not None else Limits(self.seconds, min(MEMORY, fair))


def machine_memory() -> int:
    """Bytes that this machine, or the container that we run in, has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        path = Path("/sys/fs/cgroup", name)
        text = path.read_text().strip() if path.is_file() else ""
        memory = min(memory, int(text)) if text.isdigit() else memory
    return memory


def limit_memory(memory: int) -> None:
    """Have the system refuse this process more than `memory` bytes on top of what it has."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = _allocated() + memory
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def memory_left() -> int:
    """Bytes that this process may still allocate; of a process without a limit, what the machine has."""
    soft = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return machine_memory() if soft < 0 else max(soft - _allocated(), 0)


def give_back_freed_memory() -> None:
    """Give what this process has freed back to the system; without glibc, that is left to its C library.

    A case is written in many small pieces, and the C library keeps those for itself when they are freed.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def bytes_in_words(size: float) -> str:
    """A number of bytes as text: `3.46 GB`, `0.0144 MB`."""
    return f"{size / GB:.3g} GB" if size >= GB / 10 else f"{size / _MEGABYTE:.3g} MB"


def _allocated() -> int:
    """Bytes that the system counts as data of this process; 0 where it does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")]
    return sizes[0] if sizes else 0
