"""Seals: what tells a file, or a case, from the same with one bit flipped, added or missing.

A sealed file carries the SHA-256 of itself, with the place of that number filled by zeros. The zarr.json of a
case is sealed and lists the SHA-256 of every other file of the case.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

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


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_holds(folder: Path, array: str) -> bool:
    """Whether an array of a case is described as it was sealed, and all its files are there.

    What is in the files has checksums of its own, chunk by chunk. Arrays of unsealed cases always hold.
    """
    files = sums_of(folder)
    ours = [name for name in files if name.startswith(f"{array}/")]
    there = all((folder / name).is_file() for name in ours)
    described = f"{array}/zarr.json"
    return there and (described not in files or file_hash(folder / described) == files[described])


def sums_of(folder: Path) -> Mapping[str, str]:
    """SHA-256 of the other files of a case by path; none if it was never sealed or cannot be read."""
    root = folder / "zarr.json"
    return _sums(root, root.stat().st_mtime_ns if root.is_file() else 0)


@lru_cache(maxsize=64)
def _sums(root: Path, _written: int) -> dict[str, str]:
    try:
        sums: dict[str, str] = json.loads(root.read_text())["attributes"][KEY]["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return sums
