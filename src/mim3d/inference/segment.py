"""A scan as stored in, a label map on its own grid out; the scan is prepared as those that the run saw."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mim3d.config import Window
from mim3d.data.intensity import Quantised, apply_window, quantise
from mim3d.data.resample import to_spacing
from mim3d.data.volume import Volume, as_stored, canonical
from mim3d.errors import CheckpointError, DataError
from mim3d.geometry import Triple, Vector
from mim3d.inference.restore import Grid, restore
from mim3d.inference.window import Network, Progress, Windows, sweep


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """What was done to a scan before the network saw it."""

    modality: str
    """As DICOM names it, e.g. `CT`."""
    window: Window
    """Intensities that became [0, 1], HU for CT."""
    spacing: Vector | None
    """Of the working grid, mm; None: each scan's own."""


def read_preprocessing(run: Path) -> Preprocessing:
    """What RUN/preprocessing.json says.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    file = run / "preprocessing.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        window = Window(low=float(content["window"]["low"]), high=float(content["window"]["high"]))
        spacing = content["spacing"]
        if spacing is not None:
            x, y, z = map(float, spacing)
            spacing = (x, y, z)
        return Preprocessing(modality=str(content["modality"]), window=window, spacing=spacing)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file}: not readable ({type(error).__name__}: {error}), but it says how scans are prepared; "
            "copy it again from where the run was made"
        ) from error


def segment(
    network: Network,
    stored: Volume,
    preprocessing: Preprocessing,
    *,
    crop: Triple,
    overlap: float,
    device: str = "cpu",
    on_windows: Progress | None = None,
) -> NDArray[Any]:
    """The structure at each voxel of a scan, on the grid and in the axis order that it is stored in.

    Args:
        network: In evaluation mode, on `device`.
        stored: As `read_volume` gives it.
        preprocessing: Of the scans that the network learnt from.
        crop: What the network sees at once, voxels of the working grid.
        overlap: Share of a window shared with its neighbour, 0 <= overlap < 1.
        device: Where the network runs.
        on_windows: Called after every batch.

    Raises:
        DataError: If the modality is another one, or the scan is empty.
    """
    if stored.modality != preprocessing.modality:
        raise DataError(
            f"modality is {stored.modality}, but the run learnt from {preprocessing.modality}; give a "
            f"{preprocessing.modality} scan, or a run fine-tuned on {stored.modality}"
        )
    volume = canonical(stored)
    spacing = volume.spacing if preprocessing.spacing is None else preprocessing.spacing
    kept = quantise(volume.array, volume.modality)
    working = to_spacing(replace(volume, array=kept.array), spacing)
    read = partial(_read, replace(kept, array=working.array), preprocessing.window)
    windows = Windows(shape=working.shape, crop=crop, overlap=overlap)
    planes = sweep(network, read, windows, device=device, on_windows=on_windows)
    labels = restore(planes, windows.axis, Grid(working.shape, spacing), Grid(volume.shape, volume.spacing))
    return as_stored(labels, stored)


def _read(kept: Quantised, window: Window, start: Triple, size: Triple) -> Tensor:
    """Intensities (1, X, Y, Z) in [0, 1] of a box of the working grid."""
    x, y, z = (slice(a, a + n) for a, n in zip(start, size, strict=True))
    crop = kept.array[x, y, z].astype(np.float32) * np.float32(kept.slope)
    return torch.from_numpy(np.ascontiguousarray(apply_window(crop, window)))[None]
