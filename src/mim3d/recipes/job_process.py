"""What happens in a process that does one job; it needs nothing that takes long to load."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path

from mim3d.errors import Interruption, MimError

STOPPED, REFUSED, BROKEN = 130, 2, 1
"""Exit statuses: stopped and saved; an error of the user's; one of ours, whose traceback is in the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What one process does."""

    name: str
    log: Path
    """Where its output goes."""
    work: Callable[[], object]
    """Picklable: it goes to another process."""


def in_process(job: Job, said: Connection) -> None:
    """The work of a process, from begin to end; an error is told to who waits for it."""
    os.setsid()  # Ctrl-C is for the parent, which tells everybody to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with job.log.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.exit(_status_of(job, said))


def _status_of(job: Job, said: Connection) -> int:
    try:
        job.work()
    except (Interruption, KeyboardInterrupt):
        return STOPPED
    except MimError as error:
        said.send(str(error))
        return REFUSED
    except Exception as error:
        traceback.print_exc()
        said.send(f"{type(error).__name__}: {error}")
        return BROKEN
    return 0


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
