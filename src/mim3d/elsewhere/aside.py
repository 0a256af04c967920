"""A folder that appears whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mim3d.errors import CheckpointError


@contextmanager
def written_aside(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` at the end.

    Raises:
        CheckpointError: If `out` is there already, and no empty folder.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CheckpointError(f"{out}: is there already, and no empty folder; name a new folder")
    aside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if out.exists():
            out.rmdir()
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
