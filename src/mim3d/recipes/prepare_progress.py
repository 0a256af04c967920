"""How a preparation is going, on standard error: a bar in a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mim3d.data.prepare import State
from mim3d.train.progress import SECONDS_BETWEEN_LINES, clock

SECONDS_TO_BEAR = 5.0
"""Headers may take that long before anything is said of them."""


@contextmanager
def headers_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how many headers are read, of how many, where that takes more than five seconds."""
    begun = started = latest = printed = time.monotonic()
    before = 0
    columns = (TextColumn("headers"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=None)

    def on_headers(done: int, total: int) -> None:
        nonlocal before, latest, printed, started
        now = time.monotonic()
        started = latest if done < before else started  # begun anew: archives, or series in several folders
        before, latest = done, now
        told = describe_headers(done, total, now - started)
        if console.is_interactive and now - begun > SECONDS_TO_BEAR:
            bar.start()
            bar.update(task, completed=done, total=total, description=told)
        elif now - printed > SECONDS_TO_BEAR:
            printed = now
            console.print(f"headers {done}/{total} {told}", soft_wrap=True, highlight=False, markup=False)

    try:
        yield on_headers
    finally:
        if bar.live.is_started:  # else stopping would print an empty line
            bar.stop()


def describe_headers(done: int, total: int, seconds: float) -> str:
    """`512 files/s · 0:00:29 left`, after so many seconds."""
    left = (total - done) * seconds / max(done, 1)
    return f"{done / max(seconds, 1e-9):.0f} files/s · {clock(left)} left"


@contextmanager
def prepare_progress(console: Console) -> Iterator[Callable[[State], None]]:
    """Show progress inside; gives what `prepare_store` reports to."""
    if not console.is_interactive:
        yield _lines(console)
        return
    columns = (TextColumn("prepare"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("scans", total=None)
        seconds = _stopwatch()
        yield lambda state: bar.update(
            task, completed=state.done, total=state.total, description=describe(state, seconds())
        )


def describe(state: State, seconds: float) -> str:
    """`scans, 2 rejected · 31.5 scans/min · 12.1 MB/s · 1:02:03 left`, after so many seconds."""
    made = state.done - state.kept
    text = f"scans, {state.rejected} rejected"
    if made and seconds:
        left = (state.total - state.done) * seconds / made
        text += f" · {60 * made / seconds:.1f} scans/min · {state.size / 1e6 / seconds:.1f} MB/s"
        text += f" · {clock(left)} left"
    return text


def _stopwatch() -> Callable[[], float]:
    """Tells the seconds since it was first asked: finding the scans is no part of preparing them."""
    started: float | None = None

    def seconds() -> float:
        nonlocal started
        started = time.monotonic() if started is None else started
        return time.monotonic() - started

    return seconds


def _lines(console: Console) -> Callable[[State], None]:
    seconds, printed = _stopwatch(), 0.0

    def on_state(state: State) -> None:
        nonlocal printed
        now = seconds()
        if now - printed > SECONDS_BETWEEN_LINES:
            printed = now
            line = f"prepare {state.done}/{state.total} {describe(state, now)}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)

    return on_state
