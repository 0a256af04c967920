"""Arrays of a case, opened and read by TensorStore: whatever is not what was written is an error."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import tensorstore
from numpy.typing import NDArray

from mim3d.data.seal import array_holds
from mim3d.errors import DamageError

READERS = min(4, os.cpu_count() or 1)
"""Threads of a process that decompress what is read, at most."""
REMEDY = "delete its folder and run `mim3d prepare` again, which makes only what is missing"


@lru_cache(maxsize=1024)
def open_array(folder: Path, name: str) -> Any:
    """An open array (Z, Y, X), or (C, Z, Y, X), of the case in a folder.

    Raises:
        DamageError: If a file of it is missing, or its description is not what was written.
    """
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder.absolute() / name)}}
    try:
        if not array_holds(folder, name):
            raise OSError
        return tensorstore.open(spec, read=True, context=context(READERS)).result()
    except (ValueError, OSError) as error:
        raise DamageError(
            f"case {name_of(folder)}: its array {name} is missing or damaged; {REMEDY}"
        ) from error


def read_view(folder: Path, name: str, view: Any) -> NDArray[Any]:
    """The voxels of a part of an array of the case in a folder.

    Raises:
        DamageError: If the checksum of one of its chunks does not hold.
    """
    try:
        array: NDArray[Any] = view.read().result()
    except (ValueError, OSError) as error:
        raise DamageError(
            f"case {name_of(folder)}: a chunk of its array {name} is damaged; {REMEDY}"
        ) from error
    return array


def turned(array: NDArray[Any]) -> NDArray[Any]:
    """(..., Z, Y, X), as it is in files, of (..., X, Y, Z), as it is in memory, and the other way round."""
    return array.swapaxes(-1, -3)


def name_of(folder: Path) -> str:
    """The case that lies in a folder."""
    return folder.name.removesuffix(".ome.zarr")


@lru_cache
def context(threads: int) -> Any:
    """Nothing is cached, so that memory is bounded; so many threads compress, decompress and copy."""
    return tensorstore.Context(
        {"cache_pool": {"total_bytes_limit": 0}, "data_copy_concurrency": {"limit": threads}}
    )
