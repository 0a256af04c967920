"""ZIP archives of DICOM files: looked into without unpacking, unpacked slice by slice within stated bounds.

A file in an archive is named as if the archive were a folder: `study.zip/series/IM0001`. Names of members
are never used on disk, so none can lead out of the temporary folder.
"""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from mim3d.data.dicom_elements import UNREADABLE
from mim3d.errors import DataError

SUFFIX = ".zip"
MOST_MEMBERS = 100_000
"""Files in one archive."""
MOST_BYTES = 32 * 2**30
"""Of all files in one archive, unpacked."""
MOST_RATIO = 200
"""Bytes unpacked for each byte of the archive."""
_DAMAGED = (*UNREADABLE, zipfile.BadZipFile, zlib.error)


def is_archive(path: Path) -> bool:
    """Whether a path is a ZIP archive, by its name."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def on_disk(path: Path) -> Path:
    """What holds what a path names: the archive or file of frames that it leads into, else itself."""
    if path.exists():
        return path
    return next((parent for parent in path.parents if parent.is_file()), path)


def members(archive: Path) -> dict[Path, zipfile.ZipInfo]:
    """Files in an archive by their paths, hidden ones left out.

    Raises:
        DataError: If it is damaged, encrypted or larger than the bounds, or a name leads out of it.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
    except _DAMAGED as error:
        raise DataError(
            f"{archive.name}: not a readable ZIP archive ({type(error).__name__}); a whole one is needed: "
            "copy it again"
        ) from error
    _require_bounds(archive, infos)
    found = {archive / _inner(archive, info): info for info in infos if not _is_link(info)}
    return {
        path: found[path]
        for path in sorted(found)
        if not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(archive).parts)
    }


def _require_bounds(archive: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Raise if an archive is encrypted, or a bomb: zipfile never gives more bytes than an entry declares."""
    size = sum(info.file_size for info in infos)
    ratio = size / max(1, archive.stat().st_size)
    wrong = {
        "it is encrypted, an open archive is needed": any(info.flag_bits & 1 for info in infos),
        f"it holds {len(infos)} files, at most {MOST_MEMBERS} are taken": len(infos) > MOST_MEMBERS,
        f"it unpacks to {size / 2**30:.1f} GiB, at most {MOST_BYTES / 2**30:g} are taken": size > MOST_BYTES,
        f"it unpacks to {ratio:.0f} times its size, at most {MOST_RATIO} are taken": ratio > MOST_RATIO,
    }
    for reason, holds in wrong.items():
        if holds:
            raise DataError(f"{archive.name}: {reason}; unpack it yourself if you trust it")


def _inner(archive: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    """Name of a member within its archive."""
    inner = PurePosixPath(info.filename.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or not inner.parts:
        raise DataError(
            f"{archive.name}: the name of one of its files leads out of it; an archive of plain files is "
            "needed: pack it again"
        )
    return inner


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def opened_members(archive: Path, only: Collection[Path] | None = None) -> Iterator[tuple[Path, IO[bytes]]]:
    """Files in an archive, or `only` some of them, each open until the next one is asked for.

    Raises:
        DataError: If the archive is refused.
    """
    wanted = {path: info for path, info in members(archive).items() if only is None or path in only}
    with zipfile.ZipFile(archive) as opened:
        for path, info in wanted.items():
            with opened.open(info) as file:
                yield path, file


@contextmanager
def whole(archive: Path) -> Iterator[None]:
    """Say what is wrong with an archive of which a member cannot be read.

    Raises:
        DataError: If that is so.
    """
    try:
        yield
    except _DAMAGED as error:
        raise DataError(
            f"{archive.name}: a file in it is damaged ({type(error).__name__}); a whole archive is needed: "
            "copy it again"
        ) from error


def unpack(archive: Path, wanted: Collection[Path], folder: Path) -> dict[Path, Path]:
    """Write members into a folder, numbered; where each of them is.

    Raises:
        DataError: If a member is damaged.
    """
    places = {path: folder / f"{number:06d}.dcm" for number, path in enumerate(wanted)}
    with whole(archive):
        for path, file in opened_members(archive, places):
            with places[path].open("wb") as out:
                shutil.copyfileobj(file, out)
    return places
