"""Volumes: one scan in memory, read from any of the formats it may come in.

Arrays are (X, Y, Z); affines take voxel indices to RAS+ mm, whatever the file's own convention.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from mim3d.data import dicom, itk, nifti
from mim3d.data.channels import Choice
from mim3d.data.dicom_study import Study
from mim3d.data.dicom_zip import on_disk
from mim3d.data.guard import require_sound
from mim3d.data.parts import Parts
from mim3d.data.text_header import data_files
from mim3d.errors import DataError
from mim3d.geometry import Triple, Vector

READABLE = (
    "NIfTI (.nii, .nii.gz, .hdr/.img), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a DICOM series (files "
    "or .zip)"
)
RAS = np.array([[0, 1], [1, 1], [2, 1]])
"""Orientation of canonical arrays: axis i runs along world axis i, upwards."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One scan: voxels (X, Y, Z), int16 or float32, CT in HU; and where they lie."""

    array: NDArray[Any]
    """Voxels (X, Y, Z)."""
    affine: NDArray[np.float64]
    """(4, 4), voxel index to RAS+ mm."""
    modality: str = "CT"
    """As DICOM names it: `CT`, `MR`."""
    note: str = ""
    """What had to be decided or changed to read it, for the catalog; names nobody."""
    study: Study = field(default_factory=Study)
    """What the header tells that studies need; empty for formats other than DICOM."""

    @property
    def shape(self) -> Triple:
        """Voxels per axis."""
        x, y, z = self.array.shape
        return (x, y, z)

    @property
    def spacing(self) -> Vector:
        """Distance from voxel to voxel along each axis, mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(x), float(y), float(z))


def read_volume(path: Path, channel: int | None = None, modality: str = "CT") -> Volume:
    """Read one scan as stored: axes not permuted, affine to RAS+, HU after slope and intercept.

    Args:
        path: NIfTI, NRRD or MetaImage file; a folder or ZIP archive with one DICOM volume, or any file of a
            volume in either (`study.zip/IM0001`).
        channel: Number, from 0, of the channel or time point to take of a file with several.
        modality: Of a file that does not say what it is: only DICOM does.

    Raises:
        DataError: If there is nothing there, or it is not one whole 3-D volume of one channel.
    """
    (volume,) = _read(path, channel, modality)
    return volume


def read_channels(path: Path, modality: str = "CT") -> tuple[Volume, ...]:
    """Read all channels of one scan, each as `read_volume` would.

    Raises:
        DataError: If there is nothing there, or no volume.
    """
    return _read(path, "all", modality)


def _read(path: Path, channel: Choice, modality: str) -> tuple[Volume, ...]:
    if not path.exists() and not dicom.holds_dicom(path):
        raise DataError(f"{path.name}: no such file or folder; a scan is {READABLE}")
    require_sound(on_disk(path))
    if (nifti.is_nifti(path) or nifti.is_pair(path)) and path.is_file():
        array, affine, note = nifti.read_nifti(path, channel)
    elif itk.is_itk(path) and path.is_file():
        array, affine, note = itk.read_image(path, channel)
    elif path.is_dir() or dicom.holds_dicom(path):
        return (_of_dicom(path, dicom.read_series(path)),)
    else:
        raise DataError(f"{path.name}: not a scan; what can be read is {READABLE}")
    affine = _invertible(path, affine)
    each = [array] if array.ndim == 3 else [array[..., number] for number in range(array.shape[3])]
    return tuple(Volume(_narrow(path, one), affine, modality, note) for one in each)


def read_parts(path: Path, parts: Parts) -> Volume:
    """Read the DICOM volume that `path` stands for from its own slices, opening no other file.

    Raises:
        DataError: If they cannot be read any more, or are no evenly spaced stack of whole slices.
    """
    return _of_dicom(path, dicom.read_parts(path.name, parts))


def _of_dicom(path: Path, scan: dicom.Scan) -> Volume:
    affine = _invertible(path, scan.affine)
    return Volume(_narrow(path, scan.array), affine, scan.modality, scan.note, scan.study)


def files_beside(path: Path) -> list[Path]:
    """The files, other than `path`, that a scan of several files lies in; DICOM series are not asked for."""
    if nifti.is_pair(path):
        return [file for file in nifti.partners(path) if file.is_file()]
    return data_files(path) if itk.is_itk(path) and path.is_file() else []


def canonical(volume: Volume) -> Volume:
    """The same voxels with axes flipped and permuted, never resampled, to closest-canonical RAS+."""
    orientation = io_orientation(volume.affine)
    array = apply_orientation(volume.array, orientation)
    affine = volume.affine @ inv_ornt_aff(orientation, volume.shape)
    return replace(volume, array=array, affine=affine)


def as_stored(array: NDArray[Any], like: Volume) -> NDArray[Any]:
    """Turn an array (X, Y, Z) on the grid of `canonical(like)` into the axis order of `like` itself."""
    return np.asarray(apply_orientation(array, ornt_transform(RAS, io_orientation(like.affine))))


def write_nifti(
    path: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    description: str = "",
    slope: float | None = None,
) -> None:
    """Write voxels (X, Y, Z) with their (4, 4) affine to RAS+ mm, whole or not at all; see `nifti`.

    Raises:
        DataError: If the name does not end in .nii or .nii.gz.
    """
    nifti.write_nifti(path, array, affine, description=description, slope=slope)


def _narrow(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers that fit as int16, everything else as float32."""
    if array.size == 0:
        raise DataError(
            f"{path.name}: a volume without voxels, shape {array.shape}; copy it again, or leave it out"
        )
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{path.name}: voxels of type {array.dtype}; one real number a voxel is needed: convert it"
        )
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    limits = np.iinfo(np.int16)
    fits = np.can_cast(array.dtype, np.int16) or limits.min <= array.min() <= array.max() <= limits.max
    return array.astype(np.int16 if fits else np.float32, copy=False)


def _invertible(path: Path, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Refuse an affine that does not say where voxels lie."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(
            f"{path.name}: its affine {affine[:3].tolist()} gives no spacing; three independent axes in mm "
            "are needed: mend the header"
        )
    return affine
