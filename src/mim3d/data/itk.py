"""What ITK reads for us: NRRD, MetaImage and the voxels of DICOM slices, turned to (X, Y, Z) and RAS+ here.

ITK's world is LPS+ mm and its arrays come as (Z, Y, X); neither leaves this module.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from mim3d.data.channels import Choice, channel_index, channel_note
from mim3d.data.grids import joined
from mim3d.data.packed import require_whole
from mim3d.data.text_header import read_text_header
from mim3d.errors import DataError

READERS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_itk(path: Path) -> bool:
    """Whether the name ends as that of an NRRD or MetaImage file."""
    return path.suffix.lower() in READERS


def reader_of(path: Path) -> SimpleITK.ImageFileReader:
    """ITK's reader of an NRRD or MetaImage file, which has not read anything yet."""
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(READERS[path.suffix.lower()])
    reader.SetFileName(str(path))
    return reader


def size_of(reader: SimpleITK.ImageFileReader) -> int:
    """Bytes of all voxels that a header promises."""
    with silent():
        reader.ReadImageInformation()
    voxel = SimpleITK.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    return int(math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * voxel)


def read_image(path: Path, channel: Choice) -> tuple[NDArray[Any], NDArray[np.float64], str]:
    """Voxels as stored (X, Y, Z) of NRRD or MetaImage; the (4, 4) affine to RAS+ mm; what was decided.

    Args:
        path: The file, or the header of data that lie beside it.
        channel: Which volume to take of a file with several; of all, voxels are (X, Y, Z, C).

    Raises:
        DataError: If ITK cannot read it, or its header does not say how large voxels are.
    """
    reader = reader_of(path)
    try:
        header = read_text_header(path)
        if header.packed is not None:
            require_whole(path, header.packed, size_of(reader))
        with silent():
            image = reader.Execute()
    except (RuntimeError, OSError) as error:
        if "allocate" in str(error):
            raise MemoryError from error
        raise DataError(
            f"{path.name}: not a readable {path.suffix} file; a whole one (with its data file beside it, if "
            "it names one) is needed: copy it again, or leave it out"
        ) from error
    array, affine = _xyz(image), _affine(image)
    affine[:3] *= header.mm
    index = channel_index(path.name, array.shape, channel)
    return array[index], affine, joined(channel_note(array.shape, channel), header.note)


def read_slices(paths: Sequence[Path], *, whole: bool) -> NDArray[Any]:
    """Voxels (X, Y, Z) of DICOM slices in the order given, slope and intercept of each applied.

    Args:
        paths: One file a slice, all of one size.
        whole: Whether every slope and intercept is a whole number, so that values are too.

    Raises:
        DataError: If ITK cannot read one of them.
    """
    reader = SimpleITK.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(path) for path in paths])
    reader.SetOutputPixelType(SimpleITK.sitkInt32 if whole else SimpleITK.sitkFloat32)
    try:
        with silent():
            image = reader.Execute()
    except RuntimeError as error:
        if "allocate" in str(error):
            raise MemoryError from error
        raise DataError(
            f"{paths[0].name}: a slice of its series of {len(paths)} is damaged or in an unknown "
            "compression; whole, standard DICOM files are needed: export the series again"
        ) from error
    return _xyz(image)


@contextmanager
def silent() -> Iterator[None]:
    """Keep what ITK says off the terminal: what matters of it is checked by us and raised.

    Its libraries for MetaImage and DICOM write to the process's standard error themselves, past any switch.
    """
    warned = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(warned)


def _xyz(image: SimpleITK.Image) -> NDArray[Any]:
    """(X, Y, Z, ...) from ITK's (..., Z, Y, X) with channels, if any, moved to the end."""
    array = np.asarray(SimpleITK.GetArrayFromImage(image))
    if image.GetNumberOfComponentsPerPixel() > 1:
        return np.moveaxis(array, -1, 0).T  # (Z, Y, X, C) -> (X, Y, Z, C)
    return array.T


def _affine(image: SimpleITK.Image) -> NDArray[np.float64]:
    """(4, 4) to RAS+ mm; of images with more than three axes, the first three."""
    dim = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (dim, dim)) * np.asarray(image.GetSpacing())
    space = min(dim, 3)
    affine = np.eye(4)
    affine[:space, :space] = direction[:space, :space]
    affine[:space, 3] = image.GetOrigin()[:space]
    return np.asarray(LPS_TO_RAS @ affine)
