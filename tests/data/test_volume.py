from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mim3d.data.search import find_scans
from mim3d.data.volume import Volume, as_stored, canonical, read_volume, write_nifti
from mim3d.errors import DataError

SHAPE = (3, 4, 5)


def voxels(shape: tuple[int, ...] = SHAPE, dtype: str = "int16") -> NDArray[Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def rotation(angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def affine_of(axes: str, spacing: tuple[float, float, float], angle: float = 0.0) -> NDArray[np.float64]:
    """Affine of an array whose axes run towards the letters, e.g. "LPS", turned by an angle about z."""
    affine = np.zeros((4, 4))
    for axis, letter in enumerate(axes):
        world = next(i for i, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[world, axis] = spacing[axis] if letter in "RAS" else -spacing[axis]
    affine[:, 3] = (-31.25, 17.5, -340.125, 1.0)
    return rotation(angle) @ affine


AFFINES = [
    pytest.param(affine_of("RAS", (1.0, 1.0, 1.0)), id="identity"),
    pytest.param(affine_of("LPS", (0.7, 0.7, 2.5)), id="flipped"),
    pytest.param(affine_of("SLA", (1.5, 0.8, 3.0)), id="permuted"),
    pytest.param(affine_of("PIR", (0.9, 5.0, 0.45), angle=0.3), id="oblique"),
]


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_keeps_voxels_and_affine(tmp_path: Path, affine: NDArray[np.float64], name: str) -> None:
    write_nifti(tmp_path / name, voxels(), affine)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_allclose(nib.load(tmp_path / name).header.get_qform(), affine, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nifti_with_a_sheared_affine_is_kept(tmp_path: Path) -> None:
    affine = affine_of("RAS", (1.0, 1.0, 2.0))
    affine[1, 2] = 0.5
    write_nifti(tmp_path / "a.nii", voxels(), affine)
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").affine, affine, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nii.gz"])
@pytest.mark.parametrize("affine", AFFINES)
def test_what_itk_wrote_lies_where_itk_says(tmp_path: Path, affine: NDArray[np.float64], suffix: str) -> None:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    lps = np.diag([-1.0, -1.0, 1.0])
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels().T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps @ affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((lps @ affine[:3, 3]).tolist())
    SimpleITK.WriteImage(image, str(tmp_path / f"a{suffix}"))
    volume = read_volume(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    place = np.asarray(image.TransformIndexToPhysicalPoint((2, 1, 4)))
    np.testing.assert_allclose((volume.affine @ [2, 1, 4, 1])[:3], lps @ place, atol=1e-4)


@given(
    axes=st.permutations(["LR", "PA", "IS"]).flatmap(lambda pairs: st.tuples(*map(st.sampled_from, pairs))),
    spacing=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    angle=st.floats(-0.5, 0.5),
)
def test_canonical_keeps_every_voxel_in_its_place(
    axes: tuple[str, str, str], spacing: tuple[float, float, float], angle: float
) -> None:
    volume = Volume(voxels(), affine_of("".join(axes), spacing, angle))
    turned = canonical(volume)
    assert nib.aff2axcodes(turned.affine) == ("R", "A", "S")
    assert sorted(turned.spacing) == pytest.approx(sorted(spacing))
    np.testing.assert_array_equal(as_stored(turned.array, volume), volume.array)
    for index in [(0, 0, 0), (2, 3, 4), (1, 0, 3)]:
        place = volume.affine @ [*index, 1]
        found = np.rint(np.linalg.inv(turned.affine) @ place)[:3].astype(int)
        assert turned.array[tuple(found)] == volume.array[index]


def test_shape_and_spacing_follow_the_array() -> None:
    volume = Volume(voxels(), affine_of("SLA", (1.5, 0.8, 3.0), angle=0.2))
    assert volume.shape == SHAPE
    assert volume.spacing == pytest.approx((1.5, 0.8, 3.0))
    assert volume.modality == "CT"


@pytest.mark.parametrize(
    ("stored", "kept"),
    [("uint8", "int16"), ("int32", "int16"), ("uint16", "int16"), ("float64", "float32"), ("bool", "int16")],
)
def test_voxels_are_int16_or_float32(tmp_path: Path, stored: str, kept: str) -> None:
    write_nifti(tmp_path / "a.nii", voxels().astype(stored), np.eye(4))
    volume = read_volume(tmp_path / "a.nii")
    assert volume.array.dtype == kept
    np.testing.assert_array_equal(volume.array, voxels().astype(stored))


def test_whole_numbers_beyond_int16_become_float32(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", voxels().astype(np.int32) * 1000, np.eye(4))
    assert read_volume(tmp_path / "a.nii").array.dtype == np.float32
    assert read_volume(tmp_path / "a.nii").array.max() == 59_000


@pytest.mark.parametrize(("slope", "inter", "dtype"), [(1, -1024, "int16"), (0.5, -3, "float32")])
def test_slope_and_intercept_are_applied(tmp_path: Path, slope: float, inter: float, dtype: str) -> None:
    image = nib.Nifti1Image(voxels(), np.eye(4))
    image.header.set_slope_inter(slope, inter)
    nib.save(image, tmp_path / "a.nii")
    raw = nib.load(tmp_path / "a.nii").dataobj.get_unscaled()
    volume = read_volume(tmp_path / "a.nii")
    assert volume.array.dtype == dtype
    np.testing.assert_allclose(volume.array, raw * slope + inter)


def test_a_single_channel_is_dropped(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", voxels((3, 4, 5, 1)), np.eye(4))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array, voxels())


def test_several_channels_are_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", voxels((3, 4, 5, 2)), np.eye(4))
    with pytest.raises(
        DataError, match=r"^a\.nii: 2 channels or time points in \(3, 4, 5, 2\); one is needed"
    ):
        read_volume(tmp_path / "a.nii")
    image = SimpleITK.GetImageFromArray(voxels((5, 4, 3, 2)), isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"))
    with pytest.raises(DataError, match=r"^a\.mha: 2 channels or time points in \(3, 4, 5, 2\)"):
        read_volume(tmp_path / "a.mha")


def test_flat_images_are_refused(tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels((4, 3))), str(tmp_path / "a.nrrd"))
    with pytest.raises(DataError, match=r"^a\.nrrd: an image of 2 axes \(3, 4\); a 3-D volume is needed"):
        read_volume(tmp_path / "a.nrrd")


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", voxels().astype(np.complex64), np.eye(4))
    with pytest.raises(DataError, match=r"^a\.nii: voxels of type complex64; one real number"):
        read_volume(tmp_path / "a.nii")


def test_an_affine_without_spacing_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(), np.eye(4))
    image.header["srow_z"] = 0
    image.header["sform_code"] = 1
    (tmp_path / "a.nii").write_bytes(image.header.binaryblock + bytes(4) + voxels().T.tobytes())
    with pytest.raises(DataError, match=r"^a\.nii: its affine .* gives no spacing; three independent axes"):
        read_volume(tmp_path / "a.nii")


def write_broken(path: Path, how: str) -> None:
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("this is no scan\n" * 50)
    elif path.suffix in (".gz", ".nii", ".nrrd", ".mha"):
        noise = np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(path))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(bytes(128) + b"DICM" + bytes(3))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha", "a.mhd", "a.nhdr", "a.dcm"])
@pytest.mark.parametrize("how", ["empty", "text", "cut"])
def test_broken_files_are_refused_by_name(
    tmp_path: Path, name: str, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_broken(tmp_path / name, how)
    with pytest.raises(DataError, match=rf"^{name}: .* (is|are) needed") as caught:
        read_volume(tmp_path / name)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"^notes\.txt: not a scan; what can be read is NIfTI"):
        read_volume(tmp_path / "notes.txt")
    with pytest.raises(DataError, match=r"^gone\.nii: no such file or folder"):
        read_volume(tmp_path / "gone.nii")
    with pytest.raises(DataError, match="no slice of a DICOM volume"):
        read_volume(tmp_path)


def test_only_nifti_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^a\.mha: volumes are written as NIfTI"):
        write_nifti(tmp_path / "a.mha", voxels(), np.eye(4))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nifti(tmp_path / "a.nii", voxels(), np.eye(4))

    def fail(image: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_nifti(tmp_path / "a.nii", voxels() + 1, np.eye(4))
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array, voxels())


def test_scans_are_found_at_any_depth(tmp_path: Path, write_series: Any) -> None:
    for name in ["a.nii.gz", "deep/er/b.MHA", "deep/c.nrrd", ".hidden/d.nii", "deep/._e.nii.gz", "notes.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    write_series(tmp_path / "one series")
    write_series(tmp_path / "two", series="1.2.1")
    write_series(tmp_path / "two", series="1.2.2", prefix="other")
    names = [path.relative_to(tmp_path).as_posix() for path in find_scans(tmp_path)]
    assert names == ["a.nii.gz", "deep/c.nrrd", "deep/er/b.MHA", "one series", "two/3.dcm", "two/other3.dcm"]
    assert read_volume(tmp_path / "two" / "other0.dcm").shape == read_volume(tmp_path / "one series").shape
