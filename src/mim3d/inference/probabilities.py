"""Probabilities of structures on the scan's own grid, one file each, gathered on disk slice by slice.

NIfTI knows no half floats: they are stored in 16 bits as multiples of 1 / 65535, which are finer near 1.

Shapes: S structures; O outputs (S where structures overlap, else 1 + S, the background first); U V the two
axes across the sweep.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, io_orientation
from numpy.typing import NDArray
from torch import Tensor

from mim3d.data.volume import Volume, write_nifti
from mim3d.inference.outputs import IN_HEADER
from mim3d.inference.segment import OnCanonicalSlice

STEPS = 65535
"""Steps from probability 0 to 1."""


@contextmanager
def gathered(files: Mapping[str, Path], stored: Volume) -> Iterator[OnCanonicalSlice | None]:
    """Takes slices of probabilities inside; writes the files when all went well.

    Args:
        files: Of each structure, in order; perhaps none.
        stored: The scan, on whose grid they shall lie.

    Yields:
        What takes slices of the canonical scan; None if there are no files.
    """
    if not files:
        yield None
        return
    raw = [path.with_name(f".{path.name}.raw") for path in files.values()]
    for path in raw:
        path.parent.mkdir(parents=True, exist_ok=True)
    kept = [np.memmap(path, np.uint16, "w+", shape=stored.shape, order="F") for path in raw]
    orientation = io_orientation(stored.affine)
    turned: list[NDArray[Any]] = [apply_orientation(one, orientation) for one in kept]  # views

    def on_slice(axis: int, number: int, probabilities: Tensor) -> None:
        structures = probabilities[len(probabilities) - len(turned) :]
        for one, values in zip(turned, structures, strict=True):
            place = (slice(None),) * axis + (number,)
            one[place] = (values * STEPS).round_().numpy().astype(np.uint16)

    try:
        yield on_slice
        for one, path in zip(kept, files.values(), strict=True):
            write_nifti(path, one, stored.affine, description=IN_HEADER, slope=1 / STEPS)
    finally:
        for path in raw:
            path.unlink(missing_ok=True)
