"""DICOM: which files of a folder or an archive are slices of which volume, and each volume with its geometry.

How a header is read: `dicom_header`; what a file holds: `dicom_held`; which slices make a volume:
`dicom_stacks`; their voxels: `dicom_voxels`; files of many frames: `dicom_frames`; archives: `dicom_zip`;
what is kept of the header otherwise: `dicom_study`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data import itk
from mim3d.data.dicom_frames import flat_frame
from mim3d.data.dicom_header import GROUPS, Slice, is_dicom
from mim3d.data.dicom_held import DAMAGED, Found, found_in, headers_of, held_by, slice_at
from mim3d.data.dicom_kinds import LOCALIZER
from mim3d.data.dicom_line import step_of
from mim3d.data.dicom_stacks import Stack
from mim3d.data.dicom_study import TAGS as STUDY_TAGS
from mim3d.data.dicom_study import Study, study_of
from mim3d.data.dicom_voxels import STEEPEST, as_files, is_tilted, read_voxels, tilt_of, upright
from mim3d.data.dicom_zip import is_archive, on_disk
from mim3d.data.grids import joined
from mim3d.data.parts import Parts
from mim3d.errors import DataError


@dataclass(frozen=True, eq=False, slots=True)
class Scan:
    """A volume as it was read."""

    array: NDArray[Any]
    """Voxels (X, Y, Z) in the units of the scan; CT: HU."""
    affine: NDArray[np.float64]
    """(4, 4), voxel index to RAS+ mm."""
    modality: str
    study: Study
    note: str
    """What was changed to read it, or may be wrong with it; empty if nothing is."""


def holds_dicom(path: Path) -> bool:
    """Whether a path is a DICOM file, an archive, or leads into one of the two."""
    held = on_disk(path)
    return is_archive(held) or (held.is_file() and is_dicom(held))


def read_series(path: Path) -> Scan:
    """A volume in its units (CT: HU), upright, with what its header tells of the study.

    Args:
        path: A folder or archive with one volume, any file of a volume in either, or the number of a stack
            in a file of many frames. What is left out of scans is read if it is named.

    Raises:
        DataError: If there is no volume, several, or one that is no evenly spaced stack of whole slices.
    """
    found = look(path)
    stack = _choose(path, found.stacks)
    damaged = sum(left_out == DAMAGED for left_out in found.others.values())
    return _read(path.name, stack.slices, joined(stack.note, damage_note(damaged)))


def read_parts(name: str, parts: Parts) -> Scan:
    """`read_series` of slices that are known, opening no other file.

    Args:
        name: Of the volume, for messages.
        parts: Where its slices are.

    Raises:
        DataError: If they cannot be read any more, or are no evenly spaced stack of whole slices.
    """
    return _read(name, slices_at(name, parts), "")


def damage_note(count: int) -> str:
    """What is said of a volume beside so many files whose headers cannot be read."""
    return f"{count} damaged DICOM files beside it: slices at its ends may be missing" if count else ""


def chosen(path: Path) -> tuple[Stack, Found]:
    """The slices that `read_series` would read, by their headers; and all that was looked at.

    Raises:
        DataError: If there is no volume, or several.
    """
    found = look(path)
    return _choose(path, found.stacks), found


def slices_at(name: str, parts: Parts) -> list[Slice]:
    """Slices by their headers, in the order of their volume.

    Raises:
        DataError: If one is not there any more.
    """
    paths = parts.paths
    headers = dict(headers_of(dict.fromkeys(paths)))
    frames = parts.frames or [None] * len(paths)
    slices = [slice_at(path, headers.get(path), frame) for path, frame in zip(paths, frames, strict=True)]
    found = [one for one in slices if one is not None]
    if len(found) < len(slices):
        raise DataError(
            f"{name}: {len(slices) - len(found)} of its {len(slices)} slices cannot be read any more; leave "
            "files alone while they are prepared"
        )
    return found


def look(path: Path) -> Found:
    """What the folder or archive holds that a path is, or leads into.

    Raises:
        DataError: If an archive is refused.
    """
    held = on_disk(path)
    place = held if held.is_dir() or is_archive(held) else held.parent
    listing = sorted((one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in _entries(place))
    return _look(place, tuple(listing))


def _entries(place: Path) -> Iterator[os.DirEntry[str] | Path]:
    if place.is_dir():
        with os.scandir(place) as entries:
            yield from (one for one in entries if one.is_file() and not one.name.startswith("."))
    elif place.is_file():
        yield place


@lru_cache(maxsize=2)
def _look(place: Path, listing: tuple[tuple[str, int, int], ...]) -> Found:
    """`look`, remembered as long as names, sizes and times of the files (`listing`) stay the same."""
    if is_archive(place):
        return found_in([held_by(place)])
    files = [place / name for name, _, _ in listing]
    return found_in(held_by(file) for file in files if not is_archive(file))


def _read(name: str, slices: Sequence[Slice], note: str) -> Scan:
    """Voxels and geometry of slices in order."""
    with as_files(slices) as files:
        step = step_of(name, files)
        first = files[0]
        tilted = is_tilted(first, step, len(files))
        tilt = _tilt_note(name, tilt_of(first, step)) if tilted else ""
        array = read_voxels(files)
    position = np.asarray(first.position)
    if tilted:
        array, position, step = upright(array, first, step)
    affine = _affine(first, position, step)
    return Scan(array, affine, first.modality, _study(slices[0]), joined(tilt, note))


def _study(one: Slice) -> Study:
    """What the header of a slice tells that studies need."""
    ((_, header),) = headers_of([one.path], (*STUDY_TAGS, *GROUPS))
    if header is not None and one.frame is not None:
        header = flat_frame(header, header[GROUPS[1]].value[one.frame])
    return Study() if header is None else study_of(header)


def _meant(path: Path, stacks: tuple[Stack, ...]) -> tuple[Stack, ...]:
    """The stacks that a path may mean: those of a file or a folder; localizers and the like only if named."""
    named = tuple(one for one in stacks if path == one.path or path in (cut.path for cut in one.slices))
    if named:
        return named
    within = [one for one in stacks if path in one.path.parents]
    scans = [one for one in within if not one.left_out and not one.broken]
    return tuple(scans or [one for one in within if one.left_out != LOCALIZER])


def _choose(path: Path, stacks: tuple[Stack, ...]) -> Stack:
    """The stack meant by a folder, an archive or a file in one of them."""
    meant = _meant(path, stacks)
    if not meant:
        raise DataError(
            f"{path.name}: no slice of a DICOM volume; files with voxels, position and orientation are "
            "needed (localizers, RTSTRUCT and secondary captures are not volumes): give the folder of a "
            "series"
        )
    if len(meant) > 1:
        files = ", ".join(f"{one.path.name} ({len(one.slices)} slices)" for one in meant)
        raise DataError(
            f"{path.name}: {len(meant)} DICOM series in one folder, one is needed: give any file of the one "
            f"you mean instead, e.g. {files}"
        )
    (stack,) = meant
    if stack.broken:
        raise DataError(f"{path.name}: {stack.broken}")
    return stack


def _tilt_note(name: str, angle: float) -> str:
    """What is said of a tilted gantry.

    Raises:
        DataError: If it is tilted too far.
    """
    if angle > STEEPEST:
        raise DataError(
            f"{name}: each slice lies {angle:.0f} degrees off the normal of the one before; at most "
            f"{STEEPEST:g} are set upright: export the series again"
        )
    return f"gantry tilt of {angle:.1f} degrees set upright"


def _affine(first: Slice, position: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) to RAS+ mm of a stack from its first voxel (3,) and step (3,), LPS+ mm."""
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.orientation[:3], first.spacing[1])
    affine[:3, 1] = np.multiply(first.orientation[3:], first.spacing[0])
    affine[:3, 2] = step
    affine[:3, 3] = position
    return np.asarray(itk.LPS_TO_RAS @ affine)
