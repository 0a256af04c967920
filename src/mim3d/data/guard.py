"""What is refused before anything is read: files that are none, and headers that promise too much.

A header is a promise that costs its writer nothing; memory is taken only once it can be kept.
"""

import gzip
import logging
import math
import os
import re
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK

from mim3d.data import itk, nifti
from mim3d.data.grids import working_shape
from mim3d.data.limits import bytes_in_words, memory_left
from mim3d.errors import DataError
from mim3d.geometry import Triple, Vector

for _reader in ("nibabel", "pydicom"):  # what they say of a file may name a patient: for those who ask only
    logging.getLogger(_reader).addHandler(logging.NullHandler())

HEADER = 1024
"""Bytes that a file is recognised by."""
METAIMAGE = (".mha", ".mhd")
LONGEST_TEXT = 65536
"""Bytes at the beginning of a MetaImage that its header may take."""
DEFLATED = 1032
"""Bytes that one byte of a gzip file can stand for at most (Deutsch 1996, RFC 1951: 258 in two bits)."""
THINNEST, THICKEST = 1e-3, 1e3
"""Spacings of a scan of a body, mm."""


@dataclass(frozen=True)
class Promise:
    """What a header says of the voxels that follow."""

    shape: tuple[int, ...]
    """Voxels per axis, channels among them."""
    spacing: tuple[float, ...]
    """Along the first three axes, mm as far as the file says."""
    itemsize: int
    """Bytes of a voxel as stored."""
    held: int | None = None
    """Bytes that the file can hold at most, unpacked; None where other files may hold them."""

    @property
    def size(self) -> int:
        """Bytes of all voxels as stored."""
        return math.prod(self.shape) * self.itemsize


def require_sound(path: Path) -> None:
    """Raise if a file or folder cannot be read, or promises more than there can be.

    Raises:
        DataError: If a file is no regular one, empty, may not be read, or is a NIfTI, NRRD or MetaImage whose
            header promises more voxels than the file can hold, or than fit into memory.
    """
    _require_file(path)
    if path.name.lower().endswith(".gz"):
        _require_gzip(path)
    if path.suffix.lower() in METAIMAGE:
        _require_metaimage(path)
    promise = promised(path)
    if promise is None:
        return
    shape = "x".join(map(str, promise.shape))
    if min(promise.shape, default=0) < 1:
        raise DataError(
            f"{path.name}: its header promises {shape} voxels; at least one on every axis is needed: copy it "
            "again, or leave it out"
        )
    if promise.held is not None and promise.size > promise.held:
        held = bytes_in_words(promise.held)
        raise DataError(
            f"{path.name}: its header promises {shape} voxels, {bytes_in_words(promise.size)}, but the file "
            f"holds {held} at most; a whole file is needed: copy it again, or leave it out"
        )
    require_memory(path.name, f"its header promises {shape} voxels", promise.size)


def require_memory(name: str, what: str, size: int) -> None:
    """Raise if `size` bytes do not fit into what this process may still take."""
    left = memory_left()
    if size > left:
        raise DataError(
            f"{name}: {what}, {bytes_in_words(size)}, but {bytes_in_words(left)} of memory are left; "
            "take fewer workers or raise --case-memory, or leave it out"
        )


def require_volume(name: str, shape: Sequence[int], spacing: Vector) -> None:
    """Raise if a scan of `shape` voxels and `spacing` (mm) is one slice, or of no body."""
    if min(shape) < 2:
        raise DataError(
            f"{name}: a scan of one slice, {'x'.join(map(str, shape))} voxels; at least two on every axis "
            "are needed: leave it out"
        )
    if not all(THINNEST <= side <= THICKEST for side in spacing):
        raise DataError(
            f"{name}: voxels of {' x '.join(f'{side:.3g}' for side in spacing)} mm; {THINNEST:g} to "
            f"{THICKEST:g} mm are needed: mend the header's spacing or units"
        )


def require_working_grid(shape: Triple, spacing: Vector, target: Vector) -> None:
    """Raise if a scan of `shape` voxels and `spacing` (mm) is too small or too large at `target` (mm)."""
    sides = working_shape(shape, spacing, target)
    shown = f"{'x'.join(map(str, sides))} voxels of {' x '.join(f'{side:g}' for side in target)} mm"
    if min(sides) < 2:
        raise DataError(
            f"the scan: only {shown} on the working grid; at least two on every axis are needed: correct the "
            "spacing in its header, prepare at a finer --spacing, or leave it out"
        )
    require_memory("the scan", f"it takes {shown} on the working grid", 2 * math.prod(sides))


def require_within(path: Path, folder: Path) -> None:
    """Raise if a path that lies in `folder` leads out of it, by a symbolic link or by naming other files.

    Files in a folder are looked at one by one, and so are those that an NRRD or MetaImage header names,
    and the other file of a pair.
    """
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder)):
        return  # named by the user as it is
    home = folder.resolve()
    for named in _named_in(path):
        if "\0" in named:
            raise DataError(
                f"{path.name}: its header names a file that cannot be; a whole header is needed: copy it "
                "again, or leave it out"
            )
        if not (path.parent / named).resolve().is_relative_to(home):
            raise DataError(
                f"{path.name}: its voxels lie in a file outside the data folder; copy that into the folder, "
                "or allow it by --follow-links"
            )
    beside = path.iterdir() if path.is_dir() else filter(Path.is_file, nifti.partners(path))
    for one in (path, *beside):
        if not one.resolve().is_relative_to(home):
            raise DataError(
                f"{one.name}: a symbolic link that leaves the data folder; copy what it means into the "
                "folder, or allow such links by --follow-links"
            )


def promised(path: Path) -> Promise | None:
    """What the header of a NIfTI, NRRD or MetaImage says; None of others, and where it cannot be read.

    Whether it can, and what is wrong with it, is the reader's to say.

    Raises:
        DataError: If the header itself does not fit into memory.
    """
    try:
        if nifti.is_nifti(path) or nifti.is_pair(path):
            return _of_nifti(path)
        return _of_itk(path) if itk.is_itk(path) else None
    except (OSError, EOFError, ValueError, RuntimeError, TypeError, ArithmeticError, zlib.error):
        return None
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError):
        return None
    except MemoryError as error:
        raise DataError(
            f"{path.name}: its header alone asks for more memory than there is; a whole file is needed: copy "
            "it again, or leave it out"
        ) from error


def _of_nifti(path: Path) -> Promise:
    with nib.imageglobals.LoggingOutputSuppressor(), np.errstate(all="ignore"):
        image = nib.load(path)
    header, voxels = image.header, Path(image.file_map["image"].filename)
    size = voxels.stat().st_size
    held = size * DEFLATED if _is_gzip(voxels) else size - int(image.dataobj.offset)
    return Promise(
        tuple(int(side) for side in header.get_data_shape()),
        tuple(map(float, header.get_zooms()[:3])),
        np.dtype(header.get_data_dtype()).itemsize,
        held,
    )


def _of_itk(path: Path) -> Promise:
    reader = itk.reader_of(path)
    with itk.silent():
        reader.ReadImageInformation()
    channels = reader.GetNumberOfComponents()
    pixel = SimpleITK.Image([1, 1, 1], reader.GetPixelID())
    return Promise(
        (*reader.GetSize(), *([channels] if channels > 1 else [])),
        tuple(reader.GetSpacing()[:3]),
        pixel.GetSizeOfPixelComponent(),
    )


def _require_file(path: Path) -> None:
    if path.is_dir():
        return
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path.name}: neither a file nor a folder; leave it out")
        if found.st_size == 0:
            raise DataError(
                f"{path.name}: an empty file of 0 bytes; a whole one is needed: copy it again, or leave it "
                "out"
            )
        with path.open("rb"):
            pass
    except OSError as error:
        raise DataError(
            f"{path.name}: cannot be opened ({error.strerror}); mend its permissions or its "
            "link, or leave it out"
        ) from error


def _require_gzip(path: Path) -> None:
    """Raise unless a header's length can be unpacked; what is behind it is the reader's to check."""
    remedy = "copy it again, or leave it out"
    try:
        with gzip.open(path) as file:
            file.read(HEADER)
    except EOFError as error:
        raise DataError(
            f"{path.name}: a gzip file that was cut off; a whole one is needed: {remedy}"
        ) from error
    except gzip.BadGzipFile as error:
        raise DataError(
            f"{path.name}: its name ends in .gz, but it is no gzip file; a whole one is needed: {remedy}"
        ) from error
    except zlib.error as error:
        raise DataError(f"{path.name}: a damaged gzip file; a whole one is needed: {remedy}") from error


def _require_metaimage(path: Path) -> None:
    """Raise where MetaIO would not survive: it has room for ten axes, and must be told where voxels are."""
    with path.open("rb") as file:
        head = file.read(LONGEST_TEXT)
    for found in re.finditer(rb"NDims\s*[=:]\s*(\S*)", head):
        if not re.fullmatch(rb"[1-9]", found[1]):
            given = found[1][:20].decode(errors="replace")
            raise DataError(
                f"{path.name}: its header gives {given!r} as the number of axes; 3 is needed: copy it again, "
                "or leave it out"
            )
    if not re.search(rb"(?im)^ElementDataFile\s*+[=:]", head):
        raise DataError(
            f"{path.name}: its header does not say where its voxels are; `ElementDataFile` is needed: copy "
            "it again, or leave it out"
        )


def _named_in(path: Path) -> list[str]:
    """Files that an NRRD or MetaImage header says its voxels lie in."""
    if not itk.is_itk(path) or not path.is_file():
        return []
    with path.open("rb") as file:
        head = file.read(LONGEST_TEXT).decode("latin-1")
    named = re.findall(
        r"^(?:ElementDataFile|data ?file)\s*+[=:]\s*+([^\n]*)", head, re.MULTILINE | re.IGNORECASE
    )  # possessive: never quadratic
    named = [name.strip() for name in named]
    if any(name.startswith("LIST") for name in named):
        named += head.partition("LIST")[2].splitlines()[1:]
    return [name for name in named if name not in ("LOCAL", "LIST")]


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
