"""One preparation or copy at a time: two that write into one store would undo each other's work."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mim3d.errors import StoreError


@contextmanager
def alone(store: Path, private: Path) -> Iterator[None]:
    """Hold the right to write into a store; the system takes it back when this process ends, however it ends.

    Where the file system knows no locks, nothing is held.

    Raises:
        StoreError: If another process holds it.
    """
    with (private / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"{store}: another preparation or copy is writing into it; wait until it has ended, then "
                "run the same command again"
            ) from error
        except OSError:  # some network file systems know no locks
            yield
            return
        yield
