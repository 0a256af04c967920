"""What a file or an archive holds of DICOM: slices, images without a place in space, damage."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pydicom

from mim3d.data.dicom_elements import text
from mim3d.data.dicom_frames import frame_in, num_frames
from mim3d.data.dicom_header import SUFFIXES, TAGS, Slice, is_dicom, read_header, read_slice
from mim3d.data.dicom_kinds import is_image
from mim3d.data.dicom_stacks import Stack, stacks_of
from mim3d.data.dicom_zip import is_archive, on_disk, opened_members, whole

PLACELESS = "an image without a place in space"
DAMAGED = "a DICOM file whose header cannot be read"
MOST_VOLUMES = 1000
"""In one archive, or one file of frames: reading any of them takes a look at all."""
CROWDED = f"more volumes in one file than are taken ({MOST_VOLUMES}): take it apart yourself if you trust it"


@dataclass(frozen=True, slots=True)
class Held:
    """What headers tell of a file, or of all files in an archive."""

    slices: tuple[Slice, ...] = ()
    placeless: tuple[tuple[str, Path], ...] = ()
    """Series and file of images without a place."""
    refused: tuple[tuple[Path, str], ...] = ()
    """Files of which nothing is taken, and why."""


class Found(NamedTuple):
    """What a folder or an archive holds."""

    stacks: tuple[Stack, ...]
    others: dict[Path, str]
    """What cannot be a slice, and why: a file of each series of images without a place, damaged files."""


def held_by(path: Path) -> Held:
    """What a file holds; nothing if it is no DICOM.

    Raises:
        DataError: If it is an archive that is refused.
    """
    if is_archive(path):
        return _bounded(path, _in_archive(path))
    return _of_header(path, read_header(path)) if is_dicom(path) else Held()


def found_in(held: Iterable[Held]) -> Found:
    """Volumes and what else there is in several files."""
    slices: list[Slice] = []
    placeless: dict[str, Path] = {}
    refused: dict[Path, str] = {}
    for one in held:
        slices += one.slices
        refused.update(one.refused)
        for series, path in one.placeless:
            placeless.setdefault(series, path)
    return Found(stacks_of(slices), {**refused, **dict.fromkeys(placeless.values(), PLACELESS)})


def headers_of(
    paths: Collection[Path], tags: Iterable[str] = TAGS
) -> Iterator[tuple[Path, pydicom.Dataset | None]]:
    """Headers of files on disk, or of files in one archive, None where one cannot be read.

    Raises:
        DataError: If the archive is refused.
    """
    held = on_disk(next(iter(paths)))
    if held in paths:
        yield from ((path, read_header(path, tags)) for path in paths)
        return
    with whole(held):
        for path, file in opened_members(held, paths):
            yield path, read_header(path, tags, file)


def slice_at(path: Path, header: pydicom.Dataset | None, frame: int | None) -> Slice | None:
    """The slice that a file, or one frame of it, is by its header; None if it is none."""
    if header is None:
        return None
    return read_slice(path, header) if frame is None else frame_in(path, header, frame)


def _of_header(path: Path, header: pydicom.Dataset | None) -> Held:
    """What a file holds by its header, None where that cannot be read."""
    if header is None:
        return Held(refused=((path, DAMAGED),))
    if not is_image(header):
        return Held()
    numbers = range(num_frames(header)) or [None]
    found = (slice_at(path, header, number) for number in numbers)
    slices = tuple(one for one in found if one is not None)
    placeless = () if slices else ((text(header, "SeriesInstanceUID"), path),)
    return _bounded(path, Held(slices, placeless))


def _bounded(path: Path, held: Held) -> Held:
    """What an archive, or a file of frames, holds, if that is not too many volumes."""
    many = len(held.slices) > MOST_VOLUMES and len(stacks_of(held.slices)) > MOST_VOLUMES
    return Held(refused=((path, CROWDED),)) if many else held


def _in_archive(archive: Path) -> Held:
    """What the files in an archive hold."""
    slices: list[Slice] = []
    placeless: list[tuple[str, Path]] = []
    refused: list[tuple[Path, str]] = []
    with whole(archive):
        for path, file in opened_members(archive):
            if path.suffix.lower() in SUFFIXES or file.read(132)[128:] == b"DICM":
                file.seek(0)
                one = _of_header(path, read_header(path, TAGS, file))
                slices += one.slices
                placeless += one.placeless
                refused += one.refused
    return Held(tuple(slices), tuple(placeless), tuple(refused))
