"""DICOM series: which files of a folder are slices of which volume, in which order, and of which patient.

Slices are ordered by where they lie along their normal, never by name or number.
"""

import struct
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from mim3d.data import itk
from mim3d.errors import DataError

SUFFIXES = (".dcm", ".ima")
UNEVEN = 0.05
"""A slice may lie this share of the spacing off its even place."""
_TAGS = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ImageType",
    "Modality",
    "PatientID",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
]
_UNREADABLE = (
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
    MemoryError,  # of an element that claims to be as long as 4 GB
    RecursionError,
    OverflowError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    struct.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What the header of one slice says."""

    path: Path
    uid: str
    series: str
    modality: str
    size: tuple[int, int]
    """Rows and columns, voxels."""
    position: tuple[float, ...]
    """Centre of the first voxel, LPS+ mm."""
    orientation: tuple[float, ...]
    """Direction along a row and direction down a column, 6 numbers without unit."""
    spacing: tuple[float, ...]
    """From row to row and from column to column, mm."""
    thickness: float
    """What the header gives as distance from slice to slice, mm; 0 if nothing."""
    whole: bool
    """Whether slope and intercept are whole numbers."""

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction across the slice, (3,), without unit."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def place(self) -> float:
        """Where the slice lies along its normal, mm."""
        return float(self.normal @ np.asarray(self.position))


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its suffix or its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    try:
        if not path.is_file():
            return False  # opening a named pipe waits for ever
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path, tags: Iterable[str] = _TAGS) -> pydicom.Dataset | None:
    """The named elements of a DICOM file, without its voxels; None if it cannot be read as DICOM.

    Values that break the standard are taken as they are: scanners write them, and what counts is checked.
    """
    force = path.suffix.lower() in SUFFIXES
    try:
        with pydicom.config.disable_value_validation(), warnings.catch_warnings(record=True):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags), force=force)
            header.decode()
    except _UNREADABLE:
        return None
    return header


def dicom_patient(path: Path) -> str:
    """PatientID of a DICOM file, or of the first one in a folder; empty if there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        header = read_header(file, ["PatientID"]) if is_dicom(file) else None
        if header is not None:
            return str(header.get("PatientID", "") or "").strip()
    return ""


def series_in(folder: Path) -> dict[str, tuple[Slice, ...]]:
    """Slices that lie directly in a folder, by series, in order along their normal.

    Localizers and what is no slice (RTSTRUCT, SEG, reports, images without a place) are left out, and so are
    copies of one image.
    """
    found: dict[str, dict[str, Slice]] = {}
    for path in sorted(folder.iterdir()):
        one = _read_slice(path) if not path.name.startswith(".") and is_dicom(path) else None
        if one is not None:
            found.setdefault(one.series, {}).setdefault(one.uid, one)
    return {uid: tuple(sorted(found[uid].values(), key=lambda one: one.place)) for uid in sorted(found)}


def read_series(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], str]:
    """Voxels (X, Y, Z) of a series in its units (CT: HU), the (4, 4) affine to RAS+ mm, and the modality.

    Args:
        path: A folder with one series, or any file of a series.

    Raises:
        DataError: If there is no series, several, or one that is no evenly spaced volume.
    """
    slices = _choose(path, series_in(path if path.is_dir() else path.parent))
    affine = _affine(path, slices)
    array = itk.read_slices([one.path for one in slices], whole=all(one.whole for one in slices))
    return array, affine, slices[0].modality


def _read_slice(path: Path) -> Slice | None:
    """Header of a slice of a volume, or None for anything else."""
    header = read_header(path)
    if header is None or "LOCALIZER" in (header.get("ImageType") or []):
        return None
    try:
        one = Slice(
            path=path,
            uid=str(header.SOPInstanceUID),
            series=str(header.SeriesInstanceUID),
            modality=str(header.get("Modality", "") or "CT"),
            size=(int(header.Rows), int(header.Columns)),
            position=tuple(float(value) for value in header.ImagePositionPatient),
            orientation=tuple(float(value) for value in header.ImageOrientationPatient),
            spacing=tuple(float(value) for value in header.PixelSpacing),
            thickness=float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0),
            whole=_is_whole(header.get("RescaleSlope")) and _is_whole(header.get("RescaleIntercept")),
        )
    except _UNREADABLE:
        return None
    return one if (len(one.position), len(one.orientation), len(one.spacing)) == (3, 6, 2) else None


def _is_whole(value: Any) -> bool:
    """Whether a slope or intercept is a whole number, as it is where it is not given."""
    return value is None or float(value).is_integer()


def _choose(path: Path, series: dict[str, tuple[Slice, ...]]) -> tuple[Slice, ...]:
    """The series meant by a folder or by one of the files in it."""
    if path.is_file():
        series = {uid: slices for uid, slices in series.items() if path in [one.path for one in slices]}
    if not series:
        raise DataError(
            f"{path.name}: no slice of a DICOM volume; files with voxels, position and orientation are "
            "needed (localizers, RTSTRUCT, multi-frame and secondary captures are not volumes): give the "
            "folder of a series"
        )
    if len(series) > 1:
        files = ", ".join(f"{slices[0].path.name} ({len(slices)} slices)" for slices in series.values())
        raise DataError(
            f"{path.name}: {len(series)} DICOM series in one folder, one is needed: give any file of the one "
            f"you mean instead, e.g. {files}"
        )
    return next(iter(series.values()))


def _affine(path: Path, slices: tuple[Slice, ...]) -> NDArray[np.float64]:
    """(4, 4) to RAS+ mm of slices in order, once they are known to make an even stack."""
    first = slices[0]
    _require_alike(path, slices)
    step = _require_even(path, slices)
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.orientation[:3], first.spacing[1])
    affine[:3, 1] = np.multiply(first.orientation[3:], first.spacing[0])
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return np.asarray(itk.LPS_TO_RAS @ affine)


def _require_alike(path: Path, slices: tuple[Slice, ...]) -> None:
    """Raise unless all slices have one size, orientation and spacing."""
    first = slices[0]
    for one in slices:
        same = np.allclose(one.orientation, first.orientation, atol=1e-3)
        if one.size != first.size or not same or not np.allclose(one.spacing, first.spacing, rtol=1e-3):
            raise DataError(
                f"{path.name}: slices of a series differ in size, orientation or spacing: {first.path.name} "
                f"has {first.size} voxels at {first.spacing} mm, {one.path.name} {one.size} at "
                f"{one.spacing}; a volume needs them alike: export each stack as its own series"
            )


def _require_even(path: Path, slices: tuple[Slice, ...]) -> NDArray[np.float64]:
    """The step (3,) from slice to slice, LPS+ mm; raise unless all steps are equal."""
    if len(slices) == 1:
        if slices[0].thickness <= 0:
            raise DataError(
                f"{path.name}: a series of one slice without a thickness; a volume needs at least two slices"
            )
        return slices[0].normal * slices[0].thickness
    step = np.subtract(slices[-1].position, slices[0].position) / (len(slices) - 1)
    places = np.array([one.place for one in slices])
    even = np.linspace(places[0], places[-1], len(places))
    spacing = even[1] - even[0]
    if np.abs(places - even).max() > UNEVEN * spacing or spacing <= 0:
        gaps = np.diff(places)
        where = slices[int(np.abs(gaps - np.median(gaps)).argmax())].path.name
        raise DataError(
            f"{path.name}: slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart (first at {where}), "
            "equal distances are needed: slices are missing, or stacks share one series; export it again"
        )
    return np.asarray(step)
