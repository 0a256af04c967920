"""NIfTI headers as they come: what is mended is said, what can be read in two ways is refused."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mim3d.data.nifti_header import place
from mim3d.data.volume import Volume, read_volume
from mim3d.errors import DataError

SHAPE = (3, 4, 5)
VOXELS = np.arange(60).reshape(SHAPE).astype("<i2")
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(z=0.2) @ np.diag([0.7, 0.7, 2.5]), [-10.0, 20.0, 30.0]
)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def header_of(
    sform: NDArray[np.float64] | None = None,
    qform: NDArray[np.float64] | None = None,
    codes: tuple[int, int] = (1, 1),
    **fields: Any,
) -> nib.Nifti1Header:
    """A header without affine, or with those given; then fields are set as they stand, unchecked."""
    header = nib.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.int16)
    if qform is not None:
        header.set_qform(qform, code=codes[1])
    if sform is not None:
        header.set_sform(sform, code=codes[0])
    header["vox_offset"] = 352
    for name, value in fields.items():
        header[name][slice(1, 1 + len(value)) if name == "pixdim" else ...] = value
    return header


def read(folder: Path, header: nib.Nifti1Header, name: str = "a.nii") -> Volume:
    order = ">i2" if header.endianness == ">" else "<i2"
    (folder / name).write_bytes(header.binaryblock + bytes(4) + VOXELS.astype(order).T.tobytes())
    return read_volume(folder / name)


def test_no_orientation_is_spacing_along_ras(tmp_path: Path) -> None:
    volume = read(tmp_path, header_of(pixdim=(0.7, 0.8, 2.5)))
    np.testing.assert_allclose(volume.affine, np.diag([0.7, 0.8, 2.5, 1]), atol=1e-6)
    assert volume.note == (
        "its header states no orientation: axes taken as right, anterior, superior; left and right may be "
        "swapped"
    )


@pytest.mark.parametrize("side", [0.0, -1.0, np.nan, np.inf])
def test_no_orientation_and_no_spacing_is_refused(tmp_path: Path, side: float) -> None:
    with pytest.raises(
        DataError, match=r"^a\.nii: neither qform nor sform is set, and its spacing \(pixdim\)"
    ):
        read(tmp_path, header_of(pixdim=(1, side, 1)))


@pytest.mark.parametrize("side", [0.0, -0.7, np.nan, np.inf])
def test_a_qform_without_spacing_is_refused(
    tmp_path: Path, side: float, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        DataError, match=r"^a\.nii: its qform with spacing 0\.7 x .* x 2\.5 \(pixdim\) places"
    ):
        read(tmp_path, header_of(qform=OBLIQUE, pixdim=(0.7, side, 2.5)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("side", [0.0, -0.7, np.nan])
def test_a_sform_answers_for_an_unusable_qform(tmp_path: Path, side: float) -> None:
    volume = read(tmp_path, header_of(OBLIQUE, OBLIQUE, pixdim=(0.7, side, 2.5)))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert volume.note == "its qform is unusable: the sform is taken"
    alone = read(tmp_path, header_of(OBLIQUE, pixdim=(0.7, side, 2.5)))
    np.testing.assert_allclose(alone.affine, OBLIQUE, atol=1e-5)


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [np.nan, 0, 1, 0]])
def test_a_qform_answers_for_an_unusable_sform(tmp_path: Path, row: list[float]) -> None:
    volume = read(tmp_path, header_of(OBLIQUE, OBLIQUE, srow_z=row))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert volume.note == "its sform is unusable: the qform is taken"
    with pytest.raises(DataError, match=r"its qform with spacing|gives no spacing"):
        read(tmp_path, header_of(OBLIQUE, OBLIQUE, srow_z=row, pixdim=(0, 0, 0)))


def test_two_affines_that_agree_are_not_mentioned(tmp_path: Path) -> None:
    near = OBLIQUE.copy()
    near[:3, 3] += 0.02
    assert read(tmp_path, header_of(OBLIQUE, near)).note == ""


def test_of_two_places_the_sform_is_taken_and_said(tmp_path: Path) -> None:
    far = OBLIQUE.copy()
    far[0, 3] += 2
    volume = read(tmp_path, header_of(OBLIQUE, far))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert volume.note == "its qform and sform lie up to 2 mm apart: the sform is taken"


def test_of_a_template_and_the_scanner_the_scanner_is_taken(tmp_path: Path) -> None:
    template = OBLIQUE * 1.3
    volume = read(tmp_path, header_of(template, OBLIQUE, codes=(4, 1)))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert volume.note == "its sform leads into a template's space: the qform is taken"


def test_affines_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^a\.nii: its axes run LPS by the sform, RAS by the qform; which side"
    ):
        read(tmp_path, header_of(LPS, np.eye(4)))
    with pytest.raises(DataError, match=r"voxels of 1 x 1 x 1 mm by the sform, 1 x 1 x 3 mm by the qform"):
        read(tmp_path, header_of(np.eye(4), np.diag([1.0, 1.0, 3.0, 1.0])))


def test_the_quaternions_flip_is_kept(tmp_path: Path) -> None:
    mirrored = OBLIQUE @ np.diag([1.0, 1.0, -1.0, 1.0])
    np.testing.assert_allclose(read(tmp_path, header_of(qform=mirrored)).affine, mirrored, atol=1e-5)


@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    mirrored=st.booleans(),
)
def test_quaternions_are_read_as_nibabel_reads_them(
    angles: tuple[float, float, float], spacing: tuple[float, float, float], mirrored: bool
) -> None:
    matrix = nib.eulerangles.euler2mat(*angles) @ np.diag(spacing) @ np.diag([1, 1, -1 if mirrored else 1])
    header = header_of(qform=nib.affines.from_matvec(matrix, [5.0, -7.0, 90.0]))
    affine, note = place("a.nii", header, SHAPE)
    np.testing.assert_allclose(affine, header.get_qform(), atol=1e-5)
    assert note == ""


@pytest.mark.parametrize(
    ("unit", "factor", "note"),
    [
        (1, 1000.0, "its header is in metres: converted to mm"),
        (3, 0.001, "its header is in micrometres: converted to mm"),
        (0, 1.0, ""),
        (7, 1.0, "its unit of length has the unknown code 7: taken as mm"),
    ],
)
def test_units_become_mm(tmp_path: Path, unit: int, factor: float, note: str) -> None:
    written = OBLIQUE.copy()
    written[:3] /= factor
    volume = read(tmp_path, header_of(written, xyzt_units=unit))
    np.testing.assert_allclose(volume.affine, OBLIQUE, rtol=1e-5, atol=1e-5)
    assert volume.note == note


def test_a_unit_nobody_would_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"its header is in metres, which makes voxels of 700 x 700 x 2500 mm"
    ):
        read(tmp_path, header_of(OBLIQUE, xyzt_units=1))


def test_a_slope_that_is_none_is_not_applied(tmp_path: Path) -> None:
    zero = read(tmp_path, header_of(OBLIQUE, scl_slope=0, scl_inter=5))
    np.testing.assert_array_equal(zero.array, VOXELS)
    assert zero.note == ""
    nan = read(tmp_path, header_of(OBLIQUE, scl_slope=np.nan, scl_inter=5))
    np.testing.assert_array_equal(nan.array, VOXELS)
    assert (
        read(tmp_path, header_of(OBLIQUE, scl_slope=np.inf)).note
        == "its intensity slope is inf: none applied"
    )


def test_big_endian(tmp_path: Path) -> None:
    volume = read(tmp_path, header_of(OBLIQUE, scl_slope=1, scl_inter=0).as_byteswapped(">"))
    np.testing.assert_array_equal(volume.array, VOXELS)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert volume.array.dtype == np.int16
    assert volume.array.dtype.isnative


def test_whole_slopes_beyond_all_integers_stay_floats(tmp_path: Path) -> None:
    volume = read(tmp_path, header_of(OBLIQUE, scl_slope=2.0**40, scl_inter=0))
    np.testing.assert_array_equal(volume.array, VOXELS * np.float32(2.0**40))


@pytest.mark.parametrize("size", [0, -5])
def test_a_shape_without_voxels_is_refused(tmp_path: Path, size: int) -> None:
    header = header_of(OBLIQUE)
    header["dim"][2] = size
    with pytest.raises(
        DataError, match=r"^a\.nii: its header promises 3x-?\dx5 voxels; at least one on every axis is needed"
    ):
        read(tmp_path, header)


def read_or_reason(path: Path) -> Volume | str:
    try:
        return read_volume(path, 0)
    except DataError as error:
        return str(error)


def test_any_header_gives_a_volume_or_a_reason(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    block = bytearray(header_of(OBLIQUE, OBLIQUE).binaryblock)
    numbers = np.array([0, -1, np.nan, np.inf, 1e30, -1e-30, 1], "<f4")
    for _ in range(400):
        mutated = bytearray(block)
        for byte in random.integers(0, 340, random.integers(1, 9)):
            mutated[byte : byte + 4] = (
                random.choice(numbers).tobytes() if random.random() < 0.5 else random.bytes(4)
            )
        (tmp_path / "a.nii").write_bytes(bytes(mutated) + bytes(4) + VOXELS.T.tobytes())
        found = read_or_reason(tmp_path / "a.nii")
        if isinstance(found, Volume):
            assert np.isfinite(found.affine).all()
            assert min(found.spacing) > 0
        else:
            assert "\n" not in found
            assert str(tmp_path) not in found
