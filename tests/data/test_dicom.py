from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from mim3d.data.dicom import look
from mim3d.data.dicom_header import is_dicom
from mim3d.data.images import image_at
from mim3d.data.volume import read_volume
from mim3d.errors import DataError

Write = Callable[..., Any]


def test_slices_are_stacked_by_place(tmp_path: Path, write_series: Write) -> None:
    stored = write_series(tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, stored.T - 1024)
    assert volume.array.dtype == np.int16
    expected = np.array([[-2, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)
    assert volume.modality == "CT"


def test_any_file_stands_for_its_series(tmp_path: Path, write_series: Write) -> None:
    stored = write_series(tmp_path, series="1.2.1")
    write_series(tmp_path, series="1.2.2", prefix="other", places=(0.0, 1.0))
    np.testing.assert_array_equal(read_volume(tmp_path / "2.dcm").array, stored.T - 1024)
    assert read_volume(tmp_path / "other1.dcm").shape == (4, 3, 2)


def test_several_series_need_a_choice(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", series="1.2.1")
    write_series(tmp_path / "scan", series="1.2.2", prefix="other", places=(0.0, 1.0))
    with pytest.raises(
        DataError,
        match=r"^scan: 2 DICOM series in one folder, one is needed: .* 3\.dcm \(4 slices\), other1\.dcm \(2",
    ):
        read_volume(tmp_path / "scan")


@pytest.mark.parametrize(("slope", "dtype"), [(2, "int16"), (0.25, "float32")])
def test_slopes_are_applied(tmp_path: Path, write_series: Write, slope: float, dtype: str) -> None:
    stored = write_series(tmp_path, RescaleSlope=slope, RescaleIntercept=-5)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == dtype
    np.testing.assert_allclose(volume.array, stored.T * slope - 5)


def test_slopes_may_differ_from_slice_to_slice(tmp_path: Path, write_series: Write) -> None:
    stored = write_series(tmp_path)
    header = pydicom.dcmread(tmp_path / "0.dcm")  # the last slice
    header.RescaleSlope = 0.5
    header.save_as(tmp_path / "0.dcm")
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.array[..., 0], stored[0].T - 1024)
    np.testing.assert_allclose(volume.array[..., 3], stored[3].T * 0.5 - 1024)


def test_oblique_series_lie_where_their_headers_say(tmp_path: Path, write_series: Write) -> None:
    cos, sin = np.cos(0.4), np.sin(0.4)
    across = np.array([0, -sin, cos])
    for number in range(3):
        write_series(
            tmp_path,
            places=[0.0],
            prefix=f"{number}-",
            ImageOrientationPatient=[1, 0, 0, 0, cos, sin],
            ImagePositionPatient=list([1.0, 2.0, 3.0] + 4.0 * number * across),
        )
    volume = read_volume(tmp_path)
    corner = np.array([1.0, 2.0, 3.0]) + 3 * 2.0 * np.array([1, 0, 0]) + 2 * 0.5 * np.array([0, cos, sin])
    place = corner + 2 * 4.0 * across
    np.testing.assert_allclose((volume.affine @ [3, 2, 2, 1])[:3], place * [-1, -1, 1], atol=1e-5)


@pytest.mark.parametrize("places", [(0.0, 2.5, 7.5, 10.0), (0.0, 0.0, 2.5, 5.0), (1.0, 1.0)])
def test_uneven_slices_are_refused(tmp_path: Path, write_series: Write, places: tuple[float, ...]) -> None:
    write_series(tmp_path / "scan", places=places)
    with pytest.raises(DataError, match=r"^scan: slices are .* mm apart .* equal distances are needed"):
        read_volume(tmp_path / "scan")


def test_rounded_positions_are_even_enough(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, places=(0.0, 0.6, 1.3, 1.9, 2.5), SliceThickness=0.625)
    with pytest.raises(DataError, match="equal distances are needed"):
        read_volume(tmp_path)
    write_series(tmp_path, places=(0.0, 0.62, 1.25, 1.88, 2.5))
    assert read_volume(tmp_path).spacing[2] == pytest.approx(0.625)


def test_one_slice_has_the_thickness_of_its_header(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "one", places=[5.0])
    assert read_volume(tmp_path / "one").spacing == pytest.approx((2.0, 0.5, 2.5))
    write_series(tmp_path / "flat", places=[5.0], SliceThickness=None)
    with pytest.raises(DataError, match=r"^flat: a series of one slice without a thickness"):
        read_volume(tmp_path / "flat")


def test_stacks_of_one_series_that_are_not_alike_are_told_apart(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path)
    write_series(tmp_path, prefix="b", PixelSpacing=[0.5, 0.5])
    with pytest.raises(DataError, match=r"2 DICOM series in one folder, .* 3\.dcm \(4 slices\), b3\.dcm \(4"):
        read_volume(tmp_path)
    assert read_volume(tmp_path / "2.dcm").spacing == pytest.approx((2.0, 0.5, 2.5))
    assert read_volume(tmp_path / "b2.dcm").spacing == pytest.approx((0.5, 0.5, 2.5))


def test_localizers_copies_and_other_objects_are_left_out(
    tmp_path: Path, write_series: Write, write_rtstruct: Write
) -> None:
    write_series(tmp_path, series="1.2.1", SOPInstanceUID=None)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "0.dcm").read_bytes())
    write_series(tmp_path, series="1.2.2", prefix="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_rtstruct(tmp_path / "outlines.dcm", {})
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.dcm").write_text("hello")
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2"
    pydicom.dcmwrite(tmp_path / "DICOMDIR", directory, enforce_file_format=True)
    (tmp_path / ".hidden.dcm").write_bytes((tmp_path / "1.dcm").read_bytes())
    assert [(len(one.slices), one.left_out) for one in look(tmp_path).stacks] == [
        (4, ""),
        (4, "a localizer"),
    ]
    assert look(tmp_path).others == {
        tmp_path / "broken.dcm": "a DICOM file whose header cannot be read",
    }
    assert read_volume(tmp_path).shape == (4, 3, 4)
    with pytest.raises(DataError, match=r"^outlines\.dcm: no slice of a DICOM volume"):
        read_volume(tmp_path / "outlines.dcm")


def test_damaged_slices_are_refused(
    tmp_path: Path, write_series: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path)
    whole = (tmp_path / "1.dcm").read_bytes()
    (tmp_path / "1.dcm").write_bytes(whole[:-8])
    with pytest.raises(DataError, match=r"3\.dcm: a slice of its series of 4 is damaged"):
        read_volume(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_dicom_is_told_by_its_first_bytes(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path)
    (tmp_path / "0.dcm").rename(tmp_path / "1.2.840.1")
    (tmp_path / "short").write_bytes(b"DICM")
    assert is_dicom(tmp_path / "1.2.840.1")
    assert not is_dicom(tmp_path / "short")
    assert not is_dicom(tmp_path / "gone")
    assert read_volume(tmp_path / "1.2.840.1").shape == (4, 3, 4)


def test_the_patient_is_the_header_s(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", PatientID=None)
    (tmp_path / "a" / "a note").write_text("hello")
    (tmp_path / "c").mkdir()
    patients = []
    for name in ("a", "a/0.dcm", "b"):
        image = image_at(tmp_path / name)
        assert image is not None
        patients.append((image.patient, image.study, image.of_patient))
    assert patients == [("Doe^Jane", "", "Doe^Jane")] * 2 + [("", "", None)]
    assert image_at(tmp_path / "c") is None


@pytest.mark.parametrize(
    "broken", [{"ImagePositionPatient": [1.0, 2.0]}, {"ImageOrientationPatient": [1, 0, 0]}]
)
def test_a_place_of_too_few_numbers_is_no_place(
    tmp_path: Path, write_series: Write, broken: dict[str, Any]
) -> None:
    write_series(tmp_path, **broken)
    assert look(tmp_path) == ((), {tmp_path / "0.dcm": "an image without a place in space"})
