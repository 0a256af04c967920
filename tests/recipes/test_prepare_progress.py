"""What is told of a preparation while it runs."""

from io import StringIO

import pytest
from rich.console import Console

from mim3d.data.prepare import State
from mim3d.recipes import prepare_progress as progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows its only element, s."""
    time = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: time[0])
    return time


def test_rates_are_of_the_scans_made_now() -> None:
    state = State(done=30, total=50, rejected=2, kept=10, size=400_000_000)
    expected = "scans, 2 rejected · 30.0 scans/min · 10.0 MB/s · 0:00:40 left"
    assert progress.describe(state, 40.0) == expected
    assert progress.describe(State(10, 50, 0, 10), 0.0) == "scans, 0 rejected"


def test_a_line_every_ten_seconds_where_nobody_watches(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.prepare_progress(Console(stderr=True)) as on_state:
        for seconds in range(0, 25, 3):
            clock[0] = 100.0 + seconds
            on_state(State(seconds, 30, 1, 0, seconds * 1_000_000))
    assert capsys.readouterr().err.splitlines() == [
        "prepare 12/30 scans, 1 rejected · 60.0 scans/min · 1.0 MB/s · 0:00:18 left",
        "prepare 24/30 scans, 1 rejected · 60.0 scans/min · 1.0 MB/s · 0:00:06 left",
    ]


def test_headers_are_told_of_where_they_take_more_than_five_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.headers_progress(Console(stderr=True)) as on_headers:
        for seconds in range(1, 13):
            clock[0] = 100.0 + seconds
            on_headers(100 * seconds, 2400)
    assert capsys.readouterr().err.splitlines() == [
        "headers 600/2400 100 files/s · 0:00:18 left",
        "headers 1200/2400 100 files/s · 0:00:12 left",
    ]


def test_a_second_look_has_a_rate_of_its_own(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.headers_progress(Console(stderr=True)) as on_headers:
        for seconds, done, total in ((4, 400, 400), (6, 20, 100), (12, 80, 100)):
            clock[0] = 100.0 + seconds
            on_headers(done, total)
    assert capsys.readouterr().err.splitlines() == [
        "headers 20/100 10 files/s · 0:00:08 left",
        "headers 80/100 10 files/s · 0:00:02 left",
    ]


def test_a_terminal_shows_headers_while_they_are_read(clock: list[float]) -> None:
    shown = StringIO()
    terminal = Console(file=shown, force_terminal=True, color_system=None, width=100)
    with progress.headers_progress(terminal) as on_headers:
        on_headers(1, 2000)
    assert shown.getvalue() == ""
    with progress.headers_progress(terminal) as on_headers:
        clock[0] += 8.0
        on_headers(1000, 2000)
    assert "1000/2000 125 files/s · 0:00:08 left" in shown.getvalue()


def test_a_terminal_that_cannot_draw_gets_lines(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with progress.headers_progress(Console(stderr=True, force_terminal=True)) as on_headers:
        clock[0] += 8.0
        on_headers(20, 100)
    assert "20/100" in capsys.readouterr().err
