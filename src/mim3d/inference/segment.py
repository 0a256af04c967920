"""A scan as stored in, a label map on its own grid out; the scan is prepared as those that the run saw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mim3d.config import Scaling, Window
from mim3d.data.case_channels import quantised
from mim3d.data.intensity import Quantised, apply_window, require_contrast, statistics, window_of
from mim3d.data.resample import to_spacing
from mim3d.data.straighten import straight_grid
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
    scaling: Scaling = "percentiles"
    """How intensities of what is no CT became [0, 1]."""
    modalities: tuple[str, ...] = ()
    """Of each channel, where there are several."""


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
        scaling = content.get("scaling", "percentiles")
        if scaling not in get_args(Scaling):
            raise ValueError(f"scaling {scaling!r}")
        return Preprocessing(
            modality=str(content["modality"]),
            window=window,
            spacing=spacing,
            scaling=scaling,
            modalities=tuple(map(str, content.get("modalities", ()))),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file}: not readable ({type(error).__name__}: {error}), but it says how scans are prepared; "
            "copy it again from where the run was made"
        ) from error


def segment(  # noqa: PLR0913  one argument a setting
    network: Network,
    stored: Volume | Sequence[Volume],
    preprocessing: Preprocessing,
    *,
    crop: Triple,
    overlap: float,
    overlapping: bool = False,
    device: str = "cpu",
    on_windows: Progress | None = None,
) -> NDArray[Any]:
    """The structure at each voxel of a scan, on the grid and in the axis order that it is stored in.

    Args:
        network: In evaluation mode, on `device`.
        stored: As `read_volume` gives it, or its channels as `read_scan` does.
        preprocessing: Of the scans that the network learnt from.
        crop: What the network sees at once, voxels of the working grid.
        overlap: Share of a window shared with its neighbour, 0 <= overlap < 1.
        overlapping: Whether structures may share voxels.
        device: Where the network runs.
        on_windows: Called after every batch.

    Raises:
        DataError: If the modality is another one, the scan is empty or sheared, or channels do not lie on one
            grid.
    """
    channels = [stored] if isinstance(stored, Volume) else list(stored)
    _require_modality(channels, preprocessing)
    volumes = [canonical(one) for one in channels]
    volume = volumes[0]
    _require_right_angles(volume)
    spacing = volume.spacing if preprocessing.spacing is None else preprocessing.spacing
    working = [
        replace(one, array=to_spacing(replace(volume, array=one.array), spacing).array)
        for one in quantised(volumes)
    ]
    ranges = [_window(one, each.modality, preprocessing) for one, each in zip(working, volumes, strict=True)]
    x, y, z = working[0].array.shape
    windows = Windows(shape=(x, y, z), crop=crop, overlap=overlap)
    read = partial(_read, working, ranges)
    planes = sweep(network, read, windows, device=device, on_windows=on_windows)
    grids = Grid(windows.shape, spacing), Grid(volume.shape, volume.spacing)
    labels = restore(planes, windows.axis, *grids, overlapping=overlapping)
    return as_stored(labels, channels[0])


def _require_modality(channels: Sequence[Volume], preprocessing: Preprocessing) -> None:
    found = "+".join(dict.fromkeys(one.modality for one in channels))
    if found != preprocessing.modality:
        raise DataError(
            f"modality is {found}, but the run learnt from {preprocessing.modality}; give a "
            f"{preprocessing.modality} scan, or a run fine-tuned on {found}"
        )


def _require_right_angles(volume: Volume) -> None:
    """Sheared scans are resampled when prepared; here the label map could not be given on their grid."""
    grid = straight_grid(volume)
    if grid.resampled:
        raise DataError(
            f"{grid.note.removesuffix(': resampled')}; a label map is made on the scan's own grid, which "
            "needs them: resample the scan to a grid with right angles"
        )


def _window(kept: Quantised, modality: str, preprocessing: Preprocessing) -> Window:
    """What becomes 0 and 1 of one channel: as `prepare` and the sampler do it, from the working grid."""
    if modality == "CT":
        return preprocessing.window
    measured = statistics(kept, modality)
    require_contrast(modality, measured)
    return window_of(modality, measured, preprocessing.window, preprocessing.scaling)


def _read(channels: Sequence[Quantised], windows: Sequence[Window], start: Triple, size: Triple) -> Tensor:
    """Intensities (C, X, Y, Z) in [0, 1] of a box of the working grid."""
    x, y, z = (slice(a, a + n) for a, n in zip(start, size, strict=True))
    seen = [
        apply_window(kept.array[x, y, z].astype(np.float32) * np.float32(kept.slope), window)
        for kept, window in zip(channels, windows, strict=True)
    ]
    return torch.from_numpy(np.stack(seen))
