"""Many tasks on many machines, through the scheduler of a Dask cluster; each is supervised where it is done.

Everything that a task names must lie on a file system that all machines share, under the same path.
"""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TypeVar

from mim3d.data.limits import MEMORY, Limits
from mim3d.data.pool import Initializer, Lost, supervised
from mim3d.errors import ConfigError

Task = TypeVar("Task")
Result = TypeVar("Result")

SECONDS_TO_CONNECT = 10


def through_dask(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    address: str,
    limits: Limits,
    initializer: Initializer = None,
) -> Generator[Result | Lost[Task]]:
    """What `work` makes of each task, or why it could not, in the order in which they finish.

    A task whose Dask worker is lost is given to another one; after several it is given up. Each is done in a
    process of its own beside the Dask worker, so that its limits hold, and a crash costs it alone.

    Args:
        work: Picklable.
        tasks: Picklable.
        address: Of the scheduler, e.g. `tcp://node17:8786`.
        limits: Of each task; memory where it is None: the Dask worker's, shared by its threads.
        initializer: Called first in each process.

    Raises:
        ConfigError: If Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client, KilledWorker, as_completed  # noqa: PLC0415  an optional dependency
    except ImportError as error:
        raise ConfigError(
            "scheduler: Dask is not installed; install it here and on all machines: pip install 'mim3d[dask]'"
        ) from error
    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"scheduler: none answers at {address}; give the address that `dask scheduler` prints"
        ) from error
    with client:
        one = partial(_supervised, work, limits, initializer)
        task_of = dict(zip(client.map(one, tasks, pure=False), tasks, strict=True))
        for future in as_completed(list(task_of)):
            task = task_of.pop(future)
            try:
                yield future.result()
            except KilledWorker:
                yield Lost(task, "every Dask worker that took it was lost; look into their logs")


def _supervised(
    work: Callable[[Task], Result], limits: Limits, initializer: Initializer, task: Task
) -> Result | Lost[Task]:
    """In a thread of a Dask worker: one task in a process of its own."""
    from distributed import get_worker  # noqa: PLC0415  an optional dependency

    worker = get_worker()
    whole = worker.memory_manager.memory_limit or MEMORY * worker.state.nthreads
    memory = limits.memory or min(MEMORY, whole // worker.state.nthreads)
    (outcome,) = supervised(work, [task], 1, Limits(limits.seconds, memory), initializer)
    return outcome
