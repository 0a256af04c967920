"""The channels of one case: files of their own, or the fourth axis of one file, all on one grid.

Arrays of one channel are (X, Y, Z), of several (C, X, Y, Z).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.catalog import Case
from mim3d.data.grids import joined
from mim3d.data.intensity import Quantised, body_of, quantise, require_contrast, statistics
from mim3d.data.label_check import require_same_grid
from mim3d.data.sources import Source
from mim3d.data.volume import Volume, read_channels, read_parts, read_volume
from mim3d.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What the catalog says of one channel."""

    name: str
    """As its data set names it; empty where it does not."""
    modality: str
    slope: float
    """Intensity of one stored step, HU for CT."""
    padding: float
    """Intensity outside the volume, HU for CT."""
    statistics: dict[str, float]
    """Of its own body, see `intensity.statistics`."""


def read_source(source: Source) -> tuple[Volume, ...]:
    """The channels of a case as stored, at least one.

    Raises:
        DataError: If one cannot be read, or there are not as many as the data set states.
    """
    files, said = (source.image, *source.more), source.modalities or ("CT",)
    if source.channel == "all" and source.parts is None:
        found = read_channels(source.image, said[0])
    else:
        each = said if len(said) == len(files) else said[:1] * len(files)
        found = tuple(
            _read_channel(source, file, modality) for file, modality in zip(files, each, strict=True)
        )
    stated = max(len(said), len(source.channels))
    if stated > 1 and len(found) != stated:
        raise DataError(
            f"{source.image.name}: {len(found)} channels, but {stated} are stated for it; both must agree: "
            "correct the description, or leave the scan out"
        )
    return found


def _read_channel(source: Source, file: Path, modality: str) -> Volume:
    if file == source.image and source.parts is not None:
        return read_parts(file, source.parts)
    return read_volume(file, None if source.channel == "all" else source.channel, modality)


def read_scan(scan: Path, modalities: tuple[str, ...]) -> tuple[Volume, ...]:
    """The channels of a scan that stands alone: of one file, or of several joined by `;`; see `read_as`."""
    return read_as(source_of(scan), modalities)


def source_of(scan: Path) -> Source:
    """A scan that stands alone: of one file, or of several joined by `;`, one a channel."""
    several = ";" in str(scan) and not scan.exists()
    image, *more = [Path(name.strip()) for name in str(scan).split(";")] if several else [scan]
    return Source(image=image, key="", more=tuple(more))


def read_as(source: Source, modalities: tuple[str, ...]) -> tuple[Volume, ...]:
    """The channels of a scan of which nothing is known but what it must be.

    Args:
        source: One with a single file has all channels in it, where several are needed.
        modalities: Of its channels, where files and description do not say; as many are needed.

    Raises:
        DataError: If one cannot be read, or there are not as many.
    """
    channel = "all" if len(modalities) > 1 and not source.more else source.channel
    usual = modalities if len(source.more) + 1 == len(modalities) else modalities[:1]
    found = read_source(replace(source, channel=channel, modalities=source.modalities or usual))
    if len(found) != len(modalities):
        raise DataError(
            f"{source.image.name}: {len(found)} of the {len(modalities)} channels that the run learnt from; "
            "all are needed: join the files of all channels by `;`, in the order of the training data"
        )
    return found


def quantised(volumes: Sequence[Volume]) -> list[Quantised]:
    """The channels, all canonical, in 16 bits, each by its modality.

    Raises:
        DataError: If they do not lie on one grid, or one has nothing to show.
    """
    kept = []
    for number, volume in enumerate(volumes):
        try:
            if number:
                require_same_grid(volumes[0], volume, "channel")
            kept.append(quantise(volume.array, volume.modality))
        except DataError as error:
            if len(volumes) == 1:
                raise
            raise DataError(f"channel {number}: {error}") from error
    return kept


def stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One array (X, Y, Z) as it is, several as (C, X, Y, Z)."""
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)


def measured(
    kept: Sequence[Quantised], volumes: Sequence[Volume], names: Sequence[str]
) -> tuple[list[Channel], NDArray[np.bool_]]:
    """What the catalog says of each channel, and the voxels (X, Y, Z) that are body in any of them."""
    channels, anywhere = [], np.zeros((), np.bool_)
    for number, (one, volume) in enumerate(zip(kept, volumes, strict=True)):
        body = body_of(one, volume.modality)
        anywhere = body | anywhere if number else body
        found = statistics(one, volume.modality)
        require_contrast(volume.modality, found)
        channels.append(
            Channel(
                name=names[number] if number < len(names) else "",
                modality=volume.modality,
                slope=one.slope,
                padding=one.padding,
                statistics=found,
            )
        )
    return channels, anywhere


def notes_of(volumes: Sequence[Volume]) -> str:
    """What had to be decided to read the channels, in one line; empty if nothing."""
    return joined(*(volume.note for volume in volumes))


def modality_of(channels: Sequence[Channel]) -> str:
    """Modality of a case: the one of all its channels, e.g. `MR`, or `CT+PT` where they differ."""
    return "+".join(dict.fromkeys(channel.modality for channel in channels))


def modalities_of(case: Case) -> tuple[str, ...]:
    """Modality of each channel of a case, in their order."""
    return tuple(one.modality for one in channels_of_text(case.channels)) or (case.modality,)


def slopes_of(case: Case) -> list[tuple[float, float]]:
    """Slope and padding of each channel of a case, see `Channel`."""
    channels = channels_of_text(case.channels)
    return [(one.slope, one.padding) for one in channels] or [(case.slope, case.padding)]


def channels_as_text(channels: Sequence[Channel]) -> str:
    """Several channels as JSON, one as nothing: a case says all of its only channel itself."""
    return json.dumps([asdict(channel) for channel in channels]) if len(channels) > 1 else ""


@lru_cache(maxsize=4096)
def channels_of_text(text: str) -> tuple[Channel, ...]:
    """The channels that `channels_as_text` wrote; none for a case of one."""
    return tuple(Channel(**one) for one in json.loads(text)) if text else ()
