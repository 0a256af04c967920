"""Guards before a scan is read: links and headers that lead out of the data folder, headers as they are."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from mim3d.data.guard import promised, require_sound, require_volume, require_within, require_working_grid
from mim3d.data.prepare import prepare_store
from mim3d.data.volume import write_nifti
from mim3d.errors import DataError

NOISE = np.random.default_rng(0).integers(-1000, 1000, (8, 9, 10)).astype(np.int16)


def test_links_may_lead_out_if_asked(tmp_path: Path) -> None:
    write_nifti(tmp_path / "outside" / "a.nii", NOISE, np.eye(4))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.nii").symlink_to(tmp_path / "outside" / "a.nii")
    found = prepare_store(
        tmp_path / "raw", tmp_path / "store", spacing="native", workers=1, follow_links=True
    )
    assert found.made == 1


def test_no_further_channel_leads_out(tmp_path: Path) -> None:
    write_nifti(tmp_path / "raw" / "t1.nii", NOISE, np.eye(4))
    write_nifti(tmp_path / "outside" / "t2.nii", NOISE, np.eye(4))
    (tmp_path / "raw" / "t2.nii").symlink_to(tmp_path / "outside" / "t2.nii")
    (tmp_path / "raw" / "cases.csv").write_text("image\nt1.nii;t2.nii\nt1.nii\n")
    found = prepare_store(tmp_path / "raw", tmp_path / "store", spacing="native", workers=1)
    assert found.made == 1
    assert "a symbolic link that leaves the data folder" in found.rejected[0].reason


def test_no_image_of_a_pair_leads_out(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    nib.save(nib.Nifti1Pair(NOISE, np.eye(4)), tmp_path / "raw" / "a.hdr")
    require_within(tmp_path / "raw" / "a.hdr", tmp_path / "raw")
    (tmp_path / "raw" / "a.img").rename(tmp_path / "a.img")
    (tmp_path / "raw" / "a.img").symlink_to(tmp_path / "a.img")
    with pytest.raises(DataError, match=r"a\.img: a symbolic link that leaves the data folder"):
        require_within(tmp_path / "raw" / "a.hdr", tmp_path / "raw")


def test_what_the_user_names_outside_is_no_link(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", NOISE, np.eye(4))
    require_within(tmp_path / "a.nii", tmp_path / "raw")
    require_within(tmp_path / "raw" / ".." / "a.nii", tmp_path / "raw")


def test_no_slice_of_a_series_leads_out(tmp_path: Path, write_series: Callable[..., Any]) -> None:
    write_series(tmp_path / "raw" / "series")
    require_within(tmp_path / "raw" / "series", tmp_path / "raw")
    (tmp_path / "raw" / "series" / "0.dcm").rename(tmp_path / "0.dcm")
    (tmp_path / "raw" / "series" / "0.dcm").symlink_to(tmp_path / "0.dcm")
    with pytest.raises(DataError, match=r"0\.dcm: a symbolic link that leaves the data folder"):
        require_within(tmp_path / "raw" / "series", tmp_path / "raw")


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_no_header_names_voxels_outside(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "raw").mkdir()
    header = tmp_path / "raw" / f"a{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(NOISE), str(header))
    require_within(header, tmp_path / "raw")
    inside = header.read_bytes()
    (voxels,) = (path for path in header.parent.iterdir() if path != header)
    for outside in ("../secret", "/etc/passwd", "LIST\n../secret"):
        header.write_bytes(inside.replace(voxels.name.encode(), outside.encode()))
        with pytest.raises(DataError, match=rf"a\{suffix}: its voxels lie in a file outside the data folder"):
            require_within(header, tmp_path / "raw")


def test_what_may_not_be_opened_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nifti(tmp_path / "a.nii", NOISE, np.eye(4))

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(
        DataError, match=r"a\.nii: cannot be opened \(Permission denied\); mend its permissions"
    ):
        require_sound(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_headers_are_believed_as_they_are(tmp_path: Path, suffix: str) -> None:
    image = SimpleITK.GetImageFromArray(NOISE.T.astype(np.float32))
    image.SetSpacing((1.0, 2.0, 3.0))
    SimpleITK.WriteImage(image, str(tmp_path / f"a{suffix}"))
    promise = promised(tmp_path / f"a{suffix}")
    assert promise is not None
    assert (promise.shape, promise.spacing, promise.size) == (NOISE.shape, (1.0, 2.0, 3.0), 4 * 720)
    require_sound(tmp_path / f"a{suffix}")


def test_a_pair_promises_what_its_other_file_holds(tmp_path: Path) -> None:
    """Found by mutating files: the header of a pair could promise any memory."""
    nib.save(nib.Nifti1Pair(NOISE, np.eye(4)), tmp_path / "a.hdr")
    for name in ("a.hdr", "a.img"):
        promise = promised(tmp_path / name)
        assert promise is not None
        assert (promise.shape, promise.held) == (NOISE.shape, NOISE.nbytes)
    content = bytearray((tmp_path / "a.hdr").read_bytes())
    struct.pack_into("<3h", content, 42, 32767, 32767, 32767)
    (tmp_path / "a.hdr").write_bytes(content)
    for name in ("a.hdr", "a.img"):
        with pytest.raises(DataError, match=r"promises 32767x32767x32767 voxels, .* holds 0\.00144 MB at"):
            require_sound(tmp_path / name)
    (tmp_path / "a.img").unlink()
    require_sound(tmp_path / "a.hdr")  # that there is none, the reader says


def test_what_fits_is_let_pass(tmp_path: Path) -> None:
    require_volume("a", (2, 2, 2), (0.5, 0.5, 1000.0))
    require_working_grid((10, 10, 10), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0))
    write_nifti(tmp_path / "zeros.nii.gz", np.zeros((64, 64, 64), np.int16), np.eye(4))
    require_sound(tmp_path / "zeros.nii.gz")
