"""Which voxels of a file with more than three axes are meant: one channel or time point, chosen by number."""

import math
from typing import Literal

from mim3d.errors import DataError

Index = tuple[slice | int, ...]
"""What cuts (X, Y, Z), or (X, Y, Z, C), out of an array with more axes."""
Choice = int | Literal["all"] | None
"""Number of a channel or time point, from 0; all of them; or none chosen."""


def channel_index(name: str, shape: tuple[int, ...], channel: Choice) -> Index:
    """What cuts one volume (X, Y, Z), or with "all" the channels (X, Y, Z, C), out of voxels of `shape`.

    Args:
        name: Of the file, for the message.
        shape: (X, Y, Z, ...); axes of length 1 beyond the third are dropped.
        channel: Which one; a file with one is taken as it is.

    Raises:
        DataError: If there are fewer than three axes, several channels and none is chosen, no channel of that
            number, or channels along several axes.
    """
    if len(shape) < 3:
        raise DataError(
            f"{name}: an image of {len(shape)} axes {shape}; a 3-D volume is needed: leave it out"
        )
    beyond = shape[3:]
    count = math.prod(beyond)
    whole: Index = (slice(None),) * 3
    if count == 1:
        return (*whole, *(0 for _ in beyond))
    if channel is None:
        raise DataError(
            f"{name}: {'x'.join(map(str, beyond))} channels or time points in {shape}; one is needed: choose "
            f"it with `mim3d prepare --channel N`, or in a CSV's column `channel`, N from 0 to {count - 1}, "
            "or take all as one case: `all`"
        )
    if sum(size != 1 for size in beyond) > 1:
        raise DataError(
            f"{name}: channels or time points along several axes, {shape}; one such axis is needed: save the "
            "volume you mean as a 3-D file"
        )
    if channel == "all":
        return (*whole, *(slice(None) if size != 1 else 0 for size in beyond))
    if not 0 <= channel < count:
        raise DataError(
            f"{name}: channel {channel} is asked, but there are {count}; --channel takes 0 to {count - 1}"
        )
    return (*whole, *(channel if size != 1 else 0 for size in beyond))


def channel_note(shape: tuple[int, ...], channel: Choice) -> str:
    """What the catalog says of a choice; nothing where there was none."""
    count = math.prod(shape[3:])
    return f"channel {channel} of {count}, counted from 0" if count > 1 and channel != "all" else ""
