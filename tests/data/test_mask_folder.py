"""A file for each structure, as TotalSegmentator ships them."""

from pathlib import Path

import numpy as np
import pytest

from mim3d.data.labels import LabelSet
from mim3d.data.mask_folder import is_mask_folder, read_masks
from mim3d.data.volume import write_nifti
from mim3d.errors import DataError

ORGANS = LabelSet("organs", {"aorta": 1, "liver": 5, "spleen": 300})


def mask(folder: Path, name: str, voxel: int, *also: int, shape: tuple[int, int, int] = (4, 2, 2)) -> None:
    voxels = np.zeros(shape, np.uint8)
    voxels[[voxel, *also], 0, 0] = 1
    write_nifti(folder / f"{name}.nii.gz", voxels, np.diag([2.0, 2.0, 2.0, 1.0]))


def test_masks_become_one_label_map(tmp_path: Path) -> None:
    mask(tmp_path, "spleen", 1)
    mask(tmp_path, "liver", 2, 1)
    (tmp_path / "._liver.nii.gz").write_bytes(b"x")
    assert is_mask_folder(tmp_path)
    labels = read_masks(tmp_path, ORGANS)
    assert labels.array[:, 0, 0].tolist() == [0, 300, 5, 0]
    assert labels.array.sum() == 305
    assert labels.spacing == (2.0, 2.0, 2.0)


def test_small_values_take_a_byte(tmp_path: Path) -> None:
    mask(tmp_path, "liver", 2)
    assert read_masks(tmp_path, ORGANS).array.dtype == np.uint8


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    assert not is_mask_folder(tmp_path)
    with pytest.raises(DataError, match="no NIfTI file; a file for each structure is needed"):
        read_masks(tmp_path, ORGANS)
    mask(tmp_path, "aorta", 0)
    mask(tmp_path, "liver", 0, shape=(4, 2, 3))
    with pytest.raises(
        DataError, match=r"^the mask of liver has \(4, 2, 3\) voxels on a grid of its own, others "
    ):
        read_masks(tmp_path, ORGANS)
    mask(tmp_path, "tail", 0)
    with pytest.raises(DataError, match="1 of 3 masks bear a name that is no structure of label set"):
        read_masks(tmp_path, ORGANS)
