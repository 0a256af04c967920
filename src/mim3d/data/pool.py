"""Many tasks in processes of their own: results as they come, and a clear error where a process is killed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from mim3d.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    initializer: Callable[[], None] | None = None,
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
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(work, tasks)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("forkserver"), initializer=initializer)
    try:
        for future in as_completed([pool.submit(work, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"a worker process of {workers} was ended from outside, most likely for want of memory; what is "
            "done is kept: run it again with fewer workers (in a script of your own, call it below "
            '`if __name__ == "__main__":`, or with one worker)'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
