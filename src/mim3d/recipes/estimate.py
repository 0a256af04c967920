"""`mim3d prepare --dry-run`: what there is, and what disk and time it needs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mim3d.data.estimate import Estimate
from mim3d.data.limits import GB
from mim3d.data.prepare import estimate_store
from mim3d.data.splits import Shares
from mim3d.geometry import triple


def estimate_prepare(
    raw: Path,
    store: Path,
    /,
    *,
    spacing: tuple[float, ...] | Literal["native"] = (1.5,),
    keep_native: bool = False,
    val_share: float = 0.2,
    test_share: float = 0.0,
    workers: int | None = None,
) -> list[str]:
    """What `prepare` with the same arguments would find and take, in lines; nothing is written."""
    found = estimate_store(
        raw,
        store,
        spacing="native" if spacing == "native" else triple(spacing),
        keep_native=keep_native,
        shares=Shares(val_share, test_share),
    )
    return list(_lines(found, _free(store), workers or os.cpu_count() or 1))


def _lines(found: Estimate, free: int, workers: int) -> Iterator[str]:
    """In lines for the user; `free`: bytes of the disk that are."""
    yield f"{found.scans} scans found, {found.labelled} labelled, {found.kept} in the store already"
    yield f"to read: {found.size / GB:.3g} GB"
    enough = "" if found.disk < free else ": not enough"
    yield f"disk needed: about {found.disk / GB:.3g} GB; {free / GB:.3g} GB are free{enough}"
    minutes = found.seconds / workers / 60
    yield f"time needed: about {minutes:.2g} min by {workers} workers, if their cores are as fast as ours"
    yield f"judged by {found.headers} headers, of which {found.unreadable} cannot be read"


def _free(store: Path) -> int:
    """Bytes that are free where the store is to be."""
    there = next(path for path in (store.absolute(), *store.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
