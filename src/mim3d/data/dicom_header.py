"""DICOM headers: what a file, or one frame of it, says of the slice that it holds.

Values that break the standard are taken as they are: scanners write them, and what counts is checked.
"""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray

from mim3d.data.dicom_elements import UNREADABLE, quiet, text
from mim3d.data.dicom_kinds import why_left_out
from mim3d.data.sources import MODALITIES

SUFFIXES = (".dcm", ".ima")
MARKS = (
    "ImageType",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "ConvolutionKernel",
    "EchoTime",
    "InversionTime",
    "DiffusionBValue",
    "KVP",
    "StackID",
)
"""What tells the stacks of one series apart, the surest first."""
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
TAGS = (
    *MARKS,
    *GROUPS,
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "BurnedInAnnotation",
    "PatientID",
    "FrameOfReferenceUID",
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "InstanceNumber",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "TriggerTime",
    "ContentTime",
)


class Part(NamedTuple):
    """Which of several files that one enhanced image is spread over."""

    image: str
    """Identifier that all of them have (ConcatenationUID)."""
    number: int
    """From 1."""
    total: int
    """Of all files; 0 if not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What the header of one slice says."""

    path: Path
    frame: int | None = None
    """Which frame of a file with several, from 0."""
    part: Part | None = None
    """Of a frame in one of several files that make one image."""
    uid: str
    study: str
    series: str
    reference: str
    """Identifier of the space that positions are in."""
    patient: str
    modality: str
    size: tuple[int, int]
    """Rows and columns, voxels."""
    position: tuple[float, ...]
    """Centre of the first voxel, LPS+ mm."""
    place: float
    """Where it lies along the normal of the slice, mm."""
    orientation: tuple[float, ...]
    """Direction along a row and direction down a column, 6 numbers without unit."""
    spacing: tuple[float, ...]
    """From row to row and from column to column, mm."""
    thickness: float
    """What the header gives as distance from slice to slice, mm; 0 if nothing."""
    rescale: tuple[float, float]
    """Slope and intercept: intensity = slope x stored + intercept."""
    padding: tuple[float, float] | None
    """Lowest and highest stored value that stands for no measurement, if there is one."""
    syntax: str
    """Transfer syntax, which names the compression; empty if not told."""
    left_out: str
    """Why the slice belongs to no scan unless it is asked for; empty for one that does."""
    marks: tuple[str, ...]
    """Values of `MARKS`, empty where not given."""
    order: tuple[float, ...]
    """When it was taken, as far as told: acquisition (s), trigger (ms), content (s), number."""

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction across the slice, (3,), without unit."""
        return np.cross(self.orientation[:3], self.orientation[3:])


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


def read_header(
    path: Path, tags: Iterable[str] = TAGS, file: IO[bytes] | None = None
) -> pydicom.Dataset | None:
    """The named elements of a DICOM file, without its voxels; None if it cannot be read as DICOM.

    Args:
        path: Of the file; a name alone where `file` is given.
        tags: Names of elements.
        file: The file itself, open, where it does not lie on disk.
    """
    force = path.suffix.lower() in SUFFIXES
    try:
        with quiet():
            header = pydicom.dcmread(
                file or path, stop_before_pixels=True, specific_tags=list(tags), force=force
            )
            header.decode()
    except UNREADABLE:
        return None
    except zlib.error:  # of an archive, its reader tells
        if file is not None:
            raise
        return None
    return header if header or header.file_meta else None


def read_slice(path: Path, header: pydicom.Dataset, frame: int | None = None) -> Slice | None:
    """What a header says of its slice, or None where it has no voxels, no place or no size."""
    try:
        with quiet():
            one = _slice(path, header, frame)
    except UNREADABLE:
        return None
    lengths = (len(one.position), len(one.orientation), len(one.spacing))
    finite = np.isfinite([*one.position, *one.orientation, *one.spacing]).all()
    return one if lengths == (3, 6, 2) and finite and min(one.spacing) > 0 else None


def _slice(path: Path, header: pydicom.Dataset, frame: int | None) -> Slice:
    position, turned = _numbers(header.ImagePositionPatient), _numbers(header.ImageOrientationPatient)
    return Slice(
        path=path,
        frame=frame,
        part=_part(header),
        uid=text(header, "SOPInstanceUID") or str(path),
        study=text(header, "StudyInstanceUID"),
        series=text(header, "SeriesInstanceUID"),
        reference=text(header, "FrameOfReferenceUID"),
        patient=text(header, "PatientID"),
        modality=modality_of(header),
        size=(int(header.Rows), int(header.Columns)),
        position=position,
        place=float(np.cross(turned[:3], turned[3:]) @ np.asarray(position)),
        orientation=turned,
        spacing=_numbers(header.PixelSpacing),
        thickness=float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0),
        rescale=(_number(header, "RescaleSlope", 1.0), _number(header, "RescaleIntercept", 0.0)),
        padding=_padding(header),
        syntax=str(header.file_meta.get("TransferSyntaxUID", "")),
        left_out=why_left_out(header),
        marks=tuple(text(header, name) for name in MARKS),
        order=(
            _seconds(text(header, "AcquisitionTime") or text(header, "AcquisitionDateTime")[8:]),
            _number(header, "TriggerTime", 0.0),
            _seconds(text(header, "ContentTime")),
            _number(header, "InstanceNumber", 0.0),
        ),
    )


def _part(header: pydicom.Dataset) -> Part | None:
    image = text(header, "ConcatenationUID")
    if not image:
        return None
    number, total = (int(_number(header, f"InConcatenation{name}", 0)) for name in ("Number", "TotalNumber"))
    return Part(image, number, total)


def modality_of(header: pydicom.Dataset) -> str:
    """Modality: one of `MODALITIES`, CT where none is given, OT for all others."""
    named = text(header, "Modality") or "CT"
    return named if named in MODALITIES else "OT"


def _padding(header: pydicom.Dataset) -> tuple[float, float] | None:
    """Range of stored values that stand for no measurement; signed or not as the voxels are."""
    first = header.get("PixelPaddingValue")
    if first is None:
        return None
    last = header.get("PixelPaddingRangeLimit")
    wrap = 2**16
    values = [int(value) for value in (first, first if last is None else last)]
    if header.get("PixelRepresentation"):
        values = [value - wrap if value >= wrap // 2 else value for value in values]
    else:
        values = [value + wrap if value < 0 else value for value in values]
    return float(min(values)), float(max(values))


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _number(header: pydicom.Dataset, name: str, default: float) -> float:
    value = header.get(name)
    return default if value is None or value == "" else float(value)


def _seconds(time: str) -> float:
    """Seconds since midnight of a DICOM time (HHMMSS.FFFFFF), 0 for what is none."""
    digits = re.split(r"[+-]", time.replace(":", ""))[0]  # without the time zone
    try:
        return int(digits[:2]) * 3600 + int(digits[2:4] or 0) * 60 + float(digits[4:] or 0)
    except ValueError:
        return 0.0
