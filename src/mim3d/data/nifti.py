"""NIfTI files in and out, their affine kept exactly as it is in the header.

nibabel reads every NIfTI, so that one reader answers for the format: ITK refuses sheared affines, and where
the two affines of a header disagree it may follow the other one.
"""

import os
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from mim3d.data.whole_gzip import whole_gzip
from mim3d.errors import DataError

SUFFIXES = (".nii", ".nii.gz")
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
)


def is_nifti(path: Path) -> bool:
    """Whether the name ends as a NIfTI file's does."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels as stored (X, Y, Z, ...), slope and intercept applied, and the (4, 4) affine to RAS+ mm.

    Raises:
        DataError: If the file is no whole NIfTI.
    """
    try:
        with nib.imageglobals.LoggingOutputSuppressor():
            image = nib.load(path)
            with whole_gzip(image):
                array = _voxels(image)
    except _UNREADABLE as error:
        reason = str(error).strip().split("\n")[0].replace(str(path), path.name)
        raise DataError(
            f"{path.name}: not a readable NIfTI file ({reason or type(error).__name__}); "
            "a whole .nii or .nii.gz is needed: copy it again, or leave it out"
        ) from error
    return array, np.array(image.affine, dtype=np.float64)


def write_nifti(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write voxels (X, Y, Z) with their affine (4, 4) to RAS+ mm, whole or not at all.

    Raises:
        DataError: If the name does not end in .nii or .nii.gz.
    """
    if not is_nifti(path):
        raise DataError(f"{path.name}: volumes are written as NIfTI; end the name in .nii or .nii.gz")
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner" if _orthogonal(affine) else "unknown")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        nib.save(image, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _voxels(image: nib.Nifti1Image) -> NDArray[Any]:
    """Voxels with slope and intercept; whole numbers stay whole if both are whole."""
    stored = image.dataobj
    whole = (
        stored.dtype.kind in "iu" and float(stored.slope).is_integer() and float(stored.inter).is_integer()
    )
    array: NDArray[Any] = np.asarray(stored)
    return np.rint(array).astype(np.int32) if whole and array.dtype.kind == "f" else array


def _orthogonal(affine: NDArray[np.float64]) -> bool:
    """Whether the axes are at right angles, as the quaternion of a header needs them."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))
