import pytest

from mim3d.recipes.progress import shown_progress


def test_says_the_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 5.0, 20.0])
    monkeypatch.setattr("mim3d.recipes.progress.time.monotonic", lambda: next(times))
    with shown_progress() as on_windows:
        on_windows(1, 8)
        on_windows(2, 8)
    assert capsys.readouterr().err.splitlines() == ["window 2/8 · 0:01:00 left"]


def test_says_what_is_done_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 4.0, 6.0, 8.0])
    monkeypatch.setattr("mim3d.recipes.progress.time.monotonic", lambda: next(times))
    with shown_progress("inspect", "case", seconds=5.0) as on_case:
        for done in (1, 2, 3):
            on_case(done, 8, ", 1 damaged")
    assert capsys.readouterr().err.splitlines() == ["case 2/8, 1 damaged · 0:00:18 left"]


def test_nothing_done_yet_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 60.0])
    monkeypatch.setattr("mim3d.recipes.progress.time.monotonic", lambda: next(times))
    with shown_progress() as on_windows:
        on_windows(0, 8)
    assert capsys.readouterr().err == ""
