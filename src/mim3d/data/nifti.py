"""NIfTI files in and out, their affine kept as it is in the header wherever that leaves one reading.

nibabel reads every NIfTI, so that one reader answers for the format: ITK refuses sheared affines, and where
the two affines of a header disagree it may follow the other one. nibabel mends headers in silence, so the
header is read a second time as it is: see `nifti_header.py`.
"""

import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from mim3d.data.channels import Choice, Index, channel_index, channel_note
from mim3d.data.grids import joined
from mim3d.data.nifti_header import place
from mim3d.data.whole_gzip import whole_gzip
from mim3d.errors import DataError

SUFFIXES = (".nii", ".nii.gz")
HEADERS = (".hdr", ".hdr.gz")
IMAGES = (".img", ".img.gz")
SIZES = (348, 540)
"""Bytes of the header of NIfTI 1 (and Analyze) and of NIfTI 2: what the file begins with."""
LARGEST = 2**31 - 1
BEGIN = 4096
"""Bytes of a file that are looked at to see whether it is the header of a pair."""
GZIP = 31
"""What zlib calls gzip with the largest window."""
_UNREADABLE: tuple[Any, ...] = (
    OSError,
    EOFError,
    ArithmeticError,
    ValueError,
    zlib.error,
    isal_zlib.error,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
)


def is_nifti(path: Path) -> bool:
    """Whether the name ends as a NIfTI file's does."""
    return path.name.lower().endswith(SUFFIXES)


def is_pair(path: Path) -> bool:
    """Whether the name is one of a pair: a header, or voxels whose header lies beside them."""
    name = path.name.lower()
    return name.endswith(HEADERS) or (name.endswith(IMAGES) and any(map(Path.is_file, partners(path))))


def heads_pair(path: Path) -> bool:
    """Whether a file is the header of a NIfTI or Analyze pair: other formats have `.hdr` files too."""
    name = path.name.lower()
    if not name.endswith(HEADERS) or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(BEGIN)
        size = zlib.decompressobj(GZIP).decompress(begin, 4) if name.endswith(".gz") else begin[:4]
    except (OSError, zlib.error):
        return False
    return any(size == number.to_bytes(4, order) for number in SIZES for order in ("little", "big"))


def partners(path: Path) -> tuple[Path, ...]:
    """Where the other file of a pair may lie, none for a single file."""
    for ours, theirs in ((HEADERS, IMAGES), (IMAGES, HEADERS)):
        for suffix in ours:
            if path.name.lower().endswith(suffix):
                stem = path.name[: -len(suffix)]
                return tuple(path.with_name(stem + case(end)) for end in theirs for case in (str, str.upper))
    return ()


def read_nifti(path: Path, channel: Choice) -> tuple[NDArray[Any], NDArray[np.float64], str]:
    """Voxels as stored (X, Y, Z), slope applied; the (4, 4) affine to RAS+ mm; what was decided.

    Args:
        path: `.nii`, `.nii.gz`, or either file of a pair.
        channel: Which volume to take of a file with several; of all, voxels are (X, Y, Z, C).

    Raises:
        DataError: If the file is no whole NIfTI, or one that can be read in two ways.
    """
    try:
        with _silent():
            with np.errstate(all="ignore"):  # an affine of NaN is refused, or not needed, below
                image = nib.load(path)
            _require_nifti(path, image)
            shape = tuple(int(size) for size in image.shape)
            if shape and min(shape) < 1:
                raise DataError(
                    f"{path.name}: a volume without voxels, shape {shape}; copy it again, or leave it out"
                )
            index = channel_index(path.name, shape, channel)
            affine, note = place(path.name, _header(image), (shape[0], shape[1], shape[2]))
            with whole_gzip(image):
                array = _voxels(image, index)
    except _UNREADABLE as error:
        reason = str(error).strip().split("\n")[0].replace(f"{path.parent}{os.sep}", "")
        raise DataError(
            f"{path.name}: not a readable NIfTI file ({reason or type(error).__name__}); "
            "a whole .nii or .nii.gz is needed: copy it again, or leave it out"
        ) from error
    return array, affine, joined(channel_note(shape, channel), note)


def write_nifti(
    path: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    description: str = "",
    slope: float | None = None,
) -> None:
    """Write voxels (X, Y, Z) with their affine (4, 4) to RAS+ mm, whole or not at all.

    Args:
        path: Ends in .nii or .nii.gz.
        array: Voxels as they are to be stored.
        affine: Voxel index to RAS+ mm.
        description: For the header, at most 79 letters of ASCII.
        slope: What a stored step stands for; None: itself.

    Raises:
        DataError: If the name does not end in .nii or .nii.gz.
    """
    if not is_nifti(path):
        raise DataError(f"{path.name}: volumes are written as NIfTI; end the name in .nii or .nii.gz")
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii")
    if slope is not None:
        image.header.set_slope_inter(slope, 0.0)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner" if _orthogonal(affine) else "unknown")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        nib.save(image, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what nibabel says of headers off the terminal: what matters of it is noted or refused by us.

    Its own switch takes handlers away, and Python then writes to the terminal for want of one.
    """
    nowhere = logging.NullHandler()
    with nib.imageglobals.LoggingOutputSuppressor():
        nib.imageglobals.logger.addHandler(nowhere)
        try:
            yield
        finally:
            nib.imageglobals.logger.removeHandler(nowhere)


def _require_nifti(path: Path, image: Any) -> None:
    """Refuse Analyze, which nibabel takes as well."""
    if not isinstance(image, nib.Nifti1Pair):
        raise DataError(
            f"{path.name}: an Analyze file, which does not say which side is left; NIfTI is needed: convert "
            "it with the program that wrote it, or one that knows which way it did"
        )


def _header(image: nib.Nifti1Pair) -> nib.Nifti1Header:
    """The header as it is in the file: nibabel has mended the one of the image."""
    kind = type(image.header)
    with image.file_map.get("header", image.file_map["image"]).get_prepare_fileobj("rb") as file:
        return kind(file.read(kind.template_dtype.itemsize), check=False)


def _voxels(image: nib.Nifti1Pair, index: Index) -> NDArray[Any]:
    """Voxels (X, Y, Z) or (X, Y, Z, C), slope and intercept applied; if both are whole, numbers stay so."""
    stored = image.dataobj
    if stored.dtype.names:
        raise DataError(
            f"{Path(image.get_filename()).name}: colour voxels ({'/'.join(stored.dtype.names)}); one "
            "real number a voxel is needed: give the scan that the picture was made of"
        )
    whole = (
        stored.dtype.kind in "iu" and float(stored.slope).is_integer() and float(stored.inter).is_integer()
    )
    array: NDArray[Any] = np.asarray(stored[index] if len(index) > 3 else stored)
    if not whole or array.dtype.kind != "f":
        return array
    fits = array.min() >= -LARGEST and array.max() <= LARGEST  # false for NaN
    return np.rint(array).astype(np.int32) if fits else array


def _orthogonal(affine: NDArray[np.float64]) -> bool:
    """Whether the axes are at right angles, as the quaternion of a header needs them."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))
