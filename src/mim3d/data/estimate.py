"""What a preparation will take, judged by the headers of the scans; nothing is written."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mim3d.data.dicom import holds_dicom, slices_at
from mim3d.data.dicom_zip import on_disk
from mim3d.data.groups import Supervision, in_a_hurry, in_groups
from mim3d.data.guard import Promise, promised, require_sound
from mim3d.data.images import image_at
from mim3d.data.layout import Settings
from mim3d.data.prepare_case import Task
from mim3d.data.sources import Source
from mim3d.errors import DataError

SAMPLE = 200
"""Headers that are read at most, evenly spread over the scans."""
# What a worker takes, s of one core: measured, see docs/preparing.md.
SECONDS_PER_SOURCE = 0.0045e-6
"""To read a voxel of a scan as it comes, not compressed."""
SECONDS_PER_PACKED = 0.012e-6
"""To read a voxel of a scan, or of a label map, that is compressed."""
SECONDS_PER_SLICE = 0.003
"""For the header of a DICOM slice, which is read when scans are looked for, and when they are prepared."""
SECONDS_PER_RESAMPLED = 0.006e-6
"""To make a voxel of the working grid by interpolation."""
SECONDS_PER_KEPT = 0.013e-6
"""To measure, compress and write a voxel."""
SECONDS_PER_LABEL = 0.025e-6
"""The same of a label map."""
SECONDS_PER_STRUCTURE = 0.0012e-6
"""More of that for each structure of its label set."""
PACKED = 0.95
"""Files smaller than this share of their voxels are compressed."""
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
    left_out: int = 0
    """Found, and known to be rejected: no scans, copies, or unreadable."""


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
    step = max(1, math.ceil(len(tasks) / SAMPLE))
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
    parts = source.parts
    if parts is None and (source.image.is_dir() or holds_dicom(source.image)):
        image = image_at(source.image)
        parts = None if image is None else image.parts
    try:
        if parts is None:
            require_sound(source.image)
            return promised(source.image)
        first, last = slices_at(source.image.name, parts.ends)
    except DataError:
        return None
    count = len(parts.names)
    gap = abs(last.place - first.place) / (count - 1) if count > 1 else 0.0
    (rows, columns), (down, along) = first.size, first.spacing
    return Promise((columns, rows, count), (along, down, gap or first.thickness or 1.0), 2)


def _promise(task: Task) -> Promise | None:
    return header_of(task.source)


def _needed(task: Task, promise: Promise, settings: Settings) -> tuple[float, float]:
    """Bytes and seconds of one scan."""
    target = settings.spacing or promise.spacing
    sides = list(zip(promise.shape, promise.spacing, target, strict=False))
    source = math.prod(promise.shape[:3])
    working = math.prod(max(1.0, n * s / t) for n, s, t in sides)
    finer = settings.keep_native and any(s < 0.999 * t for _, s, t in sides)
    kept = working + (source if finer else 0)
    each = kept * SECONDS_PER_KEPT + source * _seconds_to_read(task.source, promise)
    if any(abs(s - t) > 0.001 * t for _, s, t in sides):
        each += working * SECONDS_PER_RESAMPLED
    channels = _channels(task.source, promise)
    disk, seconds = _of_labels(task, source, working)
    return channels * kept * BYTES_PER_VOXEL + disk, channels * each + seconds


def _channels(source: Source, promise: Promise) -> int:
    """How many volumes a case is made of."""
    of_file = promise.shape[3] if source.channel == "all" and len(promise.shape) > 3 else 1
    return of_file * (1 + len(source.more))


def _seconds_to_read(source: Source, promise: Promise) -> float:
    """For a voxel of a scan as it comes."""
    files = file_size(replace(source, label=None))
    packed = files < PACKED * promise.size * (1 + len(source.more))
    slices = len(source.parts.names) if source.parts is not None else 0
    each = slices * SECONDS_PER_SLICE / math.prod(promise.shape[:3])
    return each + (SECONDS_PER_PACKED if packed else SECONDS_PER_SOURCE)


def _of_labels(task: Task, source: float, working: float) -> tuple[float, float]:
    """Bytes and seconds of a scan's label map, of so many voxels as it comes and as it is kept."""
    if task.label_set is None:
        return 0.0, 0.0
    each = SECONDS_PER_LABEL + len(task.label_set.structures) * SECONDS_PER_STRUCTURE
    return working * BYTES_PER_LABEL, source * SECONDS_PER_PACKED + working * each
