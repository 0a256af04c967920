from collections.abc import Iterator

import pytest

from mim3d.train.timings import StepTimer, Timing, share_waited


def slow(now: list[float], seconds: list[float]) -> Iterator[str]:
    """Batches that take `seconds` each to read."""
    for number, duration in enumerate(seconds):
        now[0] += duration
        yield f"batch {number}"


def test_a_step_is_its_waiting_and_its_work(now: list[float]) -> None:
    timer = StepTimer()
    found = []
    for batch in timer.timed(slow(now, [3.0, 0.5])):
        now[0] += 4.0
        found.append((batch, timer.lap()))
    assert found == [
        ("batch 0", Timing(seconds=7.0, waiting=3.0)),
        ("batch 1", Timing(seconds=4.5, waiting=0.5)),
    ]


def test_what_is_done_after_a_step_counts_with_the_next_one_and_is_no_waiting(now: list[float]) -> None:
    timer = StepTimer()
    found = []
    for _ in timer.timed(slow(now, [1.0, 1.0])):
        found.append(timer.lap())
        now[0] += 2.0
    assert found == [Timing(seconds=1.0, waiting=1.0), Timing(seconds=3.0, waiting=1.0)]


def test_times_are_rounded_to_microseconds(now: list[float]) -> None:
    timer = StepTimer()
    now[0] += 1 / 3
    assert timer.lap() == Timing(seconds=0.333333, waiting=0.0)


@pytest.mark.parametrize(
    ("waiting", "seconds", "text"), [(0.04, 10.0, "0.4 %"), (10.0, 10.0, "100.0 %"), (0.0, 0.0, "0.0 %")]
)
def test_shares(waiting: float, seconds: float, text: str) -> None:
    assert share_waited(waiting, seconds) == text
