import pytest

from mim3d.recipes.progress import shown_progress


def test_says_the_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 5.0, 20.0])
    monkeypatch.setattr("mim3d.recipes.progress.time.monotonic", lambda: next(times))
    with shown_progress() as on_windows:
        on_windows(1, 8)
        on_windows(2, 8)
    assert capsys.readouterr().err.splitlines() == ["window 2/8 · 0:01:00 left"]
