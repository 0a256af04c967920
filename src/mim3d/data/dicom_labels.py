"""DICOM labels, outlines (RTSTRUCT) or segmentations (SEG), as a label map on their scan's grid."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels

from mim3d.data.dicom_elements import nameless_errors, text
from mim3d.data.dicom_frames import flat_frame
from mim3d.data.dicom_header import GROUPS, is_dicom, read_header
from mim3d.data.itk import LPS_TO_RAS
from mim3d.data.labels import LabelSet
from mim3d.data.rtstruct import label_map, matching, read_rtstruct, told
from mim3d.data.volume import Volume
from mim3d.errors import DataError

OFF_GRID = 0.1
"""Voxels that a segmentation may lie off the voxels of its scan: headers round differently."""

BINARY, FRACTIONAL = "BINARY", "FRACTIONAL"
"""Types of segmentations that can be read."""
KINDS = ("probability", "occupancy")
FRACTIONS = "labels are the voxels of half their structure's {} or more"
Places = NDArray[np.int_]
"""Voxels (3, N)."""


def is_drawn(path: Path) -> bool:
    """Whether a file is an RTSTRUCT or a SEG."""
    return path.is_file() and is_dicom(path) and _modality(path) in ("RTSTRUCT", "SEG")


def read_drawn(path: Path, volume: Volume, labels: LabelSet) -> tuple[NDArray[np.uint16], str]:
    """What `labels` names of an RTSTRUCT or SEG, as a label map (X, Y, Z) on the grid of `volume`.

    Where outlines overlap, the structure that comes later in the set wins; overlapping segments are refused.

    Returns:
        The label map, and what must be said of it.

    Raises:
        DataError: If the file is broken, was drawn on another scan, or has no structure that the set names.
    """
    if _modality(path) == "SEG":
        return read_seg(path, volume, labels)
    return label_map(read_rtstruct(path, volume), labels, volume.shape), ""


def read_seg(path: Path, volume: Volume, labels: LabelSet) -> tuple[NDArray[np.uint16], str]:
    """The segments that `labels` names as a label map (X, Y, Z) on the grid of `volume`; see `read_drawn`.

    Of fractions, what is more than half is the segment's, and what is just half, where no other is.
    """
    with nameless_errors(path.name):
        dataset = pydicom.dcmread(path)
        whole = _whole(path, dataset)
        names = {int(one.SegmentNumber): text(one, "SegmentLabel") for one in dataset.SegmentSequence}
        kind = text(dataset, "SegmentationFractionalType").lower()
        fractional = text(dataset, "SegmentationType") == FRACTIONAL
    values = _values(path, names, labels)
    painted = np.zeros(volume.shape, np.uint16)
    halves: list[tuple[int, Places]] = []
    for number, places, more in _segments(path, dataset, volume, values, whole):
        _paint(path, painted, places[:, more], values[number], labels)
        halves.append((values[number], places[:, ~more]))
    for value, places in halves:
        free = places[:, painted[tuple(places)] == 0]
        painted[tuple(free)] = value
    return painted, FRACTIONS.format(kind if kind in KINDS else "fraction") if fractional else ""


def _whole(path: Path, dataset: pydicom.Dataset) -> int:
    """The stored value that stands for all of a voxel.

    Raises:
        DataError: If the segmentation is of another type than yes or no, or fractions.
    """
    kind = text(dataset, "SegmentationType")
    if kind not in (BINARY, FRACTIONAL):
        raise DataError(
            f"{path.name}: a segmentation that is neither of type BINARY nor FRACTIONAL; yes or no, or a "
            "fraction, for each voxel is needed: export it as such"
        )
    if kind == BINARY:
        return 1
    whole = int(dataset.MaximumFractionalValue)
    if whole < 1:
        raise DataError(
            f"{path.name}: a segmentation by fractions of {whole}; a MaximumFractionalValue of 1 or more is "
            "needed: export it again"
        )
    return whole


def _paint(path: Path, painted: NDArray[np.uint16], places: Places, value: int, labels: LabelSet) -> None:
    """Give voxels (3, N) a value.

    Raises:
        DataError: If one of them has another already.
    """
    found = painted[tuple(places)]
    other = found[(found != 0) & (found != value)]
    if other.size:
        named = {value: name for name, value in labels.structures.items()}
        raise DataError(
            f"{path.name}: segments overlap: {other.size} voxels or more are both "
            f"{named[int(other[0])]} and {named[value]}; one value a voxel is needed: name one "
            "of them in the label set"
        )
    painted[tuple(places)] = value


def _modality(path: Path) -> str:
    header = read_header(path, ["Modality"])
    return "" if header is None else text(header, "Modality")


def _values(path: Path, names: Mapping[int, str], labels: LabelSet) -> dict[int, int]:
    """Value of each segment that the set names, by its number."""
    values = {
        number: value
        for structure, value in labels.structures.items()
        for name in matching(structure, set(names.values()))
        for number in names
        if names[number] == name
    }
    if not values:
        raise DataError(
            f"{path.name}: label set {labels.name} names {', '.join(labels.structures)}, but the segments "
            f"are of {told(names.values())}; name one of them in the label set"
        )
    return values


def _segments(
    path: Path, dataset: pydicom.Dataset, volume: Volume, wanted: Mapping[int, int], whole: int
) -> Iterator[tuple[int, Places, NDArray[np.bool_]]]:
    """Where the wanted segments are, frame by frame.

    Args:
        path: For messages.
        dataset: The whole file.
        volume: The scan.
        wanted: Numbers of segments.
        whole: Stored value that stands for all of a voxel.

    Yields:
        The segment's number; the voxels (3, N) at least half of which it fills; of which it fills more (N,).
    """
    with nameless_errors(path.name):
        frames = _frames(dataset)
        for groups, frame in zip(dataset[GROUPS[1]].value, frames, strict=True):
            flat = flat_frame(dataset, groups)
            number = int(flat.ReferencedSegmentNumber)
            doubled = 2 * frame.astype(np.int64)
            half = doubled >= whole
            if number in wanted and half.any():
                yield number, _places(path, flat, half, volume), doubled[half] > whole


def _frames(dataset: pydicom.Dataset) -> Iterator[NDArray[Any]]:
    """Frames (Y, X), one after the other; packed to bits, one may begin in the middle of a byte."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated or dataset.BitsAllocated != 1:
        yield from iter_pixels(dataset, raw=True)
        return
    shape = (int(dataset.Rows), int(dataset.Columns))
    size = shape[0] * shape[1]
    stored = np.frombuffer(dataset.PixelData, np.uint8)
    for first in range(0, int(dataset.NumberOfFrames) * size, size):
        held = np.unpackbits(stored[first // 8 : (first + size + 7) // 8], bitorder="little")
        yield held[first % 8 : first % 8 + size].reshape(shape)


def _places(path: Path, flat: pydicom.Dataset, frame: NDArray[Any], volume: Volume) -> NDArray[np.int_]:
    """Voxels (3, N) of the scan at the voxels of a frame (Y, X) that are not 0."""
    rows, columns = np.nonzero(frame)
    spacing, turned = np.array(flat.PixelSpacing, float), np.array(flat.ImageOrientationPatient, float)
    across = np.outer(turned[:3] * spacing[1], columns) + np.outer(turned[3:] * spacing[0], rows)
    world = LPS_TO_RAS[:3, :3] @ (
        np.array(flat.ImagePositionPatient, float)[:, None] + across
    )  # (3, N) RAS+ mm
    inverse = np.linalg.inv(volume.affine)
    places = inverse[:3, :3] @ world + inverse[:3, 3:]
    nearest = np.rint(places).astype(int)
    off = float(np.abs(places - nearest).max())
    if off > OFF_GRID:
        raise DataError(
            f"{path.name}: a segment lies {off:.2f} voxels off the grid of the scan; give the scan that "
            "it was drawn on"
        )
    if (nearest < 0).any() or (nearest >= np.array(volume.shape)[:, None]).any():
        raise DataError(f"{path.name}: a segment lies outside the scan; give the scan that it was drawn on")
    return np.asarray(nearest)
