"""What code expects of the scans that weights learnt from, against what they did learn from."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mim3d.errors import CheckpointError, worded
from mim3d.run_files import PREPROCESSING
from mim3d.train.run_folder import read_json

SHIFTS = ("window", "spacing", "scaling", "intensity")
"""Preprocessing that may differ, with a warning: features shift, no more."""


def require_expected(folder: Path, expected: Mapping[str, Any]) -> None:
    """Compare preprocessing.json with what is expected; None stands for anything.

    Args:
        folder: Of a run, or of exported weights.
        expected: `orientation`, `unit`, `modality` and `channels` must agree; what is in `SHIFTS` is warned
            of: `window` (low, high), `spacing` (x, y, z).

    Raises:
        CheckpointError: If the file is missing or damaged, or what must agree does not.
    """
    asked = {name: value for name, value in expected.items() if value is not None}
    learnt = read_json(folder / PREPROCESSING) if asked else {}
    for name, value in asked.items():
        theirs = _plain(learnt.get(name))
        if theirs == _plain(value):
            continue
        said = (
            f"{folder}: weights learnt from {name} {told(name, theirs)}, but {told(name, value)} is expected"
        )
        if name not in SHIFTS:
            raise CheckpointError(f"{said}; prepare volumes like theirs, or take other weights")
        warnings.warn(said, stacklevel=3)


def told(name: str, value: Any) -> str:
    """Preprocessing as messages have it, with its unit."""
    if name == "spacing":
        return " x ".join(f"{mm:g}" for mm in value) + " mm" if value else "each scan's own"
    if name == "window" and value is not None:
        return "{:g} to {:g} HU".format(*_plain(value))
    return worded(value)


def _plain(value: Any) -> Any:
    """A window as (low, high), a list as a tuple, numbers of both as floats; anything else as it is."""
    if isinstance(value, Mapping):
        value = (value["low"], value["high"])
    return tuple(map(float, value)) if isinstance(value, list | tuple) else value
