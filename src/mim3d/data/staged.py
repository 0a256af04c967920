"""The files of a case in a local folder, wherever the case is; none of them trusted before it is compared."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from mim3d.data.arrays import name_of, remedy
from mim3d.data.place import Place
from mim3d.data.seal import file_hash, seal_holds, sums_in
from mim3d.errors import DamageError, StoreError

ROOT = "zarr.json"
"""The file of a case that is sealed, and lists the SHA-256 of the others."""


@contextmanager
def staged(case: Place) -> Iterator[Path]:
    """A local folder with the files of a case: its own, or one that they are fetched into for the while."""
    if isinstance(case, Path):
        yield case
        return
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / case.name
        fetch(case, folder)
        yield folder


def fetch(case: Place, folder: Path) -> None:
    """Copy the files of a case that its zarr.json lists into a local folder, but for those that are missing.

    Raises:
        StoreError: If they are listed at places outside the case.
        UnreachableError: If they cannot be read.
    """
    folder.mkdir(parents=True)
    root = content_of(case / ROOT)
    if root is None:
        return
    for name in sums_in(root):
        require_within(case, name)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _fetch_one(case / name, folder / name)
    (folder / ROOT).write_bytes(root)


def checked(folder: Path, case: Place) -> Mapping[str, str]:
    """SHA-256 of the other files of a case in a folder by path, after they were compared with what is there.

    Raises:
        DamageError: If a file is not what was written.
        StoreError: If there is nothing to compare with.
    """
    root = content_of(folder / ROOT) or b""
    files, holds = sums_in(root), seal_holds(root)
    if root and holds is None:
        raise StoreError(
            f"case {name_of(case)}: written before files had checksums, which copying needs; prepare into a "
            "new folder"
        )
    wrong = [file for file, said in files.items() if not _is(folder / file, said)]
    if not holds or wrong:
        file = ROOT if not holds else wrong[0]
        raise DamageError(f"case {name_of(case)}: {file} is not what was written (SHA-256); {remedy(case)}")
    return files


def _is(file: Path, said: str) -> bool:
    return file.is_file() and file_hash(file) == said


def require_within(place: Place, name: str) -> None:
    """Refuse a name that leads out of the folder that it is in: who made the store may be a stranger."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not name:
        raise StoreError(f"{place}: lists {name!r}, which lies outside; do not use this store")


def content_of(place: Place) -> bytes | None:
    """What is in a file; None if there is none."""
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return None


def _fetch_one(source: Place, file: Path) -> None:
    """Copy a file to a local one, if it is there."""
    try:
        if isinstance(source, Path):
            shutil.copyfile(source, file)
            return
        with file.open("wb") as out:
            out.writelines(source.pieces())
    except FileNotFoundError:
        file.unlink(missing_ok=True)
