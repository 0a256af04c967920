"""Enhanced multi-frame files: each frame is a slice, whatever order, compression and rescaling it has."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from mim3d.data.case_channels import source_of
from mim3d.data.dicom_held import CROWDED
from mim3d.data.dicom_labels import read_drawn
from mim3d.data.dicom_seg import Maker, write_seg
from mim3d.data.images import image_at
from mim3d.data.labels import LabelSet
from mim3d.data.search import find_images, find_scans
from mim3d.data.volume import read_volume
from mim3d.errors import DataError

Write = Callable[..., None]


def left_out_of(folder: Path) -> dict[Path, str]:
    """What is left out of a folder, and what it is."""
    return {image.path: image.left_out for image in find_images([folder]) if image.left_out}


def frames(number: int = 4, side: int = 32) -> NDArray[np.int64]:
    return np.random.default_rng(number).integers(0, 4096, (number, side, side))


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
def test_frames_are_slices(tmp_path: Path, write_enhanced: Write, syntax: str) -> None:
    values = frames()
    write_enhanced(tmp_path / "scan", values, syntax=syntax)
    assert find_scans(tmp_path) == [tmp_path]
    image = image_at(tmp_path)
    assert image is not None
    assert (image.patient, image.study) == ("Doe^Jane", "1.2.7")
    volume = read_volume(tmp_path / "scan")
    np.testing.assert_array_equal(volume.array, values[[1, 3, 0, 2]].T - 1024)
    expected = np.array([[-2, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)
    assert (volume.study.thickness, volume.study.kernel) == (2.5, "Br40d")


def test_frames_in_lossless_jpeg_are_slices(tmp_path: Path, write_enhanced: Write) -> None:
    """Of which pydicom alone has no decoder here."""
    values = frames()
    write_enhanced(tmp_path / "scan" / "file", values)
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


def test_each_frame_has_its_own_slope_and_intercept(tmp_path: Path, write_enhanced: Write) -> None:
    values = frames()
    write_enhanced(
        tmp_path / "scan",
        values,
        each=lambda number: {"PixelValueTransformation": {"RescaleSlope": 0.5, "RescaleIntercept": number}},
    )
    expected = (values * 0.5 + np.arange(4)[:, None, None])[[1, 3, 0, 2]].T
    np.testing.assert_allclose(read_volume(tmp_path).array, expected)


def test_time_points_of_one_file_are_volumes_of_their_own(tmp_path: Path, write_enhanced: Write) -> None:
    values = frames(8)
    write_enhanced(
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


def test_reformatted_frames_are_left_out(tmp_path: Path, write_enhanced: Write) -> None:
    write_enhanced(
        tmp_path / "scan",
        frames(),
        each=lambda _: {"CTImageFrameType": {"FrameType": ["DERIVED", "PRIMARY", "VOLUME", "MPR"]}},
    )
    assert find_scans(tmp_path) == []
    assert left_out_of(tmp_path) == {tmp_path / "scan": "a reformatted image"}


def test_frames_without_a_place_are_on_record(tmp_path: Path, write_enhanced: Write) -> None:
    write_enhanced(
        tmp_path / "scan", frames(), each=lambda _: {"PlanePosition": {"ImagePositionPatient": None}}
    )
    assert left_out_of(tmp_path) == {tmp_path / "scan": "an image without a place in space"}


def test_a_file_of_too_many_volumes_is_refused(
    tmp_path: Path, write_enhanced: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hostile header of a hundred thousand volumes would have as many scans to prepare."""
    monkeypatch.setattr("mim3d.data.dicom_held.MOST_VOLUMES", 3)
    for number in (3, 4):
        write_enhanced(
            tmp_path / str(number) / "scan",
            frames(2 * number),
            places=[0.0, 2.5] * number,
            each=lambda frame: {"FrameContent": {"TemporalPositionIndex": 1 + frame // 2}},
            SeriesInstanceUID=f"1.2.{number}",
        )
    assert len(find_scans(tmp_path)) == 3
    assert left_out_of(tmp_path) == {tmp_path / "4" / "scan": CROWDED}


def test_missing_frames_are_said(tmp_path: Path, write_enhanced: Write) -> None:
    write_enhanced(tmp_path / "scan", frames(3))
    with pytest.raises(
        DataError, match="describes 4 frames of a stack, of which 1 are not in the file; a whole"
    ):
        read_volume(tmp_path / "scan")


def test_a_seg_lies_on_the_frames(tmp_path: Path, write_enhanced: Write) -> None:
    source, seg = tmp_path / "enhanced.dcm", tmp_path / "seg.dcm"
    write_enhanced(source, np.arange(48).reshape(4, 3, 4) + 1000, FrameOfReferenceUID="1.2.77")
    volume = read_volume(source)
    labels = (volume.array % 3).astype(np.uint8)
    organs = {"liver": (1,), "spleen": (2,)}
    write_seg(seg, labels, volume.affine, source_of(source), organs, Maker(version="0.1.0", weights="ab"))
    found, _ = read_drawn(seg, volume, LabelSet("organs", {"liver": 1, "spleen": 2}))
    np.testing.assert_array_equal(found, labels)


def test_a_seg_on_frames_without_a_thickness(tmp_path: Path, write_enhanced: Write) -> None:
    source, seg = tmp_path / "enhanced.dcm", tmp_path / "seg.dcm"
    write_enhanced(source, np.arange(48).reshape(4, 3, 4) + 1000, FrameOfReferenceUID="1.2.77")
    header = pydicom.dcmread(source)
    del header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
    header.save_as(source)
    volume = read_volume(source)
    labels = (volume.array % 3).astype(np.uint8)
    maker = Maker(version="0.1.0", weights="ab")
    write_seg(seg, labels, volume.affine, source_of(source), {"liver": (1,), "spleen": (2,)}, maker)
    (shared,) = pydicom.dcmread(seg).SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].SliceThickness == 2.5
