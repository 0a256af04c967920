"""Ctrl-C ends a run after the step at hand, so that it can be saved and resumed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody asked for the run to end."""

    requested: bool = False


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Note the first interrupt or termination inside; the second one acts as usual.

    Only a program's main thread hears signals; in others nothing is noted.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _: FrameType | None) -> None:
        stop.requested = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
