"""Seals: what tells a file, or a case, from the same with one bit flipped, added or missing.

A sealed file carries the SHA-256 of itself, with the place of that number filled by zeros. The zarr.json of a
case is sealed and lists the SHA-256 of every other file of the case.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mim3d.data.place import Place

KEY = "mim3d-seal"
MARK = "sha256-of-the-rest:"
BLANK = MARK + "0" * 64
"""What is written in place of a seal, for `sealed` to fill in."""


def sealed(data: bytes) -> bytes:
    """The content of a file that holds `BLANK` once, with its own SHA-256 in place of the zeros."""
    assert data.count(BLANK.encode()) == 1
    return data.replace(BLANK.encode(), MARK.encode() + hashlib.sha256(data).hexdigest().encode())


def seal_holds(data: bytes) -> bool | None:
    """Whether the content of a file is as it was sealed; None if it never was."""
    before, mark, after = data.partition(MARK.encode())
    if not mark:
        return False if KEY.encode() in data else None
    digest = hashlib.sha256(before)
    digest.update(BLANK.encode())
    digest.update(memoryview(after)[64:])
    return digest.hexdigest().encode() == after[:64]


def seal_case(folder: Path) -> None:
    """Seal the zarr.json of a case whose files are all written, with the sums of the others in it."""
    root = folder / "zarr.json"
    files = {name: file_hash(folder / name) for name in case_files(folder) if name != "zarr.json"}
    content = json.loads(root.read_text())
    content["attributes"][KEY] = {"seal": BLANK, "files": files}
    root.write_bytes(resealed(content))


def resealed(content: dict[str, Any]) -> bytes:
    """The zarr.json of a case with a new seal; one that lists no sums of files never had one."""
    sums = content["attributes"].get(KEY)
    if sums is not None:
        sums["seal"] = BLANK
    text = json.dumps(content, indent=2).encode()
    return text if sums is None else sealed(text)


def case_files(folder: Path) -> list[str]:
    """Paths of all files of a case within its folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def file_hash(path: Place) -> str:
    """SHA-256 of a file."""
    if not isinstance(path, Path):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_holds(folder: Place, array: str) -> bool:
    """Whether an array of a case is described as it was sealed, and all its files are there.

    What is in the files has checksums of its own, chunk by chunk. Arrays of unsealed cases in a folder always
    hold; there are none in object stores.

    Raises:
        OSError: If its description is missing.
    """
    files, described = sums_of(folder), f"{array}/zarr.json"
    if described not in files:
        return bool(files) or isinstance(folder, Path)
    ours = [name for name in files if name.startswith(f"{array}/") and name != described]
    return (
        all((folder / name).is_file() for name in ours) and file_hash(folder / described) == files[described]
    )


def sums_of(folder: Place) -> Mapping[str, str]:
    """SHA-256 of the other files of a case by path; none if it was never sealed or cannot be read."""
    return _sums(folder / "zarr.json", written_at(folder))


def written_at(folder: Place) -> int:
    """When a case was written, ns: what is kept of it in memory is out of date after that. 0 at a URL."""
    if not isinstance(folder, Path):
        return 0
    try:
        return os.stat(folder / "zarr.json").st_mtime_ns
    except OSError:
        return 0


def sums_in(root: bytes) -> Mapping[str, str]:
    """What a case's zarr.json says of the other files, see `sums_of`."""
    try:
        return dict(json.loads(root)["attributes"][KEY]["files"])
    except (ValueError, KeyError, TypeError):
        return {}


@lru_cache(maxsize=64)
def _sums(root: Place, _written: int) -> Mapping[str, str]:
    try:
        return sums_in(root.read_bytes())
    except OSError:
        return {}
