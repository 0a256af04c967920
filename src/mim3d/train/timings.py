"""How long each step took, and how much of that it waited for data: a row of RUN/timings.csv."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Wall time of one step, to the microsecond."""

    seconds: float
    """From the moment the step before was over to the end of this one."""
    waiting: float
    """Seconds of it spent waiting for the batch."""


class StepTimer:
    """Times step after step; the first one begins when the timer is made."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.waiting = 0.0

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the time until each is there counts as waiting."""
        asked = time.monotonic()
        for batch in batches:
            self.waiting += time.monotonic() - asked
            yield batch
            asked = time.monotonic()

    def lap(self) -> Timing:
        """The timing of the step that ends now; the next one begins."""
        now = time.monotonic()
        timing = Timing(seconds=round(now - self.begun, 6), waiting=round(self.waiting, 6))
        self.begun, self.waiting = now, 0.0
        return timing


def share_waited(waiting: float, seconds: float) -> str:
    """The share of a time that was spent waiting, both in seconds, e.g. `0.4 %`."""
    return f"{100 * waiting / max(seconds, 1e-9):.1f} %"
