"""Voxels of a stack of DICOM slices: decoded, rescaled, padding turned to air, a tilted gantry set upright.

Shapes: X, Y in the plane of a slice, Z slices.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless

from mim3d.data import dicom_frames, dicom_zip, itk
from mim3d.data.dicom_elements import nameless_errors
from mim3d.data.dicom_header import Slice
from mim3d.data.dicom_line import SAME_PLACE
from mim3d.data.dicom_stacks import moved, without_copies
from mim3d.data.intensity import AIR
from mim3d.errors import DataError

STRAIGHT = 0.5
"""Voxels that the first and the last slice may lie apart in their plane before a stack counts as tilted."""
DENSEST = 1000
"""Voxels for each byte of the files that hold them, at most."""
STEEPEST = 45.0
"""Degrees that a gantry may be tilted."""


@contextmanager
def as_files(slices: Sequence[Slice]) -> Iterator[tuple[Slice, ...]]:
    """The same slices, each a file of its own on disk while the context lasts, copies of slices dropped.

    Raises:
        DataError: If an archive or a file of frames is damaged.
    """
    with TemporaryDirectory(prefix="mim3d-") as name:
        folder = Path(name)
        paths = _unpacked([one.path for one in slices], folder)
        files = _unframed(slices, paths, folder)
        yield _unlike(moved(slices, files))


def _unpacked(paths: list[Path], folder: Path) -> dict[Path, Path]:
    """Where the files of slices lie on disk, those in an archive unpacked."""
    archive = dicom_zip.on_disk(paths[0])
    if archive == paths[0]:
        return {path: path for path in paths}
    return dicom_zip.unpack(archive, list(dict.fromkeys(paths)), folder)


def _unframed(slices: Sequence[Slice], paths: dict[Path, Path], folder: Path) -> list[Path]:
    """A file for each slice, those in files of frames taken apart."""
    frames: dict[Path, dict[int, Slice]] = {}
    for one in slices:
        if one.frame is not None:
            frames.setdefault(one.path, {})[one.frame] = one
    written = {}
    for number, (path, wanted) in enumerate(frames.items()):
        place = folder / f"frames-{number}"
        place.mkdir()
        files = dicom_frames.write_frames(paths[path], wanted, place)
        written.update({(path, frame): file for frame, file in files.items()})
    return [paths[one.path] if one.frame is None else written[one.path, one.frame] for one in slices]


def _unlike(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Slices without copies: files with the same voxels at the same place."""
    places = np.array([one.place for one in slices])
    if len(places) < 2 or np.diff(places).min() > SAME_PLACE:
        return slices
    contents = []
    for one in slices:
        with nameless_errors("a slice"):
            stored = pydicom.dcmread(one.path, force=True).PixelData
            contents.append((hashlib.sha256(stored).digest(), one.rescale))
    return without_copies(slices, contents)


def read_voxels(slices: Sequence[Slice]) -> NDArray[Any]:
    """Voxels (X, Y, Z) of files of slices: slope and intercept applied slice by slice, padding turned to air.

    Raises:
        DataError: If one of them is damaged, or in a compression that cannot be read.
    """
    _require_held(slices)
    _require_segments(one for one in slices if one.syntax == RLELossless)
    whole = all(value.is_integer() for one in slices for value in one.rescale)
    array = itk.read_slices([one.path for one in slices], whole=whole)
    if all(one.padding is None for one in slices):
        return array
    array = np.array(array)
    for number, one in enumerate(slices):
        if one.padding is not None:
            slope, intercept = one.rescale
            low, high = sorted(slope * value + intercept for value in one.padding)
            near = 0.25 * abs(slope)  # a step of stored values is a whole slope
            plane = array[..., number]
            plane[(plane >= low - near) & (plane <= high + near)] = air_of(one.modality)
    return array


def _require_held(slices: Sequence[Slice]) -> None:
    """Raise before memory is taken for voxels that no compression could have put into the files."""
    promised = sum(one.size[0] * one.size[1] for one in slices)
    held = sum(one.path.stat().st_size for one in slices)
    if promised > DENSEST * held:
        raise DataError(
            f"headers promise {promised} voxels, but the files hold {held} bytes; whole, standard DICOM "
            "files are needed: export the series again"
        )


def _require_segments(slices: Iterable[Slice]) -> None:
    """Raise unless run lengths come in as many segments as a voxel has bytes: GDCM ends the process else."""
    for one in slices:
        with nameless_errors("a slice"):
            packed = pydicom.dcmread(one.path, force=True)
            needed = int(packed.BitsAllocated) // 8 * int(packed.SamplesPerPixel)
            frame = next(generate_frames(packed.PixelData, number_of_frames=1))
        if int.from_bytes(frame[:4], "little") != needed:
            raise DataError(
                "a slice in run lengths has a broken header; whole, standard DICOM files are needed: export "
                "the series again"
            )


def air_of(modality: str) -> int:
    """Intensity of what was not measured: -1024 HU in a CT, 0 otherwise."""
    return AIR if modality == "CT" else 0


def is_tilted(first: Slice, step: NDArray[np.float64], count: int) -> bool:
    """Whether slices that go on by `step` (3,), LPS+ mm, drift in their plane by more than `STRAIGHT`."""
    return bool(np.abs(_drift(first, step) * (count - 1)).max() > STRAIGHT)


def tilt_of(first: Slice, step: NDArray[np.float64]) -> float:
    """Angle between the step from slice to slice and the normal, degrees."""
    along = abs(float(first.normal @ step))
    return float(np.degrees(np.arccos(np.clip(along / np.linalg.norm(step), -1, 1))))


def _drift(first: Slice, step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxels (2,) along x and y that each slice lies beside the one before."""
    in_plane = np.reshape(first.orientation, (2, 3)) @ step  # mm
    return np.asarray(in_plane / first.spacing[::-1])


def upright(
    array: NDArray[Any], first: Slice, step: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Tilted slices (X, Y, Z) on a grid whose third axis is their normal.

    Each slice is shifted in its own plane, linearly between voxels, and stays where it is in space: nothing
    is interpolated across slices. The grid grows until all slices fit; what they do not cover is air.

    Returns:
        Voxels (X', Y', Z), the centre of the first one (3,) and the step from slice to slice (3,), LPS+ mm.
    """
    shifts = np.outer(np.arange(array.shape[2]), _drift(first, step))  # (Z, 2) voxels
    lowest = np.floor(np.minimum(shifts.min(axis=0), 0))
    shifts -= lowest
    width, height = (np.array(array.shape[:2]) + np.ceil(shifts.max(axis=0))).astype(int)
    air = air_of(first.modality)
    stood = np.empty((width, height, array.shape[2]), array.dtype)
    for number, (x, y) in enumerate(shifts):
        plane = _shifted(array[..., number].astype(np.float32), x, int(width), air)
        plane = _shifted(plane.T, y, int(height), air).T
        stood[..., number] = np.rint(plane) if array.dtype.kind != "f" else plane
    across = (
        np.reshape(first.orientation, (2, 3)) * np.array(first.spacing[::-1])[:, None]
    )  # (2, 3) mm a voxel
    return stood, np.asarray(first.position) + lowest @ across, first.normal * (first.normal @ step)


def _shifted(plane: NDArray[np.float32], shift: float, length: int, air: float) -> NDArray[np.float32]:
    """A plane (X, Y) moved up its first axis by `shift` voxels into (length, Y), linearly; air around it."""
    whole = int(np.floor(shift))
    part = np.float32(shift - whole)
    wide = np.full((length + 2, plane.shape[1]), air, np.float32)
    wide[whole + 1 : whole + 1 + len(plane)] = plane
    moved_up: NDArray[np.float32] = (1 - part) * wide[1:-1] + part * wide[:-2]
    return moved_up
