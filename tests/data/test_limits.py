"""Seconds and memory of a case."""

import math

import pytest

from mim3d.data import limits
from mim3d.data.limits import GB, MEMORY, Limits
from mim3d.errors import ConfigError


def test_memory_is_a_fair_share_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 20 * GB)
    assert Limits().shared_by(1).memory == MEMORY
    assert Limits().shared_by(4).memory == 4 * GB
    assert Limits(5, 7 * GB).shared_by(4) == Limits(5, 7 * GB)


def test_a_machine_has_memory_and_we_have_taken_some() -> None:
    assert GB // 4 < limits.machine_memory() < 1e15
    assert 0 < limits._allocated() < 1e13
    assert limits.memory_left() <= limits.machine_memory()


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match=f"case-seconds must be above 0, got {seconds:g}"):
        Limits(seconds)


def test_no_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"case-memory must be at least 0\.001 GB, got 0"):
        Limits(memory=0)
