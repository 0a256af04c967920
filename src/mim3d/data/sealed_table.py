"""Parquet tables with a seal: written aside and renamed, and refused where they are not what was written."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from mim3d.data.seal import BLANK, KEY, seal_holds, sealed
from mim3d.errors import StoreError

REMEDY = "delete it and run `mim3d prepare` on the store again, which makes it from the cases"


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table, whole or not at all."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    parquet.write_table(table.replace_schema_metadata({KEY: BLANK}), unfinished)
    unfinished.write_bytes(sealed(unfinished.read_bytes()))
    os.replace(unfinished, path)


def read_table(path: Path, repeated: Sequence[str] = ()) -> pa.Table:
    """A table; columns in which the same comes again and again keep it once.

    Raises:
        StoreError: If it cannot be read, or is not what was written.
    """
    try:
        data = path.read_bytes()
        if seal_holds(data) is False:
            raise StoreError(f"{path.name}: not what was written (seal); {REMEDY}")
        return parquet.read_table(pa.BufferReader(data), read_dictionary=list(repeated))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path.name}: not a readable table ({type(error).__name__}); {REMEDY}") from error
