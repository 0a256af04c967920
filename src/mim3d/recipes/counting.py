"""How work on many cases is going: a bar in a terminal, a line every ten seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mim3d.recipes.run import say
from mim3d.train.progress import SECONDS_BETWEEN_LINES, clock

Count = Callable[[int, int, str], None]
"""Called with what is done, all there is to do, and what to say beside."""


@contextmanager
def counted(work: str, unit: str) -> Iterator[Count]:
    """Shows how many of a number of things are done, and the time left."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(work, unit)
        return
    columns = (
        TextColumn(work),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + "{task.fields[beside]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(work, total=None, beside="")
        yield lambda done, total, beside: bar.update(task, completed=done, total=total, beside=beside)


def _lines(work: str, unit: str) -> Count:
    started = printed = time.monotonic()

    def on_count(done: int, total: int, beside: str) -> None:
        nonlocal printed
        now = time.monotonic()
        if done and now - printed > SECONDS_BETWEEN_LINES:
            printed = now
            left = clock((now - started) / done * (total - done))
            say(f"{work}: {done}/{total} {unit}{beside} · {left} left")

    return on_count
