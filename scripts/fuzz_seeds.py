"""Small whole scans of every format, for `fuzz_readers.py` to break."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset


def write_seeds(folder: Path) -> None:
    """A small whole scan of each kind, each in a folder of its own."""
    voxels = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 8)).astype(np.int16)
    kinds = {"a.nii": voxels, "b.nii.gz": voxels, "c.nii": voxels.astype(np.float32)}
    for name, array in kinds.items():
        (folder / name).mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 2.0, 3.0, 1.0])), folder / name / name)
    (folder / "n2").mkdir()
    nib.save(nib.Nifti2Image(voxels, np.eye(4)), folder / "n2" / "a.nii")
    image = SimpleITK.GetImageFromArray(voxels.T)
    for name in ("a.nrrd", "a.mha", "a.mhd", "a.nhdr"):
        for compressed in (False, True):
            place = folder / f"{name}-{compressed}"
            place.mkdir()
            SimpleITK.WriteImage(image, str(place / name), compressed)
    (folder / "pair").mkdir()
    nib.save(nib.Nifti1Pair(voxels, np.eye(4)), folder / "pair" / "a.img")
    write_dicom_seeds(folder, voxels)


def write_dicom_seeds(folder: Path, voxels: np.ndarray) -> None:
    """DICOM: a series, the same in two folders, in an archive, compressed, with labels; enhanced images."""
    write_series(folder / "series", voxels)
    write_series(folder / "spread" / "a", voxels, range(4))
    write_series(folder / "spread" / "b", voxels, range(4, 8))
    (folder / "zip").mkdir()
    with zipfile.ZipFile(folder / "zip" / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "series").iterdir()):
            archive.write(path, path.name)
    write_series(folder / "packed", np.tile(voxels, (3, 3, 1)))  # smaller ones GDCM does not unpack
    for path in (folder / "packed").iterdir():
        one = pydicom.dcmread(path)
        one.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        one.save_as(path)
    write_series(folder / "drawn", voxels, range(3))
    write_seg(folder / "drawn" / "seg.dcm", "FRACTIONAL")
    write_seg(folder / "drawn" / "yes-or-no.dcm", "BINARY")
    write_outlines(folder / "drawn" / "outlines.dcm")
    write_enhanced(folder / "enhanced" / "a.dcm", voxels)
    for number in (0, 1):
        part = {"ConcatenationUID": "1.2.5", "InConcatenationNumber": number + 1}
        part |= {"InConcatenationTotalNumber": 2, "SOPInstanceUID": f"1.2.5.{number}"}
        write_enhanced(
            folder / "parts" / f"{number}.dcm", voxels[..., 4 * number :][..., :4], 4 * number, **part
        )


def item(**elements: object) -> Dataset:
    """A dataset of these elements."""
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def write(path: Path, dataset: Dataset) -> None:
    """A DICOM file, uncompressed."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


GRID = (
    item(PixelMeasuresSequence=[item(PixelSpacing=[1.0, 1.0], SliceThickness=2.0)]),
    item(PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
)


def frames(places: Sequence[float], **each: Dataset) -> dict[str, list[Dataset]]:
    """Functional groups of frames at these places, mm along z."""
    shared = item(**{element.keyword: element.value for groups in GRID for element in groups})
    return {
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": [
            item(
                PlanePositionSequence=[item(ImagePositionPatient=[0, 0, place])],
                **{name: [group] for name, group in each.items()},
            )
            for place in places
        ],
    }


def write_enhanced(path: Path, voxels: np.ndarray, first: int = 0, **elements: object) -> None:
    """An enhanced CT of int16 voxels (X, Y, Z), each plane a frame."""
    pixels = image(voxels.shape[:2], 16) | frames([2.0 * (first + n) for n in range(voxels.shape[2])])
    kind = {"SOPClassUID": pydicom.uid.EnhancedCTImageStorage, "SOPInstanceUID": "1.2.4", "Modality": "CT"}
    stored = {"NumberOfFrames": voxels.shape[2], "PixelData": voxels.T.astype("<i2").tobytes()}
    write(path, item(SeriesInstanceUID="1.2.3", **{**kind, **pixels, **stored, **elements}))


def image(size: tuple[int, ...], bits: int) -> dict[str, object]:
    """What a header says of voxels of so many bits, in planes of `size` (X, Y)."""
    return {
        "Rows": size[1],
        "Columns": size[0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(bits == 16),
    }


def write_seg(path: Path, kind: str) -> None:
    """Segmentations of the series in its first two slices, as fractions or as bits."""
    bits = 1 if kind == "BINARY" else 8
    named = item(SegmentNumber=1, SegmentLabel="Liver")
    groups = frames([0.0, 2.0], SegmentIdentificationSequence=item(ReferencedSegmentNumber=1))
    stored = bytes([0b10110100] * 11 + [0]) if bits == 1 else bytes(range(0, 168, 2))
    header = {"SegmentationType": kind, "MaximumFractionalValue": 100, "SegmentSequence": [named]}
    seg = item(SOPClassUID=pydicom.uid.SegmentationStorage, SOPInstanceUID="1.2.6", Modality="SEG")
    seg.update(item(**header, **image((6, 7), bits), **groups, NumberOfFrames=2, PixelData=stored))
    write(path, seg)


def write_outlines(path: Path) -> None:
    """An RTSTRUCT of a square on a slice of the series."""
    corners = [1, 1, 2, 4, 1, 2, 4, 4, 2, 1, 4, 2]
    drawn = item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=4, ContourData=corners)
    outlines = item(
        SOPClassUID=pydicom.uid.RTStructureSetStorage, SOPInstanceUID="1.2.7", Modality="RTSTRUCT"
    )
    outlines.StructureSetROISequence = [item(ROINumber=1, ROIName="Liver")]
    outlines.ROIContourSequence = [item(ReferencedROINumber=1, ContourSequence=[drawn])]
    write(path, outlines)


def write_series(folder: Path, voxels: np.ndarray, numbers: Iterable[int] | None = None) -> None:
    """A DICOM series of int16 voxels (X, Y, Z), all planes of it or some."""
    folder.mkdir(parents=True)
    for number in range(voxels.shape[2]) if numbers is None else numbers:
        one = item(**image(voxels.shape[:2], 16))
        one.SOPClassUID, one.SOPInstanceUID = pydicom.uid.CTImageStorage, f"1.2.3.{number + 1}"
        one.SeriesInstanceUID, one.Modality, one.PatientID = "1.2.3", "CT", "nobody"
        one.PixelSpacing, one.SliceThickness = [1.0, 1.0], 2.0
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2 * number]
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = voxels[:, :, number].T.astype("<i2").tobytes()
        write(folder / f"{number}.dcm", one)
