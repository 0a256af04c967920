"""How long work is going, on standard error: a bar in a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mim3d.train.progress import SECONDS_BETWEEN_LINES, clock

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


@contextmanager
def shown_progress(
    task: str = "predict", unit: str = "window", seconds: float = SECONDS_BETWEEN_LINES
) -> Iterator[Progress]:
    """Done, of all, and time left: a bar in a terminal, a line every so many `seconds` elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console, unit, seconds)
        return
    columns = (TextColumn(task), BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit}s, left"))
    with Bar(*columns, TimeRemainingColumn(), console=console) as bar:
        shown = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(shown, completed=done, total=total)


def _lines(console: Console, unit: str, seconds: float) -> Progress:
    started = printed = time.monotonic()

    def on_done(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed > seconds:
            printed = now
            left = clock((now - started) / done * (total - done))
            console.print(f"{unit} {done}/{total} · {left} left", soft_wrap=True, highlight=False)

    return on_done
