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


@dataclass(frozen=True, slots=True)
class Held:
    """What headers tell of a file, or of all files in an archive."""

    slices: tuple[Slice, ...] = ()
    placeless: tuple[tuple[str, Path], ...] = ()
    """Series and file of images without a place."""
    damaged: tuple[Path, ...] = ()


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
        return _in_archive(path)
    return _of_header(path, read_header(path)) if is_dicom(path) else Held()


def found_in(held: Iterable[Held]) -> Found:
    """Volumes and what else there is in several files."""
    slices: list[Slice] = []
    placeless: dict[str, Path] = {}
    damaged: list[Path] = []
    for one in held:
        slices += one.slices
        damaged += one.damaged
        for series, path in one.placeless:
            placeless.setdefault(series, path)
    others = {**dict.fromkeys(damaged, DAMAGED), **dict.fromkeys(placeless.values(), PLACELESS)}
    return Found(stacks_of(slices), others)


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
        return Held(damaged=(path,))
    if not is_image(header):
        return Held()
    numbers = range(num_frames(header)) or [None]
    found = (slice_at(path, header, number) for number in numbers)
    slices = tuple(one for one in found if one is not None)
    return Held(slices, () if slices else ((text(header, "SeriesInstanceUID"), path),))


def _in_archive(archive: Path) -> Held:
    """What the files in an archive hold."""
    slices: list[Slice] = []
    placeless: list[tuple[str, Path]] = []
    damaged: list[Path] = []
    with whole(archive):
        for path, file in opened_members(archive):
            if path.suffix.lower() in SUFFIXES or file.read(132)[128:] == b"DICM":
                file.seek(0)
                one = _of_header(path, read_header(path, TAGS, file))
                slices += one.slices
                placeless += one.placeless
                damaged += one.damaged
    return Held(tuple(slices), tuple(placeless), tuple(damaged))
