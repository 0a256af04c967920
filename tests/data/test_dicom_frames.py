"""Enhanced multi-frame files: each frame is a slice, whatever order, compression and rescaling it has."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from mim3d.data.dicom import identify
from mim3d.data.dicom_labels import read_drawn
from mim3d.data.dicom_seg import Maker, write_seg
from mim3d.data.labels import LabelSet
from mim3d.data.volume import find_images, find_scans, read_volume
from mim3d.errors import DataError

PLACES = (5.0, 0.0, 7.5, 2.5)
Each = Callable[[int], dict[str, dict[str, Any]]]


def left_out_of(folder: Path) -> dict[Path, str]:
    """What is left out of a folder, and what it is."""
    return {path: left_out for path, left_out in find_images(folder) if left_out}


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def groups(named: dict[str, dict[str, Any]]) -> Dataset:
    """Functional groups from their elements."""
    return item(**{f"{name}Sequence": [item(**elements)] for name, elements in named.items()})


def write(
    path: Path,
    values: NDArray[Any],
    places: Sequence[float] = PLACES,
    each: Each = lambda _: {},
    syntax: str = ExplicitVRLittleEndian,
    **elements: Any,
) -> None:
    """Write an enhanced CT of frames (N, Y, X), frame n at `places[n]`; `each`: groups by frame."""
    shared: dict[str, dict[str, Any]] = {
        "PixelMeasures": {"PixelSpacing": [0.5, 2.0], "SliceThickness": 2.5},
        "PlaneOrientation": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        "PixelValueTransformation": {"RescaleSlope": 1, "RescaleIntercept": -1024},
        "CTReconstruction": {"ConvolutionKernel": "Br40d"},
    }
    dataset = item(
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
        SharedFunctionalGroupsSequence=[groups(shared)],
        PerFrameFunctionalGroupsSequence=[
            groups({"PlanePosition": {"ImagePositionPatient": [-10.0, -20.0, place]}, **each(number)})
            for number, place in enumerate(places)
        ],
        **elements,
    )
    big = syntax == ExplicitVRBigEndian
    dataset.PixelData = values.astype(">u2" if big else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def frames(number: int = 4, side: int = 32) -> NDArray[np.int64]:
    return np.random.default_rng(number).integers(0, 4096, (number, side, side))


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
def test_frames_are_slices(tmp_path: Path, syntax: str) -> None:
    values = frames()
    write(tmp_path / "scan", values, syntax=syntax)
    assert find_scans(tmp_path) == [tmp_path]
    assert identify(tmp_path) == ("Doe^Jane", "1.2.7")
    volume = read_volume(tmp_path / "scan")
    np.testing.assert_array_equal(volume.array, values[[1, 3, 0, 2]].T - 1024)
    expected = np.array([[-2, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)
    assert (volume.study.thickness, volume.study.kernel) == (2.5, "Br40d")


def test_frames_in_lossless_jpeg_are_slices(tmp_path: Path) -> None:
    """Of which pydicom alone has no decoder here."""
    values = frames()
    write(tmp_path / "scan" / "file", values)
    whole = pydicom.dcmread(tmp_path / "scan" / "file")
    packed = []
    for frame in values:
        image = SimpleITK.GetImageFromArray(frame.astype(np.uint16))
        SimpleITK.WriteImage(image, tmp_path / "one.dcm", useCompression=True, compressor="JPEG")
        one = pydicom.dcmread(tmp_path / "one.dcm")
        packed.append(next(generate_frames(one.PixelData, number_of_frames=1)))
    whole.PixelData = encapsulate(packed)
    whole["PixelData"].is_undefined_length = True
    whole["PixelData"].VR = "OB"
    whole.file_meta.TransferSyntaxUID = one.file_meta.TransferSyntaxUID
    whole.save_as(tmp_path / "scan" / "file")
    np.testing.assert_array_equal(read_volume(tmp_path / "scan").array, values[[1, 3, 0, 2]].T - 1024)


def test_each_frame_has_its_own_slope_and_intercept(tmp_path: Path) -> None:
    values = frames()
    write(
        tmp_path / "scan",
        values,
        each=lambda number: {"PixelValueTransformation": {"RescaleSlope": 0.5, "RescaleIntercept": number}},
    )
    expected = (values * 0.5 + np.arange(4)[:, None, None])[[1, 3, 0, 2]].T
    np.testing.assert_allclose(read_volume(tmp_path).array, expected)


def test_time_points_of_one_file_are_volumes_of_their_own(tmp_path: Path) -> None:
    values = frames(8)
    write(
        tmp_path / "scan",
        values,
        places=[0.0, 2.5, 5.0, 7.5] * 2,
        each=lambda number: {"FrameContent": {"TemporalPositionIndex": 1 + number // 4}},
    )
    scans = find_scans(tmp_path)
    assert scans == [tmp_path / "scan" / "1", tmp_path / "scan" / "2"]
    np.testing.assert_array_equal(read_volume(scans[0]).array, values[:4].T - 1024)
    np.testing.assert_array_equal(read_volume(scans[1]).array, values[4:].T - 1024)
    with pytest.raises(DataError, match=r"^scan: 2 DICOM series in one .* 1 \(4 slices\), 2 \(4 slices\)"):
        read_volume(tmp_path / "scan")


def test_reformatted_frames_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path / "scan",
        frames(),
        each=lambda _: {"CTImageFrameType": {"FrameType": ["DERIVED", "PRIMARY", "VOLUME", "MPR"]}},
    )
    assert find_scans(tmp_path) == []
    assert left_out_of(tmp_path) == {tmp_path / "scan": "a reformatted image"}


def test_frames_without_a_place_are_on_record(tmp_path: Path) -> None:
    write(tmp_path / "scan", frames(), each=lambda _: {"PlanePosition": {"ImagePositionPatient": None}})
    assert left_out_of(tmp_path) == {tmp_path / "scan": "an image without a place in space"}


def test_missing_frames_are_said(tmp_path: Path) -> None:
    write(tmp_path / "scan", frames(3))
    with pytest.raises(
        DataError, match="describes 4 frames of a stack, of which 1 are not in the file; a whole"
    ):
        read_volume(tmp_path / "scan")


def test_a_seg_lies_on_the_frames(tmp_path: Path) -> None:
    source, seg = tmp_path / "enhanced.dcm", tmp_path / "seg.dcm"
    write(source, np.arange(48).reshape(4, 3, 4) + 1000, FrameOfReferenceUID="1.2.77")
    volume = read_volume(source)
    labels = (volume.array % 3).astype(np.uint8)
    organs = {"liver": (1,), "spleen": (2,)}
    write_seg(seg, labels, volume.affine, source, organs, Maker(version="0.1.0", weights="ab" * 32))
    found = read_drawn(seg, volume, LabelSet("organs", {"liver": 1, "spleen": 2}))
    np.testing.assert_array_equal(found, labels)
