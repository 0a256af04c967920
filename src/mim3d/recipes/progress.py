"""How a prediction is going, on standard error: a bar in a terminal, a line every ten seconds elsewhere."""

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
def shown_progress() -> Iterator[Progress]:
    """Windows done and time left: a bar in a terminal, a line every ten seconds elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn(), TextColumn("windows, left"))
    with Bar(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("predict", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines() -> Progress:
    started = printed = time.monotonic()

    def on_windows(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed > SECONDS_BETWEEN_LINES:
            printed = now
            say(f"window {done}/{total} · {clock((now - started) / done * (total - done))} left")

    return on_windows
