"""Voxels of DICOM slices: signs, padding, compression, and gantries set upright."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless

from mim3d.data.volume import read_volume
from mim3d.errors import DataError

Write = Callable[..., Any]


def put(path: Path, values: NDArray[Any], **elements: Any) -> None:
    """Write other voxels (Y, X) and elements into a slice."""
    header = pydicom.dcmread(path)
    header.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(header, name, value)
    header.save_as(path)


def test_signed_voxels_keep_their_sign(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, places=[0.0])
    values = np.arange(-6, 6).reshape(3, 4).astype("<i2")
    put(tmp_path / "0.dcm", values, PixelRepresentation=1, RescaleIntercept=10)
    np.testing.assert_array_equal(read_volume(tmp_path).array[..., 0], values.T + 10)


def test_twelve_bits_are_read_without_what_lies_above_them(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, places=[0.0])
    values = np.arange(-6, 6).reshape(3, 4)
    stored = ((values & 0xFFF) | 0x3000).astype("<u2")
    put(tmp_path / "0.dcm", stored, PixelRepresentation=1, BitsStored=12, HighBit=11, RescaleIntercept=0)
    np.testing.assert_array_equal(read_volume(tmp_path).array[..., 0], values.T)


@pytest.mark.parametrize(
    ("signed", "padding", "stored"),
    [
        (0, {"PixelPaddingValue": 1001}, [1001]),
        (0, {"PixelPaddingValue": 1001, "PixelPaddingRangeLimit": 1003}, [1001, 1002, 1003]),
        (0, {"PixelPaddingValue": 1003, "PixelPaddingRangeLimit": 1001}, [1001, 1002, 1003]),
        (1, {"PixelPaddingValue": -2000}, [-2000]),
        (1, {"PixelPaddingValue": 63536}, [-2000]),  # -2000 written without its sign
    ],
)
def test_padding_is_air(
    tmp_path: Path, write_series: Write, signed: int, padding: dict[str, int], stored: list[int]
) -> None:
    write_series(tmp_path, places=[0.0])
    values = np.arange(12).reshape(3, 4) + 1000
    values[0, : len(stored)] = stored
    put(tmp_path / "0.dcm", values.astype("<i2"), PixelRepresentation=signed, RescaleIntercept=-900)
    header = pydicom.dcmread(tmp_path / "0.dcm")
    for name, value in padding.items():
        header.add_new(name, "SS" if value < 0 else "US", value)
    header.save_as(tmp_path / "0.dcm")
    expected = np.where(np.isin(values, stored), -1024, values - 900)
    np.testing.assert_array_equal(read_volume(tmp_path).array[..., 0], expected.T)


def test_padding_follows_the_slope_of_its_slice(tmp_path: Path, write_series: Write) -> None:
    stored = write_series(
        tmp_path,
        PixelPaddingValue=1001,
        each=lambda number: {"RescaleSlope": 0.5 if number else 1, "RescaleIntercept": -number},
    )
    array = read_volume(tmp_path).array
    assert array[1, 0, 0] == -1024
    np.testing.assert_allclose(array[..., 1:], (stored.T * 0.5 - [0, 1, 2, 3])[..., 1:])


def test_padding_of_other_modalities_is_nothing(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, Modality="MR", PixelPaddingValue=1000, RescaleIntercept=0)
    assert read_volume(tmp_path).array[0, 0, 0] == 0


def write_large(write_series: Write, folder: Path) -> NDArray[np.int64]:
    """A series of slices large enough for GDCM's encoders; its stored values (Z, Y, X)."""
    values = np.random.default_rng(0).integers(0, 4096, (4, 32, 32))
    write_series(
        folder,
        each=lambda number: {
            "Rows": 32,
            "Columns": 32,
            "PixelData": values[number].astype("<u2").tobytes(),
        },
    )
    return values


def compress(folder: Path, compressor: str) -> str:
    """Compress the slices of a folder with ITK, but keep their headers; the transfer syntax."""
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        image = SimpleITK.GetImageFromArray(header.pixel_array.astype(np.uint16))
        SimpleITK.WriteImage(image, folder / "packed.dcm", useCompression=True, compressor=compressor)
        packed = pydicom.dcmread(folder / "packed.dcm")
        (folder / "packed.dcm").unlink()
        frame = next(generate_frames(packed.PixelData, number_of_frames=1))
        header.PixelData = encapsulate([frame])
        header["PixelData"].is_undefined_length = True
        header.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        header.save_as(path)
    return str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)


@pytest.mark.parametrize(
    ("compressor", "syntax"),
    [("JPEG", "1.2.840.10008.1.2.4.70"), ("JPEG2000", "1.2.840.10008.1.2.4.90")],
)
def test_lossless_compression_changes_no_voxel(
    tmp_path: Path, write_series: Write, compressor: str, syntax: str
) -> None:
    values = write_large(write_series, tmp_path)
    assert compress(tmp_path, compressor) == syntax
    np.testing.assert_array_equal(read_volume(tmp_path).array, values.T - 1024)


def test_run_length_encoding_changes_no_voxel(tmp_path: Path, write_series: Write) -> None:
    values = write_large(write_series, tmp_path)
    for path in tmp_path.iterdir():
        header = pydicom.dcmread(path)
        header.compress(RLELossless, generate_instance_uid=False)
        header.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, values.T - 1024)


def test_run_lengths_with_a_broken_header_are_refused(tmp_path: Path, write_series: Write) -> None:
    """Found by mutating files: GDCM divides by the number of segments, and 0 of them end the process."""
    write_large(write_series, tmp_path)
    header = pydicom.dcmread(tmp_path / "1.dcm")
    header.compress(RLELossless, generate_instance_uid=False)
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([b"\0\0\0\0" + frame[4:]])
    header.save_as(tmp_path / "1.dcm")
    with pytest.raises(DataError, match="a slice in run lengths has a broken header; whole, standard DICOM"):
        read_volume(tmp_path)


def test_a_tilted_gantry_is_set_upright(tmp_path: Path, write_series: Write) -> None:
    """A beam along the patient's axis: its squares drift in tilted slices, and stand straight afterwards."""
    drift = 1.0  # mm to the back from slice to slice: 2 voxels
    write_series(
        tmp_path,
        places=[2.5 * number for number in range(5)],
        each=lambda number: {
            "ImagePositionPatient": [-10.0, -20.0 + drift * number, 2.5 * number],
            "Rows": 12,
            "Columns": 4,
            "PixelData": _beam(2 * number).tobytes(),
        },
    )
    volume = read_volume(tmp_path)
    assert volume.shape == (4, 12 + 8, 5)
    assert volume.note == "gantry tilt of 21.8 degrees set upright"
    expected = np.full((4, 20, 5), -1024)
    for number in range(5):
        expected[:, 2 * number : 2 * number + 12, number] = 0
    expected[1:3, 9:11, :] = 500
    np.testing.assert_array_equal(volume.array, expected)
    matrix = np.array([[-2, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, matrix, atol=1e-6)


def _beam(drift: int) -> NDArray[np.uint16]:
    """A slice (12, 4) of 0 HU with a square of 500 HU that lies in one place of the world."""
    values = np.full((12, 4), 1024, "<u2")
    values[9 - drift : 11 - drift, 1:3] = 1524
    return values


@pytest.mark.parametrize("drift", [0.3, -0.45])
def test_every_tilted_voxel_stays_where_it_was(tmp_path: Path, write_series: Write, drift: float) -> None:
    """A ramp in space is the same function of place before and after, wherever slices lie around a voxel."""
    ramp = np.arange(40, dtype="<u2")[:, None] * np.ones((1, 4), "<u2") * 10
    write_series(
        tmp_path,
        RescaleIntercept=0,
        RescaleSlope=0.5,
        each=lambda number: {
            "ImagePositionPatient": [-10.0, drift * number, 2.5 * number],
            "Rows": 40,
            "Columns": 4,
            "PixelData": ramp.tobytes(),
        },
    )
    volume = read_volume(tmp_path)
    for number in range(4):
        rows = np.arange(6, volume.shape[1] - 6)
        y = -(volume.affine @ [1, 0, number, 1])[1] + 0.5 * rows  # LPS mm
        np.testing.assert_allclose(volume.array[1, rows, number], (y - drift * number) / 0.5 * 5, atol=1e-3)


def test_more_voxels_than_a_file_can_hold_are_refused(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, places=[0.0], each=lambda _: {"Rows": 60_000, "Columns": 60_000})
    with pytest.raises(DataError, match="headers promise 3600000000 voxels, but the files hold"):
        read_volume(tmp_path)


def test_a_gantry_tilted_too_far_is_refused(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, each=lambda number: {"ImagePositionPatient": [-10.0, 3.0 * number, 2.5 * number]})
    with pytest.raises(
        DataError, match="each slice lies 50 degrees off the normal of the one before; at most 45"
    ):
        read_volume(tmp_path)
