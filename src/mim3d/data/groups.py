"""Many small tasks in supervised processes, some at a time; whatever breaks a worker costs one task alone."""

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from mim3d.data.limits import Limits, cores
from mim3d.data.pool import Lost, supervised
from mim3d.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 64
"""Items that a worker is given at a time: enough that handing them over takes no time beside doing them."""
SHARE = 0.1
"""Of the time that a case may take, what a group of headers may."""


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """Who does small tasks, and how they are watched."""

    workers: int | None = None
    """Processes; None: one per core."""
    limits: Limits = field(default_factory=Limits)
    """Of a group, and of an item that is tried alone."""
    on_progress: Callable[[int, int], None] = lambda _done, _all: None
    """Told how many are done, of how many."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, got {self.workers}")

    @property
    def processes(self) -> int:
        """How many workers there are."""
        return self.workers or cores()


def in_a_hurry(supervision: Supervision | None) -> Supervision | None:
    """The same for headers, which take little time: what takes longer hangs."""
    if supervision is None:
        return None
    limits = replace(supervision.limits, seconds=SHARE * supervision.limits.seconds)
    return replace(supervision, limits=limits)


def in_groups(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    supervision: Supervision | None,
    most: int = MOST,
) -> Generator[tuple[Item, Result | Lost[Item]]]:
    """Each item with what `work` makes of it, or why it could not, in the order in which they finish.

    Where a worker does not survive a group, its items are tried again one by one.

    Args:
        work: Picklable; raising ends everything, but for MemoryError, which costs the item alone.
        items: Picklable.
        supervision: None: all is done in this process, in order, with nobody watching.
        most: Items that a worker is given at a time.
    """
    if supervision is None:
        yield from ((item, work(item)) for item in items)
        return
    size = max(1, min(most, len(items) // (4 * supervision.processes)))
    groups = [tuple(items[first : first + size]) for first in range(0, len(items), size)]
    done, again = 0, list[Item]()
    for group in _supervised(work, groups, supervision):
        if isinstance(group, Lost) and len(group.task) > 1:
            again += group.task
            continue
        outcomes = [(group.task[0], Lost(group.task[0], group.reason))] if isinstance(group, Lost) else group
        yield from outcomes
        done += len(outcomes)
        supervision.on_progress(done, len(items))
    if again:
        told = replace(
            supervision, on_progress=lambda more, _: supervision.on_progress(done + more, len(items))
        )
        yield from in_groups(work, again, told, most=1)


def _supervised(
    work: Callable[[Item], Result], groups: Sequence[tuple[Item, ...]], supervision: Supervision
) -> Generator[list[tuple[Item, Result]] | Lost[tuple[Item, ...]]]:
    """What becomes of each group; workers end with whoever listens."""
    each: Callable[[tuple[Item, ...]], list[tuple[Item, Result]]] = partial(_each, work)
    outcomes = supervised(each, groups, supervision.processes, supervision.limits, _unheard)
    with closing(outcomes):
        yield from outcomes


def _each(work: Callable[[Item], Result], group: Sequence[Item]) -> list[tuple[Item, Result]]:
    return [(item, work(item)) for item in group]


def _unheard() -> None:
    """In a worker: what readers warn of may name a patient, and is not shown."""
    warnings.simplefilter("ignore")
