"""Freed memory is kept: in a process of its own, as it cannot be undone."""

import platform
import subprocess
import sys

import pytest

from mim3d.train.allocator import keep_freed_memory

FAULTS = """
import resource, torch
from mim3d.train.allocator import keep_freed_memory
assert {asked} is False or keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
before = faults()
for _ in range(5):
    torch.ones(2**24)  # 64 MB: 16,384 pages of 4 KB
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_the_system_clears_pages_once() -> None:
    done = {
        asked: subprocess.run(
            [sys.executable, "-c", FAULTS.format(asked=asked)], check=True, capture_output=True, text=True
        )
        for asked in (True, False)
    }
    assert int(done[True].stdout) < 1_000
    assert int(done[False].stdout) > 5_000  # even with pages of 2 MB


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
