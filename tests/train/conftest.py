import pytest


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as a list of one number to change."""
    time = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: time[0])
    return time
