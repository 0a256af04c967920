"""What a preparation will take, judged by the headers of the scans; nothing is written."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from mim3d.data.dicom import slices_at
from mim3d.data.dicom_zip import on_disk
from mim3d.data.groups import Supervision, in_a_hurry, in_groups
from mim3d.data.guard import Promise, promised, require_sound
from mim3d.data.layout import Settings
from mim3d.data.prepare_case import Task
from mim3d.data.sources import Source
from mim3d.errors import DataError

SAMPLE = 200
"""Headers that are read at most, evenly spread over the scans."""
SECONDS_PER_SOURCE = 0.02e-6
"""A worker takes for a voxel of a scan as it comes: measured, see docs/preparing.md."""
SECONDS_PER_WORKING = 0.09e-6
"""A worker takes for a voxel of the working grid: measured, see docs/preparing.md."""
BYTES_PER_VOXEL = 1.2
"""Of a store's image with its half-size scales, compressed: measured, see docs/preparing.md."""
BYTES_PER_LABEL = 0.1
"""Of a label map, compressed."""


@dataclass(frozen=True)
class Estimate:
    """What a preparation will take."""

    scans: int
    """Found."""
    labelled: int
    """Of those found."""
    kept: int
    """In the store already."""
    size: int
    """Of the files to read, bytes."""
    headers: int
    """Read to judge by."""
    unreadable: int
    """Of those headers: the scans will be rejected."""
    disk: float
    """Needed for the store, bytes."""
    seconds: float
    """Needed, of one worker."""


def estimate(
    tasks: Sequence[Task],
    scans: int,
    labelled: int,
    settings: Settings,
    supervision: Supervision | None = None,
) -> Estimate:
    """What it takes to do `tasks`, of a data set of so many scans.

    Args:
        tasks: To do.
        scans: Of the data set.
        labelled: Of those.
        settings: Of the store.
        supervision: Who reads headers; None: this process, with nobody watching.
    """
    step = max(1, len(tasks) // SAMPLE)
    chosen = tasks[::step]
    found = list(in_groups(_promise, chosen, in_a_hurry(supervision)))
    needed = [_needed(task, promise, settings) for task, promise in found if isinstance(promise, Promise)]
    share = len(tasks) / len(chosen) if chosen else 0.0
    return Estimate(
        scans=scans,
        labelled=labelled,
        kept=scans - len(tasks),
        size=sum(file_size(task.source) for task in tasks),
        headers=len(found),
        unreadable=len(found) - len(needed),
        disk=share * sum(disk for disk, _ in needed),
        seconds=share * sum(seconds for _, seconds in needed),
    )


def file_size(source: Source) -> int:
    """Bytes of the files of a scan and its label map, of a folder all in it; 0 for what is not there."""
    size = 0
    for path in source.files:
        held = on_disk(path)
        with suppress(OSError):  # of a folder that may not be opened
            files = held.iterdir() if held.is_dir() else [held]
            size += sum(file.stat().st_size for file in files if file.is_file())
    return size


def header_of(source: Source) -> Promise | None:
    """What the header of a scan promises, of a DICOM volume its first and last; None if it cannot be read."""
    try:
        if source.parts is None:
            require_sound(source.image)
            return promised(source.image)
        first, last = slices_at(source.image.name, source.parts.ends)
    except DataError:
        return None
    count = len(source.parts.names)
    gap = abs(last.place - first.place) / (count - 1) if count > 1 else 0.0
    (rows, columns), (down, along) = first.size, first.spacing
    return Promise((columns, rows, count), (along, down, gap or first.thickness or 1.0), 2)


def _promise(task: Task) -> Promise | None:
    return header_of(task.source)


def _needed(task: Task, promise: Promise, settings: Settings) -> tuple[float, float]:
    """Bytes and seconds of one scan."""
    source = math.prod(promise.shape[:3])
    target = settings.spacing or promise.spacing
    sides = zip(promise.shape, promise.spacing, target, strict=False)
    working = math.prod(max(1.0, n * s / t) for n, s, t in sides)
    finer = any(s < 0.999 * t for s, t in zip(promise.spacing, target, strict=False))
    kept = working + (source if settings.keep_native and finer else 0)
    labels = BYTES_PER_LABEL * working if task.source.label is not None else 0.0
    return BYTES_PER_VOXEL * kept + labels, SECONDS_PER_SOURCE * source + SECONDS_PER_WORKING * working
