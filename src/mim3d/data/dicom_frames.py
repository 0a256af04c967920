"""Enhanced multi-frame DICOM: many slices in one file, each frame read as if it were a file of its own."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mim3d.data.dicom_elements import UNREADABLE, nameless_errors, quiet
from mim3d.data.dicom_header import GROUPS, Slice, read_slice
from mim3d.errors import DataError

_NAMES = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
}
"""What frames call otherwise than slices do."""
_PIXELS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def num_frames(header: pydicom.Dataset) -> int:
    """How many frames a header describes one by one."""
    return len(header.get(GROUPS[1]) or ())


def frame_in(path: Path, header: pydicom.Dataset, number: int) -> Slice | None:
    """The slice that a frame of a file is, None if there is no such frame, or it has no place."""
    try:
        with quiet():
            flat = flat_frame(header, header[GROUPS[1]].value[number])
    except UNREADABLE:
        return None
    return read_slice(path, flat, number)


def flat_frame(header: pydicom.Dataset, groups: pydicom.Dataset) -> pydicom.Dataset:
    """The header of a frame as a classic slice would have it."""
    flat = pydicom.Dataset()
    flat.file_meta = header.file_meta
    flat.update({element.tag: element for element in header if element.keyword not in GROUPS})
    for group in (*header.get(GROUPS[0], []), groups):
        for element in group:
            for item in element.value if element.VR == "SQ" else ():
                flat.update(item)
    for theirs, ours in _NAMES.items():
        if flat.get(theirs) is not None:
            setattr(flat, ours, flat.get(theirs))
    return flat


def write_frames(path: Path, frames: dict[int, Slice], folder: Path) -> dict[int, Path]:
    """Write frames of a file as classic slices into a folder, compressed as they are; paths by frame.

    Raises:
        DataError: If the file has fewer frames, or no voxels of whole numbers.
    """
    paths = {}
    with nameless_errors(path.name):
        whole = pydicom.dcmread(path)
        for number, content in _contents(whole):
            if number in frames:
                paths[number] = folder / f"{number:06d}.dcm"
                _write(paths[number], whole, frames[number], content)
    missing = frames.keys() - paths.keys()
    if missing:
        raise DataError(
            f"{path.name}: its header describes {len(frames)} frames of a stack, of which {len(missing)} are "
            "not in the file; a whole file is needed: copy it again"
        )
    return paths


def _contents(whole: pydicom.Dataset) -> Iterator[tuple[int, bytes]]:
    """Bytes of the voxels of each frame, as they are stored."""
    number = int(whole.get("NumberOfFrames") or 1)
    stored = whole.PixelData
    if whole.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from enumerate(generate_frames(stored, number_of_frames=number))
        return
    size = int(whole.Rows) * int(whole.Columns) * int(whole.BitsAllocated) // 8 * int(whole.SamplesPerPixel)
    for frame in range(min(number, len(stored) // size)):
        yield frame, stored[frame * size : (frame + 1) * size]


def _write(path: Path, whole: pydicom.Dataset, one: Slice, content: bytes) -> None:
    """Write one frame with what its voxels mean, and nothing else of its header."""
    syntax = whole.file_meta.TransferSyntaxUID
    classic = pydicom.Dataset()
    for name in _PIXELS:
        setattr(classic, name, whole.get(name))
    classic.SOPClassUID, classic.SOPInstanceUID = CTImageStorage, "1.2"
    classic.Modality = "CT"
    classic.RescaleSlope, classic.RescaleIntercept = (f"{value:.10g}" for value in one.rescale)
    classic.file_meta = FileMetaDataset()
    classic.file_meta.TransferSyntaxUID = (
        ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    )
    if syntax.is_encapsulated:
        content = pydicom.encaps.encapsulate([content])
    classic.PixelData = content
    classic["PixelData"].VR = "OB" if syntax.is_encapsulated or whole.BitsAllocated == 8 else "OW"
    pydicom.dcmwrite(path, classic, enforce_file_format=True)
