"""How long work is going, on standard error: a bar in a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mim3d.train.progress import SECONDS_BETWEEN_LINES, clock


class Progress(Protocol):
    """Called with how much is done, of how much, what to say beside, and the share of the next one done."""

    def __call__(self, done: int, total: int, beside: str = "", part: float = 0.0) -> None:
        """Show it."""


@contextmanager
def shown_progress(
    task: str = "predict", unit: str = "window", seconds: float = SECONDS_BETWEEN_LINES
) -> Iterator[Progress]:
    """Done, of all, and time left: a bar in a terminal, a line every so many `seconds` elsewhere."""
    console = Console(stderr=True)
    if not console.is_interactive:
        yield _lines(console, unit, seconds)
        return
    words = TextColumn(unit + "s{task.fields[beside]}, left")
    columns = (TextColumn(task), BarColumn(), MofNCompleteColumn(), words, TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        shown = bar.add_task(task, total=None, beside="")
        yield lambda done, total, beside="", part=0.0: bar.update(
            shown, completed=done + part, total=total, beside=beside
        )


def _lines(console: Console, unit: str, seconds: float) -> Progress:
    started = printed = time.monotonic()

    def on_done(done: int, total: int, beside: str = "", part: float = 0.0) -> None:
        nonlocal printed
        now = time.monotonic()
        if done + part and now - printed > seconds:
            printed = now
            left = clock((now - started) / (done + part) * (total - done - part))
            console.print(f"{unit} {done}/{total}{beside} · {left} left", soft_wrap=True, highlight=False)

    return on_done
