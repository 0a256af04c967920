"""Planes to what SVG draws: grey images as data URIs, areas and outlines as paths.

Shapes: R rows and K columns of a plane, origin top left. Paths are in pixels of their plane.
"""

import base64
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png_uri(grey: NDArray[np.uint8]) -> str:
    """A grey image (R, K) as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def to_grey(plane: NDArray[Any], low: float, high: float, gamma: float = 1.0) -> NDArray[np.uint8]:
    """Intensities (R, K) as 8-bit grey: `low` becomes black and `high` white; `gamma` > 1 darkens between."""
    scaled = (np.nan_to_num(plane.astype(np.float64)) - low) / max(high - low, 1e-6)
    return (np.clip(scaled, 0, 1) ** gamma * 255).round().astype(np.uint8)


def runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Row, first column and length of each unbroken run of True in (R, K)."""
    steps = np.diff(np.pad(flags.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    for (row, start), (_, stop) in zip(np.argwhere(steps == 1), np.argwhere(steps == -1), strict=True):
        yield int(row), int(start), int(stop - start)


def area_path(flags: NDArray[np.bool_], height: int = 1, width: int = 1) -> str:
    """SVG path that covers the True places of (R, K), each `height` by `width` pixels."""
    return "".join(
        f"M{column * width} {row * height}h{length * width}v{height}h{-length * width}z"
        for row, column, length in runs(flags)
    )


def contour_path(flags: NDArray[np.bool_]) -> str:
    """SVG path along the pixel edges between True and False of (R, K); outside is False."""
    padded = np.pad(flags, 1)
    across = (padded[1:] != padded[:-1])[:, 1:-1]  # (R + 1, K)
    down = (padded[:, 1:] != padded[:, :-1])[1:-1].T  # (K + 1, R)
    horizontal = (f"M{column} {row}h{length}" for row, column, length in runs(across))
    return "".join((*horizontal, *(f"M{column} {row}v{length}" for column, row, length in runs(down))))


def bar_length(width_mm: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... mm that is at most 0.3 of `width_mm`."""
    power = 10.0 ** math.floor(math.log10(0.3 * width_mm))
    return max(power * step for step in (1, 2, 5) if power * step <= 0.3 * width_mm)


def shrink(image: NDArray[Any], step: int) -> NDArray[Any]:
    """The mean of each block of `step` x `step` pixels of (R, K); a rest at the far edges is dropped."""
    rows, columns = (side // step for side in image.shape)
    blocks = image[: rows * step, : columns * step].reshape(rows, step, columns, step)
    averaged: NDArray[Any] = blocks.mean(axis=(1, 3))
    return averaged  # (R / step, K / step)
