"""DICOM: which files of a folder or an archive are slices of which volume, and each volume with its geometry.

How a header is read: `dicom_header`; which slices make a volume: `dicom_stacks`; their voxels:
`dicom_voxels`; files of many frames: `dicom_frames`; archives: `dicom_zip`; what is kept of the header
otherwise: `dicom_study`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray

from mim3d.data import itk
from mim3d.data.dicom_elements import text
from mim3d.data.dicom_frames import flat_frame, frames_in, has_frames
from mim3d.data.dicom_header import GROUPS, SUFFIXES, TAGS, Slice, is_dicom, read_header, read_slice
from mim3d.data.dicom_kinds import LOCALIZER, is_image
from mim3d.data.dicom_stacks import Stack, stacks_of, step_of
from mim3d.data.dicom_study import TAGS as STUDY_TAGS
from mim3d.data.dicom_study import Study, study_of
from mim3d.data.dicom_voxels import STEEPEST, as_files, is_tilted, read_voxels, tilt_of, upright
from mim3d.data.dicom_zip import is_archive, on_disk, opened_members, whole
from mim3d.errors import DataError

__all__ = [
    "Scan",
    "Stack",
    "holds_dicom",
    "identify",
    "is_dicom",
    "left_out_in",
    "read_series",
    "scans_in",
    "stack_of",
]

PLACELESS = "an image without a place in space"
DAMAGED = "a DICOM file whose header cannot be read"


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


class Found(NamedTuple):
    """What a folder or an archive holds."""

    stacks: tuple[Stack, ...]
    others: dict[Path, str]
    """What cannot be a slice, and why: a file of each series of images without a place, damaged files."""


def holds_dicom(path: Path) -> bool:
    """Whether a path is a DICOM file, an archive, or leads into one of the two."""
    held = on_disk(path)
    return is_archive(held) or (held.is_file() and is_dicom(held))


def read_series(path: Path) -> Scan:
    """A volume in its units (CT: HU), upright, with what its header tells of the study.

    Args:
        path: A folder or archive with one volume, any file of a volume in either, or the number of a stack
            in a file of many frames, as `scans_in` gives them. What is left out is read if it is named.

    Raises:
        DataError: If there is no volume, several, or one that is no evenly spaced stack of whole slices.
    """
    found = look(path)
    stack = _choose(path, found.stacks)
    with as_files(stack.slices) as slices:
        step = step_of(path.name, slices)
        first = slices[0]
        tilted = is_tilted(first, step, len(slices))
        notes = [_tilt_note(path, tilt_of(first, step))] if tilted else []
        array = read_voxels(slices)
    position = np.asarray(first.position)
    if tilted:
        array, position, step = upright(array, first, step)
    affine = _affine(first, position, step)
    damaged = sum(left_out == DAMAGED for left_out in found.others.values())
    if damaged:
        notes.append(f"{damaged} damaged DICOM files beside it: slices at its ends may be missing")
    return Scan(array, affine, first.modality, _study(stack.slices[0]), "; ".join(notes))


def stack_of(path: Path) -> Stack:
    """The slices that `read_series` would read, by their headers.

    Raises:
        DataError: If there is no volume, or several.
    """
    return _choose(path, look(path).stacks)


def identify(path: Path) -> tuple[str, str]:
    """PatientID and StudyInstanceUID of the volume that a path names, or of the first; empty if none."""
    try:
        stacks = look(path).stacks
    except DataError:
        return "", ""
    named = _meant(path, stacks) or stacks
    return (named[0].slices[0].patient, named[0].slices[0].study) if named else ("", "")


def scans_in(place: Path, *, derived: bool = False) -> list[Path]:
    """What stands for each volume of a folder or an archive: itself, if it holds one, else a file of each.

    Args:
        place: Folder, of which the files directly in it count, or archive. An archive that is refused stands
            for itself, so that reading it says why.
        derived: Take derived, reformatted and burned-in images and secondary captures with a place too.
    """
    try:
        stacks = look(place).stacks
    except DataError:
        return [place]
    scans = [stack.path for stack in stacks if not stack.left_out]
    asked = [stack.path for stack in stacks if derived and stack.left_out not in ("", LOCALIZER)]
    return [*([place] if len(scans) == 1 else scans), *asked]


def left_out_in(place: Path, *, derived: bool = False) -> dict[Path, str]:
    """What `scans_in` leaves out of a folder or an archive, by a file of each, and why."""
    try:
        found = look(place)
    except DataError:
        return {}
    kept = scans_in(place, derived=derived)
    stacks = {one.path: one.left_out for one in found.stacks if one.left_out and one.path not in kept}
    return {**stacks, **found.others}


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
    slices: list[Slice] = []
    placeless: dict[str, Path] = {}
    others: dict[Path, str] = {}
    headers = _in_archive(place) if is_archive(place) else _in_folder(place, [name for name, _, _ in listing])
    for path, header in headers:
        if header is None:
            others[path] = DAMAGED
        if header is None or not is_image(header):
            continue
        one = read_slice(path, header)
        several = list(frames_in(path, header)) if has_frames(header) else [one] if one is not None else []
        slices += several
        if not several:
            placeless.setdefault(text(header, "SeriesInstanceUID"), path)
    return Found(stacks_of(slices), {**others, **dict.fromkeys(placeless.values(), PLACELESS)})


def _in_folder(place: Path, names: list[str]) -> Iterator[tuple[Path, pydicom.Dataset | None]]:
    """DICOM files of a folder and their headers, None where that cannot be read."""
    for name in names:
        if is_dicom(place / name):
            yield place / name, read_header(place / name)


def _in_archive(place: Path) -> Iterator[tuple[Path, pydicom.Dataset | None]]:
    """DICOM files of an archive and their headers, None where that cannot be read."""
    with whole(place):
        for path, file in opened_members(place):
            if path.suffix.lower() in SUFFIXES or file.read(132)[128:] == b"DICM":
                file.seek(0)
                yield path, read_header(path, TAGS, file)


def _study(one: Slice) -> Study:
    """What the header of a slice tells that studies need."""
    tags = (*STUDY_TAGS, *GROUPS)
    held = on_disk(one.path)
    if held == one.path:
        header = read_header(one.path, tags)
    else:
        with whole(held):
            for _, file in opened_members(held, one.path):
                header = read_header(one.path, tags, file)
    if header is not None and one.frame is not None:
        header = flat_frame(header, header[GROUPS[1]].value[one.frame])
    return Study() if header is None else study_of(header)


def _meant(path: Path, stacks: tuple[Stack, ...]) -> tuple[Stack, ...]:
    """The stacks that a path may mean: those of a file or a folder; localizers and the like only if named."""
    named = tuple(one for one in stacks if path == one.path or path in (cut.path for cut in one.slices))
    if named:
        return named
    within = [one for one in stacks if path in one.path.parents]
    scans = [one for one in within if not one.left_out]
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
    return meant[0]


def _tilt_note(path: Path, angle: float) -> str:
    """What is said of a tilted gantry.

    Raises:
        DataError: If it is tilted too far.
    """
    if angle > STEEPEST:
        raise DataError(
            f"{path.name}: each slice lies {angle:.0f} degrees off the normal of the one before; at most "
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
