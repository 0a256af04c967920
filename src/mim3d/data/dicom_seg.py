"""Predicted label maps as DICOM SEG, on the slices of the series that they were made of.

What the standard has a segmentation repeat of its source (patient, study, frame of reference) is read again
from the source's headers: such a file names the patient, as the source does.

Shapes: X Y Z voxels as stored; F frames, R rows, C columns of the source's slices.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import generate_uid
from pydicom.valuerep import DSfloat

from mim3d.data.dicom import chosen, slices_at
from mim3d.data.dicom_elements import nameless_errors
from mim3d.data.dicom_header import GROUPS, Slice
from mim3d.data.dicom_zip import on_disk, opened_members
from mim3d.data.itk import LPS_TO_RAS
from mim3d.data.labels import LabelSet
from mim3d.data.sources import Source
from mim3d.data.terminology import Code, term_of
from mim3d.errors import ConfigError, DataError

MAKER = "mim3d"
LABEL = "MIM3D"
DESCRIPTION = "Research tool, not for clinical use"
"""ContentDescription, at most 64 letters."""
EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Elements that a SEG must have, but may leave empty."""
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
"""Elements without which nobody could say where a segmentation belongs."""
TILTED = 0.01
"""mm, that slices of a tilted gantry lie beside one another at least."""
LONGEST = 64
"""Letters of a label."""
SERIES_NUMBER = 9001
"""Of segmentations: above those that scanners give."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Maker:
    """What made a segmentation, for its header."""

    version: str
    """Of mim3d."""
    weights: str
    """Hash of the weights, hexadecimal."""


def require_highdicom() -> ModuleType:
    """The library that writes SEG.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module("highdicom")
    except ImportError as error:
        raise ConfigError(
            "DICOM SEG is written with highdicom, which is not installed: pip install 'mim3d[dicom]', or "
            "leave --dicom-seg out"
        ) from error


def write_seg(
    path: Path,
    labels: NDArray[Any],
    affine: NDArray[np.float64],
    source: Source,
    structures: Mapping[str, Sequence[int]],
    maker: Maker,
) -> tuple[str, ...]:
    """Write a label map as a binary SEG, one segment a structure, whole or not at all.

    Args:
        path: The file to write.
        labels: (X, Y, Z), as stored.
        affine: (4, 4), of `labels`, voxel index to RAS+ mm.
        source: The series that was segmented.
        structures: Name of each structure, and the values that make it up.
        maker: What made it.

    Returns:
        Names of structures that have no code of their own.

    Raises:
        ConfigError: If highdicom is not installed.
        DataError: If the source lacks what a SEG must repeat.
    """
    hd = require_highdicom()
    slices = _without_copies(slices_of(source), affine)
    masks = on_slices(labels, affine, slices)  # (F, R, C)
    headers = _headers(slices)
    if slices[0].frame is not None:
        masks = _among_all_frames(masks, slices, headers[0])
    _complete(headers, float(np.linalg.norm(affine[:3, 2])))
    with nameless_errors(source.image.name):
        segmentation = _segmentation(hd, headers, masks, structures, maker)
    aside = path.with_name(f".{path.name}.partial")
    segmentation.save_as(aside)
    aside.rename(path)
    return tuple(name for name in structures if not term_of(name).known)


def cautions(path: Path) -> Iterator[str]:
    """What other programs are known to make of a SEG that was written, beside what it says."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    rows, columns = int(header.Rows), int(header.Columns)
    if rows * columns % 8:
        yield f"slices of {rows} x {columns} pixels are no multiple of 8: OHIF shows only some of them"
    plane = header.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    frames = header.PerFrameFunctionalGroupsSequence
    places = np.array([one.PlanePositionSequence[0].ImagePositionPatient for one in frames], float)
    across, down = np.array(plane[:3], float), np.array(plane[3:], float)
    aside = (places - places[0]) @ np.stack([across, down], axis=1)  # (F, 2), mm
    if np.abs(aside).max() > TILTED:
        yield "slices are tilted, and 3D Slicer stacks them straight: take the label map there"


def slices_of(source: Source) -> Sequence[Slice]:
    """The slices of a series, by their headers.

    Raises:
        DataError: If there is no volume, or several.
    """
    if source.parts is not None:
        return slices_at(source.image.name, source.parts)
    return chosen(source.image)[0].slices


def on_slices(labels: NDArray[Any], affine: NDArray[np.float64], slices: Sequence[Slice]) -> NDArray[Any]:
    """A label map (X, Y, Z) at the voxels of slices, (F, R, C): each from the nearest voxel.

    The two differ only where a tilted gantry was set upright, by the shift of each slice in its plane.
    """
    back = np.linalg.inv(affine)
    found = []
    for one in slices:
        x, y, z = np.rint(back @ LPS_TO_RAS @ [*one.position, 1])[:3].astype(int)
        rows, columns = one.size
        found.append(labels[x : x + columns, y : y + rows, z].T)
    return np.stack(found)


def _without_copies(slices: Sequence[Slice], affine: NDArray[np.float64]) -> list[Slice]:
    """The first slice of each place."""
    back = np.linalg.inv(affine) @ LPS_TO_RAS
    return list({int(np.rint(back[2] @ [*one.position, 1])): one for one in reversed(slices)}.values())[::-1]


def _headers(slices: Sequence[Slice]) -> list[pydicom.Dataset]:
    """The whole headers of slices, one for all frames of one file."""
    paths = list(dict.fromkeys(one.path for one in slices))
    with nameless_errors(f"one of {len(paths)} files"):
        archive = on_disk(paths[0])
        if archive == paths[0]:
            return [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in paths]
        found = {
            path: pydicom.dcmread(file, stop_before_pixels=True, force=True)
            for path, file in opened_members(archive)
            if path in set(paths)
        }
        return [found[path] for path in paths]


def _among_all_frames(masks: NDArray[Any], slices: Sequence[Slice], header: pydicom.Dataset) -> NDArray[Any]:
    """Masks (F, R, C) of some frames of a file as those of all of its frames."""
    every = np.zeros((int(header.NumberOfFrames), *masks.shape[1:]), masks.dtype)
    every[[one.frame or 0 for one in slices]] = masks
    return every


def _complete(headers: Sequence[pydicom.Dataset], distance: float) -> None:
    """Add what may be empty, and as thickness the `distance` from slice to slice, mm: some series lack them.

    Raises:
        DataError: If something is missing that may not.
    """
    for header in headers:
        missing = [name for name in NEEDED if not header.get(name)]
        if missing:
            raise DataError(
                f"its headers have no {', '.join(missing)}, which a SEG must repeat: export the "
                "series again, or predict without --dicom-seg"
            )
        for name in EMPTY:
            if name not in header:
                setattr(header, name, "")
        for measures in _pixel_measures(header):
            if measures.get("SliceThickness") is None:  # which a source may leave empty, and a SEG may not
                measures.SliceThickness = DSfloat(distance, auto_format=True)


def _pixel_measures(header: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Where a header tells the size of voxels: in itself, or in the functional groups of its frames."""
    if "SharedFunctionalGroupsSequence" not in header:
        return [header]
    groups = [one for name in GROUPS for one in header.get(name, [])]
    return [measures for group in groups for measures in group.get("PixelMeasuresSequence", [])]


def _segmentation(
    hd: ModuleType,
    headers: Sequence[pydicom.Dataset],
    masks: NDArray[Any],
    structures: Mapping[str, Sequence[int]],
    maker: Maker,
) -> Any:
    """The file (highdicom), from headers of the source and masks (F, R, C) on its frames."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name=MAKER,
        version=maker.version,
        family=DicomCode("123110", "DCM", "Artificial Intelligence"),
        parameters={"weights": maker.weights[:16]},
    )
    made = hd.seg.Segmentation(
        source_images=headers,
        pixel_array=_pixels(masks, structures),
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(hd, number, name, algorithm) for number, name in enumerate(structures, start=1)
        ],
        series_instance_uid=generate_uid(prefix=None),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=maker.version,
        device_serial_number=maker.weights[:16],
        content_label=LABEL,
        content_description=DESCRIPTION,
        series_description=f"{MAKER}: {DESCRIPTION}",
        omit_empty_frames=bool(masks.any()),
    )
    made.ContentCreatorName = ""  # nobody, but the element must be there; highdicom leaves it out
    return made


def _pixels(masks: NDArray[Any], structures: Mapping[str, Sequence[int]]) -> NDArray[Any]:
    """Numbers of segments (F, R, C); where structures share voxels, a yes or no of each, (F, R, C, S)."""
    numbers = enumerate(structures.values(), start=1)
    if all(tuple(own) == (number,) for number, own in numbers):
        return masks
    return np.stack([np.isin(masks, list(own)) for own in structures.values()], axis=-1).astype(np.uint8)


def _description(hd: ModuleType, number: int, name: str, algorithm: Any) -> Any:
    """What a segment is, in words and codes."""
    term = term_of(name)
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:LONGEST],
        segmented_property_category=_coded(term.category),
        segmented_property_type=_coded(term.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=generate_uid(prefix=None),
        tracking_id=name[:LONGEST],
        display_color=hd.color.CIELabColor.from_rgb(*_rgb(number)),
    )
    if term.side is not None:
        modifier = hd.sr.CodedConcept.from_code(_coded(term.side))
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return described


def _rgb(number: int) -> tuple[int, int, int]:
    """The colour that the label map's description gives a structure, 0 to 255."""
    colour = LabelSet("prediction", {"any": number}).colour("any")
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))


def _coded(code: Code) -> DicomCode:
    return DicomCode(code.value, "SCT", code.meaning)
