"""NIfTI files as they come: voxels of every kind, pairs of files, channels, and what is no NIfTI."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mim3d.data.search import find_scans
from mim3d.data.volume import files_beside, read_volume
from mim3d.errors import DataError

VOXELS = np.arange(60).reshape(3, 4, 5).astype("<i2")
OBLIQUE = np.array([[0.56, -0.42, 0, -10], [0.42, 0.56, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize(("dtype", "kept"), [("int64", "int16"), ("uint16", "int16"), ("uint64", "int16")])
def test_whole_numbers_of_any_width(tmp_path: Path, dtype: str, kept: str) -> None:
    nib.save(nib.Nifti1Image(VOXELS.astype(dtype), OBLIQUE, dtype=dtype), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.array.dtype == kept
    np.testing.assert_array_equal(volume.array, VOXELS)


def test_unsigned_numbers_beyond_int16_stay_what_they_are(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS.astype(np.uint16) + np.uint16(65000), OBLIQUE), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array, VOXELS.astype(np.float32) + 65000)


def test_colours_are_refused(tmp_path: Path) -> None:
    colours = np.zeros(VOXELS.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, OBLIQUE), tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"^a\.nii: colour voxels \(R/G/B\); one real number"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("ends", [(".hdr", ".img"), (".hdr.gz", ".img.gz")])
def test_pairs(tmp_path: Path, ends: tuple[str, str]) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, OBLIQUE), tmp_path / f"a{ends[1]}")
    for end in ends:
        volume = read_volume(tmp_path / f"a{end}")
        np.testing.assert_array_equal(volume.array, VOXELS)
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert find_scans(tmp_path) == [tmp_path / f"a{ends[0]}"]
    assert files_beside(tmp_path / f"a{ends[0]}") == [tmp_path / f"a{ends[1]}"]


def test_a_header_without_its_voxels_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, OBLIQUE), tmp_path / "a.img")
    (tmp_path / "a.img").unlink()
    with pytest.raises(DataError, match=r"^a\.hdr: not a readable NIfTI file") as caught:
        read_volume(tmp_path / "a.hdr")
    assert str(tmp_path) not in str(caught.value)


def test_analyze_is_refused(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(VOXELS, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "a.img")
    assert find_scans(tmp_path) == [tmp_path / "a.hdr"]
    with pytest.raises(DataError, match=r"^a\.hdr: an Analyze file, which does not say which side is left"):
        read_volume(tmp_path / "a.hdr")


def test_headers_of_other_formats_are_no_scans(tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_text("ENVI\nsamples = 3\n")
    (tmp_path / "a.img").write_bytes(bytes(120))
    assert find_scans(tmp_path) == []
    with pytest.raises(DataError, match=r"^a\.img: not a readable NIfTI file"):
        read_volume(tmp_path / "a.img")


def test_a_channel_is_chosen_by_number(tmp_path: Path) -> None:
    both = np.stack([VOXELS, VOXELS + 100], axis=-1)
    for name, voxels in (("t.nii.gz", both), ("v.nii", both[:, :, :, None])):
        nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / name)
        for channel in (0, 1):
            volume = read_volume(tmp_path / name, channel)
            np.testing.assert_array_equal(volume.array, VOXELS + 100 * channel)
            assert volume.note == f"channel {channel} of 2, counted from 0"
        with pytest.raises(DataError, match=r"channel 2 is asked, but there are 2; --channel takes 0 to 1"):
            read_volume(tmp_path / name, 2)
        with pytest.raises(DataError, match=r"`mim3d prepare --channel N`, or in .*, N from 0 to 1, or"):
            read_volume(tmp_path / name)


def test_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS[..., None, None], OBLIQUE), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii", 3)
    np.testing.assert_array_equal(volume.array, VOXELS)
    assert volume.note == ""
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 2, 2), np.int16), OBLIQUE), tmp_path / "b.nii")
    with pytest.raises(
        DataError, match=r"^b\.nii: channels or time points along several axes, \(3, 4, 5, 2, 2\)"
    ):
        read_volume(tmp_path / "b.nii", 0)
