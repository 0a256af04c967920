"""RTSTRUCT: outlines drawn on the slices of a scan, filled to label maps on the scan's grid.

Shapes: N corners of outlines, E edges, H crossings of edges with rows of voxel centres.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from mim3d.data.dicom_elements import nameless_errors
from mim3d.data.dicom_header import read_header
from mim3d.data.itk import LPS_TO_RAS
from mim3d.data.labels import LabelSet
from mim3d.data.volume import Volume
from mim3d.errors import DataError
from mim3d.geometry import Triple

Points = NDArray[np.float64]
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
KNOWN = re.compile(
    r"i?gtv|ctv|ptv|itv|body|external|skin|lungs?|heart|liver|kidneys?|spleen|(spinal)?cord|canal|o?esophagus|"
    r"trachea|aorta|stomach|bowel|colon|bladder|rectum|prostate|pancreas|brain|brainstem|eyes?|lens|parotid|"
    r"mandible|bones?|spine|tumou?r|lesion|nodule|nodes?|boost|left|right|total|minus|[lr]|\d{1,2}",
    re.IGNORECASE,
)
"""Words of names of structures that a reason may repeat: others may be anybody's."""
_TAGS = ("Modality", "StructureSetROISequence", "ROIContourSequence")


def read_rtstruct(path: Path, volume: Volume) -> dict[str, NDArray[np.bool_]]:
    """Every outlined structure of an RTSTRUCT file as a mask (X, Y, Z) on the grid of `volume`.

    A voxel belongs to a structure if its centre lies inside an odd number of the outlines of its slice, so
    that keyholes and outlines within outlines leave holes.

    Raises:
        DataError: If the file is no RTSTRUCT, or its outlines do not lie in slices of the volume.
    """
    header = read_header(path, _TAGS)
    if header is None or header.get("Modality") != "RTSTRUCT":
        raise DataError(
            f"{path.name}: not a DICOM RTSTRUCT file; outlines of structures are needed: name the file that "
            "holds them"
        )
    with nameless_errors(path.name):
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in header.get("StructureSetROISequence", [])}
        drawn = {
            names[int(roi.ReferencedROINumber)]: _outlines(roi, volume)
            for roi in header.get("ROIContourSequence", [])
            if int(roi.ReferencedROINumber) in names
        }
    return {
        name: _fill(outlines, volume.shape, f"{path.name}: structure {told([name])}")
        for name, outlines in drawn.items()
        if outlines
    }


def label_map(masks: dict[str, NDArray[np.bool_]], labels: LabelSet, shape: Triple) -> NDArray[np.uint16]:
    """The masks (X, Y, Z) that `labels` names as one label map (X, Y, Z).

    A structure takes the masks of its name, upper or lower case, numbered or not (`GTV`, `GTV-1`, `gtv_2`);
    where two structures overlap, the one that comes later in the set wins.

    Raises:
        DataError: If no mask is named by `labels`.
    """
    found = {name: matching(name, masks) for name in labels.structures}
    if not any(found.values()):
        raise DataError(
            f"label set {labels.name} names {', '.join(labels.structures)}, but the outlines are of "
            f"{told(masks)}; name one of them in the label set"
        )
    values = np.zeros(shape, np.uint16)
    for name, value in labels.structures.items():
        for mask in found[name]:
            values[masks[mask]] = value
    return values


def matching(structure: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that mean `structure`: equal but for case, or for a number at the end."""
    pattern = re.compile(re.escape(structure) + r"([ _-]?\d+)?", re.IGNORECASE)
    names = list(names)
    exact = [name for name in names if name.casefold() == structure.casefold()]
    return exact or [name for name in names if pattern.fullmatch(name.strip())]


def told(names: Iterable[str]) -> str:
    """Names of structures for a reason; those that have words other than `KNOWN` are counted only."""
    names = list(names)
    known = [name for name in names if all(KNOWN.fullmatch(word) for word in re.split(r"[\s_+-]+", name))]
    others = [f"{len(names) - len(known)} of other names"] if len(known) < len(names) else []
    return ", ".join([*known, *others]) or "nothing"


def _outlines(roi: pydicom.Dataset, volume: Volume) -> list[Points]:
    """Closed outlines (N, 3) of a structure, in voxels of the volume."""
    to_voxels = np.linalg.inv(volume.affine) @ LPS_TO_RAS
    outlines = []
    for contour in roi.get("ContourSequence", []):
        if contour.ContourGeometricType in _CLOSED:
            points = np.asarray(contour.ContourData, dtype=np.float64).reshape(-1, 3)
            outlines.append(points @ to_voxels[:3, :3].T + to_voxels[:3, 3])
    return outlines


def _fill(outlines: list[Points], shape: Triple, what: str) -> NDArray[np.bool_]:
    """Mask (X, Y, Z) of outlines (N, 3) in voxels, each of which lies in one slice."""
    flatness = np.max([np.ptp(points, axis=0) for points in outlines], axis=0)  # (3,)
    across = int(flatness.argmin())
    if flatness[across] > 0.5:
        raise DataError(
            f"{what}: its outlines run across {flatness[across]:.1f} slices; each must lie in one slice of "
            "the scan: give the scan that it was drawn on"
        )
    planes = np.array([points[:, across].mean() for points in outlines])
    slices = np.floor(planes + 0.5).astype(int)
    kept = [k for k in range(len(outlines)) if 0 <= slices[k] < shape[across]]
    if not kept:
        raise DataError(f"{what}: all outlines lie outside the scan; give the scan that it was drawn on")
    edges = [
        _edges(np.delete(outlines[k], across, axis=1), slices[k]) for k in _nearest(kept, planes, slices)
    ]
    rows, columns = np.delete(shape, across)
    filled = _even_odd(np.concatenate(edges), (shape[across], int(rows), int(columns)))
    return np.moveaxis(filled, 0, across)


def _nearest(kept: list[int], planes: NDArray[np.float64], slices: NDArray[np.int_]) -> list[int]:
    """Where outlines of several planes fall into one slice, those of the plane nearest to its centre."""
    distance = np.abs(planes - slices)
    best: dict[int, float] = {}
    for k in kept:
        best[slices[k]] = min(distance[k], best.get(slices[k], np.inf))
    return [k for k in kept if distance[k] <= best[slices[k]] + 1e-3]


def _edges(corners: Points, number: int) -> Points:
    """Edges (E, 5) of a closed outline (N, 2) in slice `number`: slice, row and column, row and column.

    Each begins at its lower row, so that an edge walked both ways (a keyhole) gives the same crossings twice.
    """
    ends = np.roll(corners, -1, axis=0)
    upwards = corners[:, :1] <= ends[:, :1]
    lower, upper = np.where(upwards, corners, ends), np.where(upwards, ends, corners)
    return np.column_stack([np.full(len(corners), number), lower, upper])  # (E, 5)


def _even_odd(edges: Points, shape: Triple) -> NDArray[np.bool_]:
    """Mask (slices, rows, columns) of the voxel centres inside an odd number of outlines, from edges (E, 5).

    Source: the even-odd rule, e.g. Foley et al. 1990, Computer Graphics, sec. 19.5. A row of voxel centres is
    cut by an edge if the edge begins at or below it and ends above it, so that a corner counts once.
    """
    first = np.clip(np.ceil(edges[:, 1]), 0, shape[1])
    counts = (np.clip(np.ceil(edges[:, 3]), 0, shape[1]) - first).astype(int)  # rows cut by each edge
    edges = np.repeat(edges, counts, axis=0)  # (H, 5)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts - first.astype(int), counts)  # (H,)
    number, row0, column0, row1, column1 = edges.T
    crossing = column0 + (rows - row0) * (column1 - column0) / (row1 - row0)
    columns = np.clip(np.ceil(crossing), 0, shape[2]).astype(int)
    flips = np.zeros((shape[0], shape[1], shape[2] + 1), np.uint8)
    np.add.at(flips, (number.astype(int), rows, columns), 1)
    inside = np.add.accumulate(flips[..., :-1], axis=2, dtype=np.uint8)  # wraps at 256, which is even
    return (inside & 1).astype(bool)
