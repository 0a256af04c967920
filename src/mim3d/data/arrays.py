"""Arrays of a case, opened and read by TensorStore: whatever is not what was written is an error."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import tensorstore
from numpy.typing import NDArray

from mim3d.data.kvstore import RETRIES, kvstore, patience, refuse_unreached
from mim3d.data.place import Place
from mim3d.data.seal import array_holds, written_at
from mim3d.errors import DamageError

READERS = min(4, os.cpu_count() or 1)
"""Threads of a process that decompress what is read, at most."""


def open_array(folder: Place, name: str) -> Any:
    """An open array (Z, Y, X), or (C, Z, Y, X), of the case in a folder.

    Raises:
        DamageError: If a file of it is missing, or its description is not what was written.
        UnreachableError: If its object store cannot be reached.
    """
    return _opened(folder, name, written_at(folder))


@lru_cache(maxsize=1024)
def _opened(folder: Place, name: str, _written: int) -> Any:
    try:
        if not array_holds(folder, name):
            raise FileNotFoundError(name)
        spec = {"driver": "zarr3", "kvstore": kvstore(folder / name, context(READERS))}
        return tensorstore.open(spec, read=True, context=context(READERS)).result(patience(folder))
    except (ValueError, OSError) as error:
        refuse_unreached(folder, error)
        raise DamageError(
            f"case {name_of(folder)}: its array {name} is missing or damaged; {remedy(folder)}"
        ) from error


def forget_arrays() -> None:
    """Have every array opened anew: what lies under those that are open may have been damaged since."""
    _opened.cache_clear()


def read_view(folder: Place, name: str, view: Any) -> NDArray[Any]:
    """What a part of an array of the case in a folder holds, with its axes: Z, Y, X for voxels.

    Raises:
        DamageError: If the checksum of one of its chunks does not hold.
        UnreachableError: If its object store cannot be reached.
    """
    try:
        array: NDArray[Any] = view.read().result(patience(folder))
    except (ValueError, OSError) as error:
        refuse_unreached(folder, error)
        raise DamageError(
            f"case {name_of(folder)}: a chunk of its array {name} is damaged; {remedy(folder)}"
        ) from error
    return array


def turned(array: NDArray[Any]) -> NDArray[Any]:
    """(..., Z, Y, X), as it is in files, of (..., X, Y, Z), as it is in memory, and the other way round."""
    return array.swapaxes(-1, -3)


def remedy(folder: Place) -> str:
    """What to do about a damaged case."""
    again = (
        "`mim3d prepare` again, which makes"
        if isinstance(folder, Path)
        else "`mim3d copy` again, which brings"
    )
    return f"delete its folder and run {again} only what is missing"


def name_of(folder: Place) -> str:
    """The case that lies in a folder."""
    return folder.name.removesuffix(".ome.zarr")


@lru_cache
def context(threads: int) -> Any:
    """Nothing is cached, so that memory is bounded; so many threads compress, decompress and copy."""
    return tensorstore.Context(
        {"cache_pool": {"total_bytes_limit": 0}, "data_copy_concurrency": {"limit": threads}, **RETRIES}
    )
