"""Labels as a folder with a file for each structure, as TotalSegmentator ships them, into one label map."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.labels import LabelSet
from mim3d.data.nifti import is_nifti
from mim3d.data.volume import Volume, read_volume
from mim3d.errors import DataError


def mask_files(folder: Path) -> dict[str, Path]:
    """NIfTI files of a folder by the name of the structure, which is the name of the file."""
    files = sorted(path for path in folder.iterdir() if is_nifti(path) and not path.name.startswith("."))
    return {path.name.removesuffix(".gz").removesuffix(".nii"): path for path in files}


def is_mask_folder(path: Path) -> bool:
    """Whether a path is a folder with NIfTI files."""
    return path.is_dir() and bool(mask_files(path))


def read_masks(folder: Path, label_set: LabelSet) -> Volume:
    """One label map, axes as stored, of a file for each structure; of two in a voxel the larger value stays.

    Raises:
        DataError: If a file is not readable, bears a name that is not in the set, or lies on another grid.
    """
    files = mask_files(folder)
    unknown = [name for name in files if name not in label_set.structures]
    if unknown:  # names of files may be those of patients
        known = ", ".join(sorted(label_set.structures)) or "none"
        raise DataError(
            f"{len(unknown)} of {len(files)} masks bear a name that is no structure of label set "
            f"{label_set.name} ({known}); give each the name of its structure, or name a label map"
        )
    values = dict(zip(files, label_set.values(files), strict=True))
    first: Volume | None = None
    labels: NDArray[Any] = np.zeros(0, np.uint8)
    for name in sorted(files, key=values.__getitem__):
        volume = read_volume(files[name])
        if first is None:
            first = volume
            labels = np.zeros_like(volume.array, np.uint8 if max(values.values()) < 256 else np.uint16)
        _require_grid(name, volume, first)
        np.copyto(
            labels, labels.dtype.type(values[name]), where=volume.array > 0.5
        )  # whatever the axis order
    if first is None:
        raise DataError(
            f"{folder.name}: no NIfTI file; a file for each structure is needed: get the labels again"
        )
    return Volume(labels, first.affine)


def _require_grid(name: str, volume: Volume, first: Volume) -> None:
    if volume.shape != first.shape or not np.allclose(volume.affine, first.affine, atol=1e-3):
        raise DataError(
            f"the mask of {name} has {volume.shape} voxels on a grid of its own, others {first.shape}; all "
            "masks of a scan must lie on one grid: get the scan's labels again"
        )
