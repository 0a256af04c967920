"""Which scan it is: an identity of what is in its files, that copies share. It tells no name.

Of each file its size, its beginning and its end are read, and of an archive the checksums in its directory: a
file that changes in its middle alone, and keeps its size, is not seen to change.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import repeat
from pathlib import Path

from mim3d.data.dicom import holds_dicom
from mim3d.data.dicom_zip import is_archive, members
from mim3d.data.images import image_at
from mim3d.data.parts import Parts
from mim3d.data.sources import Source
from mim3d.data.volume import files_beside
from mim3d.errors import DataError

ENDS = 4096
"""Bytes that are read at the beginning of a file, and at its end."""
DIGITS = 16


def identity(source: Source) -> str | None:
    """Identity of a scan, 16 hexadecimal digits; None of one that cannot be read.

    It follows from the files of its channels in their order, of a DICOM volume from those of its slices in
    any, and from the channel that is meant of a file with several. Where they lie and what they are called
    does not matter.
    """
    chosen = source.channel if isinstance(source.channel, int) else None
    try:
        first = _of_image(source.image) if source.parts is None else _of_parts(source.parts)
        channels = [first, *map(_of_image, source.more)]
    except (AssertionError, MemoryError):
        raise
    except Exception:  # readers of broken files raise whatever they like; reading the scan will say why
        return None
    return _digest(json.dumps([chosen, channels]).encode())[:DIGITS]


def _of_image(path: Path) -> list[str]:
    """What is in the files that a path stands for, sorted."""
    if not path.is_dir() and not holds_dicom(path):
        return sorted(map(_of_file, (path, *files_beside(path))))
    image = image_at(path)
    if image is None or image.parts is None:
        raise DataError(f"{path.name}: no DICOM volume; name one")
    return _of_parts(image.parts)


def _of_parts(parts: Parts) -> list[str]:
    """What is in each slice, sorted: of a file with many frames, its number belongs to it."""
    inside = is_archive(parts.folder)
    content = _of_members(parts.folder) if inside else {path: _of_file(path) for path in parts.files}
    frames = parts.frames or repeat("")
    return sorted(f"{content[path]} {frame}" for path, frame in zip(parts.paths, frames, strict=False))


def _of_members(archive: Path) -> Mapping[Path, str]:
    return {path: f"{info.file_size} {info.CRC:08x}" for path, info in members(archive).items()}


def _of_file(path: Path) -> str:
    """Of the size, the beginning and the end of a file, which follow one another in a short one."""
    if not path.is_file():  # what is neither file nor folder might never be opened
        raise DataError(f"{path.name}: no file; name one")
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        first = file.read(ENDS)
        file.seek(max(len(first), size - ENDS))
        return _digest(b"%d " % size + first + file.read(ENDS))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
