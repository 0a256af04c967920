"""Tables of a store as sealed Parquet files."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from mim3d.data.place import Place
from mim3d.data.seal import BLANK, KEY, seal_holds, sealed
from mim3d.errors import StoreError

REMEDY = "delete it and run `mim3d prepare` on the store again, which makes it from the cases"


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table, whole or not at all."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    parquet.write_table(table.replace_schema_metadata({KEY: BLANK}), unfinished)
    unfinished.write_bytes(sealed(unfinished.read_bytes()))
    os.replace(unfinished, path)


def read_table(path: Place, repeated: Sequence[str] = ()) -> pa.Table:
    """A table; `repeated` columns, in which the same comes again and again, keep it once.

    Raises:
        StoreError: If the file is missing, damaged or none of a table.
    """
    try:
        return table_of(path.read_bytes(), path.name, repeated)
    except OSError as error:
        raise _unreadable(path.name, error) from error


def table_of(content: bytes, name: str, repeated: Sequence[str] = ()) -> pa.Table:
    """The table in the content of a file of some name; see `read_table`."""
    if seal_holds(content) is False:
        raise StoreError(f"{name}: not what was written (seal); {REMEDY}")
    try:
        there = parquet.read_schema(pa.BufferReader(content)).names
        once = [column for column in repeated if column in there]
        file = parquet.ParquetFile(pa.BufferReader(content), read_dictionary=once)
        return file.read(use_threads=False)  # threads that outlive an error line may abort the process
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> StoreError:
    return StoreError(f"{name}: not a readable table ({type(error).__name__}); {REMEDY}")
