"""`mim3d prepare --dry-run`: what there is, and what disk and time it needs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from mim3d.data.estimate import Estimate
from mim3d.data.limits import bytes_in_words, cores
from mim3d.train.progress import clock


def estimate_lines(found: Estimate, store: Path, workers: int | None) -> Iterator[str]:
    """What a preparation will take, in lines for the user."""
    free, workers = _free(store), workers or cores()
    yield f"{found.scans} scans found, {found.labelled} labelled, {found.kept} in the store already"
    if found.left_out:
        yield f"{found.left_out} left out already: no scans, copies of others, or not readable"
    yield f"to read: {bytes_in_words(found.size)}"
    enough = "" if found.disk < free else ": not enough"
    yield f"disk needed: about {bytes_in_words(found.disk)}; {bytes_in_words(free)} are free{enough}"
    time = clock(found.seconds / workers)
    yield f"time needed: about {time} by {workers} workers, if their cores are as those of docs/preparing.md"
    yield f"judged by {found.headers} headers, of which {found.unreadable} cannot be read"


def _free(store: Path) -> int:
    """Bytes that are free where the store is to be."""
    there = next(path for path in (store.absolute(), *store.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
