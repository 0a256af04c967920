"""How a run is going, on standard error: a live line in a terminal, a line every ten seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mim3d.train.timings import Timing, share_waited

SECONDS_BETWEEN_LINES = 10.0


class StepProgress:
    """Step, loss and its terms, learning rate, crops a second, share of time waited for data, time left."""

    def __init__(self, console: Console, steps: int, first_step: int, crops_per_step: int) -> None:
        self.console, self.steps, self.first_step = console, steps, first_step
        self.crops_per_step = crops_per_step
        self.started = self.printed = time.monotonic()
        self.seconds = self.waiting = 0.0
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def update(self, step: int, logged: dict[str, float], timing: Timing) -> None:
        """Show the step that was just done."""
        now = time.monotonic()
        rate = (step - self.first_step) / max(now - self.started, 1e-9)
        text = describe(logged) + f" · {rate * self.crops_per_step:.1f} crops/s"
        if step > self.first_step + 1:  # the first one also waits for its readers to start
            self.seconds += timing.seconds
            self.waiting += timing.waiting
            text += f" · waited for data {share_waited(self.waiting, self.seconds)}"
        text += f" · {clock((self.steps - step) / rate)} left"
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=text)
        elif now - self.printed > SECONDS_BETWEEN_LINES or step == self.steps:
            self.printed = now
            self.console.print(f"step {step}/{self.steps} · {text}", soft_wrap=True, highlight=False)


@contextmanager
def step_progress(steps: int, first_step: int, crops_per_step: int) -> Iterator[StepProgress]:
    """Show progress inside."""
    console = Console(stderr=True)
    shown = StepProgress(console, steps, first_step, crops_per_step)
    if not console.is_interactive:
        yield shown
        return
    columns = (
        TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(20),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as shown.bar:
        shown.task = shown.bar.add_task("starting", total=steps, completed=first_step)
        yield shown


def describe(logged: dict[str, float]) -> str:
    """`loss 1.02 · reconstruct 0.9 0.8 · align 1.1 · lr 1.0e-03`: terms of one kind side by side."""
    kinds: dict[str, list[str]] = {}
    for name, value in logged.items():
        kind = name.split("/")[0]
        kinds.setdefault(kind, []).append(f"{value:.1e}" if kind == "lr" else f"{value:.3f}")
    return " · ".join(f"{kind} {' '.join(values)}" for kind, values in kinds.items())


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
