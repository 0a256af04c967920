"""A scan as stored in, a label map on its own grid out; the scan is prepared as those that the run saw."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mim3d.config import Scaling, Window
from mim3d.config.prediction import Blend
from mim3d.data.case_channels import quantised
from mim3d.data.guard import require_working_grid
from mim3d.data.intensity import Quantised, apply_window, require_contrast, statistics, window_of
from mim3d.data.resample import to_spacing
from mim3d.data.straighten import straight_grid
from mim3d.data.volume import Volume, as_stored, canonical
from mim3d.errors import CheckpointError, DataError
from mim3d.geometry import Triple, Vector
from mim3d.inference.crops import Network, mirrored
from mim3d.inference.ensemble import probabilities, together
from mim3d.inference.head import apart
from mim3d.inference.restore import Grid, OnSlice, restore
from mim3d.inference.window import Plane, Progress, Read, Windows, sweep
from mim3d.run_files import PREPROCESSING

OnCanonicalSlice = Callable[[int, int, Tensor], None]
"""Told axis and number of a slice of the canonical scan, and the probabilities (O, U, V) on it."""


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

    @property
    def of_channels(self) -> tuple[str, ...]:
        """Modality of each channel that a scan must have."""
        return self.modalities or (self.modality,)


def read_preprocessing(run: Path) -> Preprocessing:
    """What RUN/preprocessing.json says.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    file = run / PREPROCESSING
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """How windows go over a scan."""

    overlap: float = 0.5
    """Share of a window shared with its neighbour, 0 <= overlap < 1."""
    blend: Blend = "gaussian"
    """What a window's voxels weigh where windows overlap."""
    flips: tuple[int, ...] = ()
    """Axes along which crops are mirrored too, in all combinations; the mean is taken."""
    batch_size: int = 1
    """Windows that go through the network at once, on a CPU in each thread."""
    device: str = "cpu"
    """Where the network runs."""

    def __post_init__(self) -> None:
        Windows(  # what it refuses is refused before a scan is read
            shape=(1, 1, 1), crop=(1, 1, 1), overlap=self.overlap, batch_size=self.batch_size
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """One or several networks that segment the same structures of scans prepared in the same way."""

    networks: tuple[Network, ...]
    """In evaluation mode, on the device of the sweep; crops to logits."""
    preprocessing: Preprocessing
    crop: Triple
    """What they see at once, voxels of the working grid."""
    overlapping: bool = False
    """Whether structures may share voxels."""


def segment(
    model: Model,
    stored: Volume | Sequence[Volume],
    how: Sweep,
    *,
    on_windows: Progress | None = None,
    on_slice: OnCanonicalSlice | None = None,
) -> NDArray[Any]:
    """The structure at each voxel of a scan, on the grid and in the axis order that it is stored in.

    Args:
        model: What segments; the probabilities of several networks are averaged.
        stored: As `read_volume` gives it, or its channels as `read_scan` does.
        how: Settings.
        on_windows: Called after every batch.
        on_slice: Told axis and number of each slice of the canonical scan, and its probabilities (O, U, V).

    Raises:
        DataError: If the modality is another one, the scan is empty or sheared, or channels do not lie on one
            grid.
    """
    channels = [stored] if isinstance(stored, Volume) else list(stored)
    preprocessing = model.preprocessing
    require_modality(channels, preprocessing)
    volumes = [canonical(one) for one in channels]
    volume = volumes[0]
    _require_right_angles(volume)
    spacing = volume.spacing if preprocessing.spacing is None else preprocessing.spacing
    require_working_grid(volume.shape, volume.spacing, spacing)
    working = [
        replace(one, array=to_spacing(replace(volume, array=one.array), spacing).array)
        for one in quantised(volumes)
    ]
    ranges = [_window(one, each.modality, preprocessing) for one, each in zip(working, volumes, strict=True)]
    x, y, z = working[0].array.shape
    windows = Windows(
        shape=(x, y, z), crop=model.crop, overlap=how.overlap, blend=how.blend, batch_size=how.batch_size
    )
    planes = _planes(model, partial(_read, working, ranges), windows, how, on_windows)
    grids = Grid(windows.shape, spacing), Grid(volume.shape, volume.spacing)
    seen = None if on_slice is None else _telling(on_slice, windows.axis, model.overlapping)
    labels = restore(planes, windows.axis, *grids, overlapping=model.overlapping, on_slice=seen)
    return as_stored(labels, channels[0])


def _planes(
    model: Model, read: Read, windows: Windows, how: Sweep, on_windows: Progress | None
) -> Iterator[Plane]:
    """Logits of all networks together, plane by plane."""
    members = []
    for network, told in zip(model.networks, _shares(on_windows, len(model.networks)), strict=True):
        body, head = apart(network)
        crops = mirrored(body, how.flips)
        members.append(sweep(crops, read, windows, head=head, device=how.device, on_windows=told))
    return together(members, model.overlapping)


def _shares(on_windows: Progress | None, members: int) -> list[Progress | None]:
    """Progress of several networks that go on in turns, as that of all."""
    done = [0] * members

    def shown(number: int, own: int, total: int) -> None:
        assert on_windows is not None
        done[number] = own
        on_windows(sum(done), total * members)

    return [None if on_windows is None else partial(shown, number) for number in range(members)]


def _telling(on_slice: OnCanonicalSlice, axis: int, overlapping: bool) -> OnSlice:
    """Pass on probabilities in place of logits."""
    return lambda place, logits: on_slice(axis, place, probabilities(logits, overlapping))


def require_modality(channels: Sequence[Volume], preprocessing: Preprocessing) -> None:
    """Raise unless the channels of a scan are of the modalities that the run learnt from.

    Raises:
        DataError: If they are others.
    """
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
