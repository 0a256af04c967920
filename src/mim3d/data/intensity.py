"""Intensities: how scans are kept (int16, HU wide), what is measured on them, what a network sees of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.config import Scaling, Window
from mim3d.errors import DataError

AIR = -1024
"""Padding and the lowest intensity kept of a CT, HU."""
METAL = 3071
"""The highest intensity kept of a CT, HU."""
BODY = -500
"""Voxels of a CT above this are body, HU."""
LARGEST = 32767
DEVIATIONS = 3.0
"""Standard deviations on either side of the mean that are told apart."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """A scan as it is kept: intensity = `slope` x `array`."""

    array: NDArray[np.int16]
    """(X, Y, Z)."""
    slope: float
    """Intensity of one step: 1 HU for a CT; for other modalities what makes 16 bits hold the range."""
    padding: float
    """Intensity outside the volume: -1024 HU for a CT, 0 otherwise."""


def quantise(array: NDArray[Any], modality: str = "CT") -> Quantised:
    """A scan (X, Y, Z) in 16 bits: a CT rounded to whole HU within -1024..3071, what is not finite is air.

    Raises:
        DataError: If no voxel is finite, or all voxels are the same.
    """
    planes, air = np.asarray(array).T, AIR if modality == "CT" else 0  # (Z, Y, X), as they lie in memory
    if planes.dtype.kind == "f" and not any(np.isfinite(plane).any() for plane in planes):
        raise DataError("no voxel has a finite intensity; convert the scan again from its source")
    slope, low, high = 1.0, AIR, METAL
    if modality != "CT":
        slope, low, high = _slope([_finite(plane, air) for plane in planes]), -LARGEST, LARGEST
    kept = np.empty(planes.shape, np.int16)
    for plane, target in zip(planes, kept, strict=True):
        values = _finite(plane, air)
        if slope != 1.0 or values.dtype.kind == "f":
            values = np.rint(values / slope if slope != 1.0 else values)
        np.clip(values, low, high, out=target, casting="unsafe")
    if kept.min() == kept.max():
        raise DataError(
            f"all voxels have the same intensity, {kept.min() * slope:g}; intensities that differ are "
            "needed: convert the scan again from its source, or leave it out"
        )
    return Quantised(kept.T, slope, float(AIR) if modality == "CT" else 0.0)


def apply_window(
    hu: NDArray[Any], window: Window, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Intensities in HU, any shape, as float32 in [0, 1]: `window.low` and below is 0, `window.high` is 1.

    Args:
        hu: Numbers of any type.
        window: What is shown, HU.
        out: Where to put the result, of the same shape, which may be `hu` itself; None: a new array.
    """
    low, width = np.float32(window.low), np.float32(window.high - window.low)
    shown: NDArray[np.float32] = np.subtract(hu, low, dtype=np.float32, out=out)
    shown /= width
    return np.clip(shown, np.float32(0), np.float32(1), out=shown)


def window_of(modality: str, measured: dict[str, float], window: Window, scaling: Scaling) -> Window:
    """What becomes 0 and 1: the run's window for a CT, else a range of the case's own body.

    Source: percentiles 0.5 and 99.5 as nnU-Net (Isensee et al. 2021, Nature Methods 18) takes them for CT,
    there of the whole data set; mean and standard deviation as there for other modalities, here of the body,
    within three deviations, and on the scale of [0, 1] that pre-training needs.

    Args:
        modality: As DICOM names it.
        measured: Of the case (or its channel), see `statistics`.
        window: Of the run, HU.
        scaling: Of the run.
    """
    if modality == "CT":
        return window
    if scaling == "deviations":
        width = DEVIATIONS * measured["std"]
        return Window(low=measured["mean"] - width, high=measured["mean"] + width)
    return Window(low=measured["p005"], high=measured["p995"])


def full_range(padding: float, measured: dict[str, float]) -> Window:
    """What becomes 0 and 1 where all is shown: the intensity outside the volume, and the body's highest."""
    return Window(low=padding, high=max(measured["maximum"], padding + 1.0))


def require_contrast(modality: str, measured: dict[str, float]) -> None:
    """Raise unless a range of the body's intensities can be shown, see `window_of`.

    Raises:
        DataError: If 99 % of a body that is no CT's have one intensity.
    """
    if modality != "CT" and not measured["p005"] < measured["p995"]:
        raise DataError(
            f"the percentiles 0.5 and 99.5 of its body are both {measured['p005']:g}; intensities that "
            "differ are needed: leave it out if it is a label map"
        )


def body_of(quantised: Quantised, modality: str = "CT") -> NDArray[np.bool_]:
    """Voxels (X, Y, Z) of the body: above -500 HU in a CT, above the mean otherwise; padding is not body."""
    return quantised.array > _threshold(quantised, modality)


def statistics(quantised: Quantised, modality: str = "CT") -> dict[str, float]:
    """What is measured on the intensities of the body, see `body_of` (where there is none, on all): CT in HU.

    Returns:
        mean, std (population), p005 and p995 (percentiles 0.5 and 99.5), minimum, maximum; and body_share,
        the share of all voxels that are body, no unit.
    """
    steps, counts = _counted(quantised.array, above=_threshold(quantised, modality))
    share = counts.sum() / quantised.array.size
    if not share:
        steps, counts = _counted(quantised.array)
    total, mean = counts.sum(), np.average(steps, weights=counts)
    found = {
        "mean": mean,
        "std": np.sqrt(np.average((steps - mean) ** 2, weights=counts)),
        "p005": _percentile(steps, counts, 0.005 * (total - 1)),
        "p995": _percentile(steps, counts, 0.995 * (total - 1)),
        "minimum": steps[0],
        "maximum": steps[-1],
    }
    measured = {name: float(value) * quantised.slope for name, value in found.items()}
    return {**measured, "body_share": share}


def _threshold(quantised: Quantised, modality: str) -> float:
    """The step above which a voxel is body."""
    return BODY if modality == "CT" else float(quantised.array.mean())


def _counted(array: NDArray[np.int16], above: float = -math.inf) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values above a threshold that occur in (X, Y, Z), in order, and how often."""
    counts = np.zeros(2**16, np.int64)
    for plane in array.T:
        counts += np.bincount(plane[plane > above].view(np.uint16), minlength=2**16)
    counts = np.roll(counts, 2**15)  # negative numbers, which come last without their sign, first
    (places,) = np.nonzero(counts)
    return places.astype(np.float64) - 2**15, counts[places]


def _percentile(steps: NDArray[Any], counts: NDArray[Any], place: float) -> float:
    """The value at a place of the sorted values, between two of them linearly."""
    ends, lower = np.cumsum(counts), math.floor(place)
    below, above = (steps[np.searchsorted(ends, min(n, ends[-1] - 1), "right")] for n in (lower, lower + 1))
    return float(below + (above - below) * (place - lower))


def _finite(values: NDArray[Any], air: float) -> NDArray[Any]:
    """The values, air where they are not finite; whole numbers in a type that the limits of a CT fit."""
    if values.dtype.kind != "f":
        return values if values.dtype == np.int16 else values.astype(np.int64)
    filled: NDArray[Any] = np.where(np.isfinite(values), values, values.dtype.type(air))
    return filled


def _slope(planes: Sequence[NDArray[Any]]) -> float:
    """1 where whole numbers of 16 bits hold the range, else the power of two that fills about 15 bits."""
    largest = max(float(np.abs(plane).max()) for plane in planes)
    whole = all(plane.dtype.kind != "f" or bool((plane == np.rint(plane)).all()) for plane in planes)
    if largest == 0 or (whole and largest <= LARGEST):
        return 1.0
    return 2.0 ** math.ceil(math.log2(largest / LARGEST))
