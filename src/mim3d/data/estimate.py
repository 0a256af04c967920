"""What a preparation will take, judged by the headers of the scans; nothing is written."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mim3d.data.dicom import is_dicom, stack_of
from mim3d.data.dicom_header import read_header
from mim3d.data.dicom_zip import is_archive, on_disk
from mim3d.data.guard import Promise, promised
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
_TAGS = ["Rows", "Columns", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness"]


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


def estimate(tasks: Sequence[Task], scans: int, labelled: int, settings: Settings) -> Estimate:
    """What it takes to do `tasks`, of a data set of so many scans."""
    step = max(1, len(tasks) // SAMPLE)
    chosen = tasks[::step]
    sharing = Counter(task.source.image.parent for task in tasks)
    found = [(task, header_of(task.source.image, sharing[task.source.image.parent])) for task in chosen]
    needed = [_needed(task, promise, settings) for task, promise in found if promise is not None]
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
        files = held.iterdir() if held.is_dir() else [held]
        size += sum(file.stat().st_size for file in files if file.is_file())
    return size


def header_of(path: Path, sharing: int = 1) -> Promise | None:
    """What the header of a scan promises, of a DICOM series by its first slice; None if it cannot be read.

    Args:
        path: A scan.
        sharing: How many scans lie in the folder of `path`: DICOM series share its files.
    """
    if is_archive(path) or on_disk(path) != path:
        return _of_stack(path)
    if not path.is_dir() and not is_dicom(path):
        return promised(path)
    folder = path if path.is_dir() else path.parent
    files = [file for file in sorted(folder.iterdir()) if is_dicom(file)]
    header = read_header(path if path.is_file() else files[0], _TAGS) if files else None
    if header is None:
        return None
    try:
        down, along = map(float, header.PixelSpacing)
        slices = len(files) if path.is_dir() else max(1, len(files) // sharing)
        return Promise((int(header.Columns), int(header.Rows), slices), (along, down, _thickness(header)), 2)
    except (AttributeError, TypeError, ValueError):
        return None


def _of_stack(path: Path) -> Promise | None:
    """What the headers of a volume in an archive, or of frames in one file, promise."""
    try:
        slices = stack_of(path).slices
    except DataError:
        return None
    (rows, columns), (down, along) = slices[0].size, slices[0].spacing
    gap = abs(slices[-1].place - slices[0].place) / (len(slices) - 1) if len(slices) > 1 else 0.0
    return Promise((columns, rows, len(slices)), (along, down, gap or slices[0].thickness or 1.0), 2)


def _thickness(header: object) -> float:
    """From slice to slice, mm; 1 where it is not given."""
    given = getattr(header, "SpacingBetweenSlices", None) or getattr(header, "SliceThickness", None)
    return float(given or 1.0)


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
