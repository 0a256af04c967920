"""Jobs in processes of their own, some at a time, each with a share of the threads and a log.

A process that was told to stop saves what it does and ends; one whose parent is gone ends at once, so that
nobody writes into its folder when the work is taken up again.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import torch

from mim3d.errors import Interruption
from mim3d.recipes.job_process import BROKEN, STOPPED, Job, in_process
from mim3d.train.interrupt import Stop, stop_on_signal
from mim3d.train.loop import TrainingError

SECONDS = 0.5
"""Between looks at whether to stop."""


@dataclass(frozen=True, slots=True)
class _Running:
    job: Job
    process: SpawnProcess
    said: Connection


def run_side_by_side(jobs: Sequence[Job], at_once: int) -> Iterator[Job]:
    """Do all jobs, some at a time; yields each when it is done.

    Where one fails, the others are told to stop, and its error is raised.

    Raises:
        Interruption: If the user asked to stop; the jobs were told so.
        TrainingError: If a job failed by an error of the user's, or was killed.
        RuntimeError: If one failed by an error of ours.
    """
    waiting, running = list(jobs), list[_Running]()
    threads = max(torch.get_num_threads() // at_once, 1)
    with stop_on_signal() as stop:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(_start(waiting.pop(0), threads))
                _wait(running, stop)
                for one in [one for one in running if not one.process.is_alive()]:
                    running.remove(one)
                    _refuse_failure(one)
                    yield one.job
        finally:
            _end(running)


def _start(job: Job, threads: int) -> _Running:
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=in_process, args=(job, sending), name=job.name)
    with _environment(OMP_NUM_THREADS=str(threads)):
        process.start()
    sending.close()
    return _Running(job, process, receiving)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """What processes that are started meanwhile find in their environment."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _wait(running: Sequence[_Running], stop: Stop) -> None:
    """Until one has ended, or for a moment."""
    if stop.requested:
        raise Interruption("stopped; the runs at hand are saved")
    connection.wait([one.process.sentinel for one in running], timeout=SECONDS)


def _refuse_failure(ended: _Running) -> None:
    ended.process.join()
    status = ended.process.exitcode
    if status == 0:
        return
    if status == STOPPED:
        raise Interruption(f"{ended.job.name}: was told to stop, and is saved")
    reason = f"ended with status {status}"
    with suppress(EOFError, OSError):
        if ended.said.poll():
            reason = ended.said.recv()
    said = f"{ended.job.name}: {reason} (its log: {ended.job.log})"
    raise RuntimeError(said) if status == BROKEN else TrainingError(said)


def _end(running: Sequence[_Running]) -> None:
    """Tell those that are left to stop, and wait until they have saved what they do."""
    for one in running:
        one.process.terminate()
    for one in running:
        one.process.join()
