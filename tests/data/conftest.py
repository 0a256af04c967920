import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    RTStructureSetStorage,
)

from mim3d.data.volume import write_nifti
from tests.series import save_dicom


@pytest.fixture
def write_rtstruct() -> Callable[..., Path]:
    """Writes an RTSTRUCT of closed planar outlines {name: [corners (N, 3), LPS+ mm, ...]}."""

    def write(path: Path, outlines: dict[str, list[Any]], kind: str = "CLOSED_PLANAR") -> Path:
        dataset = Dataset()
        dataset.Modality, dataset.PatientID = "RTSTRUCT", "Doe^Jane"
        dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
        for number, (name, contours) in enumerate(outlines.items(), start=1):
            roi, drawn = Dataset(), Dataset()
            roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber = number, name, number
            drawn.ContourSequence = []
            for corners in contours:
                contour = Dataset()
                contour.ContourGeometricType = kind
                contour.ContourData = [f"{value:.8g}" for value in np.ravel(corners)]
                drawn.ContourSequence.append(contour)
            dataset.StructureSetROISequence.append(roi)
            dataset.ROIContourSequence.append(drawn)
        save_dicom(path, dataset, RTStructureSetStorage)
        return path

    return write


PLACES = (5.0, 0.0, 7.5, 2.5)
"""Of the frames of an enhanced file, mm."""


def _item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def _groups(named: dict[str, dict[str, Any]]) -> Dataset:
    """Functional groups from their elements."""
    return _item(**{f"{name}Sequence": [_item(**elements)] for name, elements in named.items()})


@pytest.fixture
def write_enhanced() -> Callable[..., None]:
    """Writes an enhanced CT of frames (N, Y, X), frame n at `places[n]`; `each`: groups by frame."""

    def write(
        path: Path,
        values: NDArray[Any],
        places: Sequence[float] = PLACES,
        each: Callable[[int], dict[str, dict[str, Any]]] = lambda _: {},
        syntax: str = ExplicitVRLittleEndian,
        **elements: Any,
    ) -> None:
        shared: dict[str, dict[str, Any]] = {
            "PixelMeasures": {"PixelSpacing": [0.5, 2.0], "SliceThickness": 2.5},
            "PlaneOrientation": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            "PixelValueTransformation": {"RescaleSlope": 1, "RescaleIntercept": -1024},
            "CTReconstruction": {"ConvolutionKernel": "Br40d"},
        }
        dataset = _item(
            SOPClassUID=EnhancedCTImageStorage,
            SOPInstanceUID="1.2.8",
            StudyInstanceUID="1.2.7",
            SeriesInstanceUID="1.2.3",
            PatientID="Doe^Jane",
            Modality="CT",
            Rows=values.shape[1],
            Columns=values.shape[2],
            NumberOfFrames=len(values),
            SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2",
            BitsAllocated=16,
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=0,
            SharedFunctionalGroupsSequence=[_groups(shared)],
            PerFrameFunctionalGroupsSequence=[
                _groups({"PlanePosition": {"ImagePositionPatient": [-10.0, -20.0, place]}, **each(number)})
                for number, place in enumerate(places)
            ],
        )
        for name, value in elements.items():
            setattr(dataset, name, value)
        dataset.PixelData = values.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)

    return write


META = "\ufeffimage_id;age;split\ns0000;50;train\ns0001;60;test\ns0002;40;test\ns0004;70;val\n"
"""TotalSegmentator's table, as Excel writes it."""


@pytest.fixture
def archive(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the miniature of a public data set; gives the folder that it was unpacked into."""

    def write(name: str) -> Path:
        files = (Path(__file__).parent / "miniatures" / f"{name}.txt").read_text().splitlines()
        for file in (tmp_path / "raw" / line for line in files):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(META if file.name == "meta.csv" else "x")
        return tmp_path / "raw"

    return write


@pytest.fixture
def scan() -> Callable[[int], NDArray[np.int16]]:
    """Draws the voxels of a scan from a seed."""

    def draw(seed: int) -> NDArray[np.int16]:
        return np.random.default_rng(seed).integers(-1000, 1000, (20, 24, 12)).astype(np.int16)

    return draw


@pytest.fixture
def labels(scan: Callable[[int], NDArray[np.int16]]) -> Callable[[int], NDArray[np.int16]]:
    """Labels the scan of a seed."""

    def label(seed: int) -> NDArray[np.int16]:
        return np.where(scan(seed) > 500, 300, np.where(scan(seed) < -500, 1, 0)).astype(np.int16)

    return label


@pytest.fixture
def affine() -> NDArray[np.float64]:
    """Left to right reversed, so that canonical is not as stored."""
    turned = np.diag([-2.0, 2.0, 3.0, 1.0])
    turned[:3, 3] = (30.0, -10.0, 5.0)
    return turned


@pytest.fixture
def write_rows() -> Callable[[Path, list[dict[str, str]]], Path]:
    """Writes what a folder's cases.csv and label_sets.json say; gives the folder."""

    def write(raw: Path, rows: list[dict[str, str]]) -> Path:
        columns = ("case", "patient", "image", "label", "labels", "annotated", "split", "note")
        with (raw / "cases.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        sets = {"organs": {"structures": {"liver": 1, "spleen": 300}}}
        (raw / "label_sets.json").write_text(json.dumps(sets))
        return raw

    return write


@pytest.fixture
def raw(
    tmp_path: Path,
    scan: Callable[[int], NDArray[np.int16]],
    labels: Callable[[int], NDArray[np.int16]],
    affine: NDArray[np.float64],
    write_rows: Callable[[Path, list[dict[str, str]]], Path],
) -> Path:
    """Five labelled scans of five patients."""
    rows = []
    for number in range(5):
        write_nifti(tmp_path / "raw" / f"scan{number}.nii", scan(number), affine)
        write_nifti(tmp_path / "raw" / f"label{number}.nii", labels(number), affine)
        rows.append(
            {
                "case": f"case{number}",
                "patient": f"Jane Doe {number}",
                "image": f"scan{number}.nii",
                "label": f"label{number}.nii",
                "labels": "organs",
            }
        )
    return write_rows(tmp_path / "raw", rows)
