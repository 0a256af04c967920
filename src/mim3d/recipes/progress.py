"""How long work is going, on standard error: a bar in a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mim3d.inference.window import Progress
from mim3d.recipes.run import say
from mim3d.train.progress import SECONDS_BETWEEN_LINES, clock


@contextmanager
def shown_progress(
    task: str = "predict", unit: str = "window", seconds: float = SECONDS_BETWEEN_LINES
) -> Iterator[Progress]:
    """Done, of all, and time left: a bar in a terminal, a line every so many `seconds` elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(unit, seconds)
        return
    columns = (TextColumn(task), BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit}s, left"))
    with Bar(*columns, TimeRemainingColumn(), console=console) as bar:
        shown = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(shown, completed=done, total=total)


def _lines(unit: str, seconds: float) -> Progress:
    started = printed = time.monotonic()

    def on_done(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed > seconds:
            printed = now
            say(f"{unit} {done}/{total} · {clock((now - started) / done * (total - done))} left")

    return on_done
