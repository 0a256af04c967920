"""What a worker runs for each scan: it is prepared, unless it leads out of the data folder."""

import warnings
from pathlib import Path

import SimpleITK
from threadpoolctl import threadpool_limits

from mim3d.data.catalog import Case, Rejected
from mim3d.data.guard import require_within
from mim3d.data.limits import give_back_freed_memory
from mim3d.data.prepare_case import Task, anonymous, prepare_case
from mim3d.errors import DataError


def prepare_within(folder: Path | None, task: Task) -> Case | Rejected:
    """Write one case into the store, or say why it cannot be one.

    Args:
        folder: That symbolic links must not leave; None: they may lead anywhere.
        task: The scan.

    Raises:
        MemoryError: If there is too little.
        StoreError: If the store cannot be written.
    """
    try:
        if folder is not None:
            for path in task.source.files:
                require_within(path, folder)
    except (DataError, OSError) as error:
        return Rejected(key=task.key, reason=anonymous(str(error), task.source))
    try:
        return prepare_case(task)
    finally:
        give_back_freed_memory()


def begin_worker() -> None:
    """One scan a worker, one thread a scan; what readers warn of may name a patient, and is not shown."""
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threadpool_limits(1)
    warnings.simplefilter("ignore")
