import io

import pytest
from rich.console import Console

from mim3d.train import progress as module
from mim3d.train.progress import StepProgress, clock, describe, step_progress
from mim3d.train.timings import Timing


def shown(now: list[float], seconds: float, steps: list[int], first_step: int = 0) -> list[str]:
    """Lines printed where nobody watches; steps take `seconds`, 0.5 s of it waiting, the first one 9 s."""
    console = Console(file=io.StringIO(), width=40)
    progress = StepProgress(console, 100, first_step, 21)
    for step in steps:
        now[0] += seconds
        timing = Timing(seconds=seconds, waiting=9.0 if step == steps[0] else 0.5)
        logged = {"loss": 1.5, "reconstruct/0": 1.0, "reconstruct/1": 0.5, "lr": 0.001}
        progress.update(step, logged, timing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_line_tells_loss_rate_and_time_left(now: list[float]) -> None:
    (line,) = shown(now, 12.0, [1])
    assert line == (
        "step 1/100 · loss 1.500 · reconstruct 1.000 0.500 · lr 1.0e-03 · 1.8 crops/s · 0:19:48 left"
    )


@pytest.mark.parametrize("first_step", [0, 50])
def test_the_share_waited_leaves_out_the_first_step_of_the_process(now: list[float], first_step: int) -> None:
    lines = shown(now, 20.0, [first_step + 1, first_step + 2, first_step + 3], first_step)
    assert "data" not in lines[0]
    assert [line.split(" · ")[-2] for line in lines[1:]] == ["waited for data 2.5 %", "waited for data 2.5 %"]


def test_lines_come_every_ten_seconds_and_at_the_end(now: list[float]) -> None:
    assert [line.split(" · ")[0] for line in shown(now, 6.0, [95, 96, 97, 98, 99, 100], 94)] == [
        "step 96/100",
        "step 98/100",
        "step 100/100",
    ]


def test_a_resumed_run_counts_its_own_steps(now: list[float]) -> None:
    (line,) = shown(now, 20.0, [51], first_step=50)
    assert line.endswith("1.1 crops/s · 0:16:20 left")


def test_terms_of_one_kind_stand_side_by_side() -> None:
    logged = {"loss": 2.0, "reconstruct/0": 1.0, "align/0": 0.25, "reconstruct/1": 0.5}
    assert describe(logged) == "loss 2.000 · reconstruct 1.000 0.500 · align 0.250"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (61, "0:01:01"), (3599.6, "1:00:00"), (100_000, "27:46:40")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_terminal_gets_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(force_terminal=True, width=120, file=io.StringIO())
    monkeypatch.setattr(module, "Console", lambda stderr: screen)
    with step_progress(10, 3, 21) as progress:
        progress.update(4, {"loss": 1.5}, Timing(seconds=1.0, waiting=0.0))
        assert progress.bar is not None
        assert progress.bar.tasks[0].completed == 4
        assert progress.bar.tasks[0].description.startswith("loss 1.500 · ")


def test_nobody_watches_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with step_progress(4, 3, 21) as progress:
        progress.update(4, {"loss": 1.5}, Timing(seconds=1.0, waiting=0.0))
    captured = capsys.readouterr()
    assert captured.err.startswith("step 4/4 · loss 1.500 · ")
    assert captured.out == ""
