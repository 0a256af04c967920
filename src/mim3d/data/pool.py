"""Many tasks in processes of their own, each supervised: whatever ends a worker costs the task in its hands.

A worker is a process that takes one task after another from a pipe. Where it crashes, is killed, or takes too
long, its task is given up with the reason, and a new worker takes its place. When whoever started a worker
ends, in whatever way, so does the worker.
"""

import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, get_context, resource_tracker, set_start_method
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import ModuleType
from typing import Any, Generic, TypeVar

from mim3d.data.limits import GB, Limits, limit_memory
from mim3d.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")
Initializer = Callable[[], None] | None

PRELOADED = "mim3d.data.volume"
"""Imported once for all workers: what reads scans. TensorStore does not bear being forked."""
_STARTING = threading.Lock()
_READY, _DONE, _TOO_LARGE, _FAILED = range(4)


@dataclass(frozen=True)
class Lost(Generic[Task]):
    """A task that could not be finished, since its worker did not survive it."""

    task: Task
    reason: str


@dataclass
class _Worker:
    """A process, the pipe to it, and what it is doing."""

    process: ForkServerProcess
    channel: Connection
    task: Any = None
    busy: bool = False
    deadline: float = float("inf")
    """By the monotonic clock, s."""


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int, initializer: Initializer = None
) -> Iterator[Result]:
    """What `work` makes of each task, in the order in which they finish; with one worker, in this process.

    Args:
        work: Picklable.
        tasks: Picklable.
        workers: Processes, at most one a task is used.
        initializer: Called first in each process other than this one.

    Raises:
        DataError: If a process is killed, as systems do that run out of memory.
    """
    if min(workers, len(tasks)) <= 1:
        yield from map(work, tasks)
        return
    for outcome in supervised(work, tasks, workers, initializer=initializer):
        if isinstance(outcome, Lost):
            raise DataError(f"{outcome.reason}; what is done is kept: run it again with fewer workers")
        yield outcome


def supervised(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    limits: Limits | None = None,
    initializer: Initializer = None,
) -> Generator[Result | Lost[Task]]:
    """What `work` makes of each task, or why it could not, in the order in which they finish.

    Args:
        work: Picklable; raising ends everything, but for MemoryError, which costs the task alone.
        tasks: Picklable.
        workers: Processes, at most one a task is used; also one is a process of its own.
        limits: Of each task; None: as long and as much as it wants.
        initializer: Called first in each process.
    """
    waiting = deque(tasks)
    given = (work, limits.shared_by(workers) if limits is not None else None, initializer)
    pool = [_start(*given) for _ in range(min(workers, len(tasks)))]
    try:
        while pool:
            for worker in _until_one_speaks(pool):
                outcomes, lives = _hear(worker, given[1])
                yield from outcomes
                if not lives:
                    pool.remove(worker)
                    pool += [_start(*given)] if len(pool) < len(waiting) else []
                elif not _give(worker, waiting, given[1]):
                    pool.remove(worker)
                    _end(worker)
    finally:
        for worker in pool:
            _end(worker)


def _start(work: Callable[[Any], Any], limits: Limits | None, initializer: Initializer) -> _Worker:
    context = get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, limits, initializer))
    with _STARTING, _no_main(), _may_have_children():
        _start_server()
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _start_server() -> None:
    """Start what workers are forked from, if it does not run yet, so that no interrupt reaches it.

    While it imports, an interrupt from the keyboard, which all processes of a terminal get, would end it with
    a traceback of its own. What a process blocks as it starts, its children block too.
    """
    resource_tracker.ensure_running()  # first, as it lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _until_one_speaks(pool: list[_Worker]) -> list[_Worker]:
    """The workers that have something to say, have ended, or are late."""
    while True:
        soonest = min(worker.deadline for worker in pool)
        patience = None if soonest == float("inf") else max(soonest - time.monotonic(), 0.0)
        speaking = wait([worker.channel for worker in pool], patience)
        now = time.monotonic()
        found = [worker for worker in pool if worker.channel in speaking or now > worker.deadline]
        if found:
            return found


def _hear(worker: _Worker, limits: Limits | None) -> tuple[list[Any], bool]:
    """The outcome of the worker's task, if it had one, and whether the worker lives on."""
    kind, content = _FAILED, None
    try:
        if worker.channel.poll():
            kind, content = worker.channel.recv()
        else:
            assert limits is not None
            _end(worker)
            late = f"took longer than {limits.seconds:g} s; if it needs more, raise --case-seconds"
            return [Lost(worker.task, late)], False
    except (EOFError, OSError):
        _end(worker, gently=True)
        return [_lost(worker)], False
    if kind == _FAILED:
        assert isinstance(content, BaseException)
        raise content
    if kind == _TOO_LARGE:
        return [Lost(worker.task, too_large(limits))], True
    return [content] if kind == _DONE else [], True


def _give(worker: _Worker, waiting: deque[Any], limits: Limits | None) -> bool:
    """Hand the next task to a worker, if there is one."""
    if not waiting:
        return False
    worker.task, worker.busy = waiting.popleft(), True
    worker.deadline = time.monotonic() + limits.seconds if limits is not None else float("inf")
    with suppress(OSError):  # that it has ended is seen where it is heard
        worker.channel.send(worker.task)
    return True


def too_large(limits: Limits | None) -> str:
    """Why a task was given up that ran out of memory."""
    if limits is None or limits.memory is None:
        return "needs more memory than there is"
    return (
        f"needs more than the {limits.memory / GB:.3g} GB of memory that a case may take; take fewer workers "
        "or raise --case-memory, or leave it out"
    )


def _lost(worker: _Worker) -> Lost[Any]:
    """The task of a worker that has ended by itself, or was ended from outside, and how it ended."""
    code = worker.process.exitcode
    how = f"with status {code}" if code is None or code >= 0 else f"by {signal.Signals(-code).name}"
    if not worker.busy:
        raise DataError(f"a worker process ended {how} before it could begin; look for what forbids it")
    if code == -signal.SIGKILL:
        return Lost(worker.task, "its worker process was killed from outside, most likely for want of memory")
    return Lost(worker.task, f"its worker process crashed, ended {how}: the file breaks what reads it")


def _end(worker: _Worker, *, gently: bool = False) -> None:
    """See to it that a worker is gone; `gently`: it is going by itself."""
    if gently:
        worker.process.join(5.0)
    worker.process.kill()
    worker.process.join()
    worker.channel.close()


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep workers from running the user's script again: nothing that they do is defined there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _may_have_children() -> Iterator[None]:
    """Let a daemonic process, such as a Dask worker, start others: ours end with it without being told."""
    config: dict[str, Any] = getattr(sys.modules["multiprocessing.process"].current_process(), "_config")  # noqa: B009
    daemon = config.pop("daemon", None)
    try:
        yield
    finally:
        config.update({} if daemon is None else {"daemon": daemon})


def _serve(
    channel: Connection, work: Callable[[Any], Any], limits: Limits | None, initializer: Initializer
) -> None:
    """In a worker: do what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us is told, and ends us
    set_start_method("fork", force=True)  # the locks that libraries make leave nothing behind then
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(channel, tasks), daemon=True).start()
    if initializer is not None:
        initializer()
    if limits is not None and limits.memory is not None:
        limit_memory(limits.memory)
    with suppress(BrokenPipeError):  # nobody is there to be told any more
        channel.send((_READY, None))
        while True:
            channel.send(_outcome(work, tasks.get()))


def _receive(channel: Connection, tasks: "queue.SimpleQueue[Any]") -> None:
    """Pass tasks on; when whoever sends them is gone, end at once, whatever is being done."""
    try:
        while True:
            tasks.put(channel.recv())
    except (EOFError, OSError):
        os._exit(0)


def _outcome(work: Callable[[Any], Any], task: Any) -> tuple[int, Any]:
    try:
        return _DONE, work(task)
    except MemoryError:
        return _TOO_LARGE, None
    except BaseException as error:
        error.add_note(traceback.format_exc())
        return _FAILED, error
