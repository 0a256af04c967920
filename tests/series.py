"""DICOM series of a few voxels, for tests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_ct_series(
    folder: Path,
    *,
    places: Sequence[float] = (0.0, 2.5, 5.0, 7.5),
    series: str = "1.2.3",
    prefix: str = "",
    suffix: str = ".dcm",
    each: Callable[[int], dict[str, Any]] = lambda _: {},
    add: int = 0,
    **elements: Any,
) -> np.ndarray[Any, Any]:
    """Write a CT series, file names against the order of slices; `each`: elements by slice.

    Returns stored values (Z, Y, X).
    """
    values = np.arange(len(places) * 12).reshape(len(places), 3, 4) + 1000 + add
    for number, place in enumerate(places):
        one = _slice(
            values[number], **{"ImagePositionPatient": [-10.0, -20.0, place], **elements, **each(number)}
        )
        one.SeriesInstanceUID = series
        save_dicom(folder / f"{prefix}{len(places) - 1 - number}{suffix}", one, CTImageStorage)
    return values


def save_dicom(path: Path, dataset: Dataset, kind: str) -> None:
    """Write a file of a storage class."""
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid(entropy_srcs=[str(path)])
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _slice(values: np.ndarray[Any, Any], **elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.Modality, dataset.PatientID, dataset.SeriesInstanceUID = "CT", "Doe^Jane", "1.2.3"
    dataset.Rows, dataset.Columns = values.shape
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 2.0], 2.5
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = values.astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset
