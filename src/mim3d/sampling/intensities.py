"""Intensities as the network sees them, in [0, 1]: CT by the run's window, what has no HU by the case.

Shapes: C channels, X Y Z space.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig, Window
from mim3d.config_file import RunConfig
from mim3d.data.case_channels import channels_of_text
from mim3d.data.catalog import Case
from mim3d.data.intensity import apply_window, full_range, window_of
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple


def read_scaled(
    store: Store,
    case: Case,
    box: Box,
    shape: Triple,
    config: PretrainConfig | FinetuneConfig,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """A box of a case at the centres of `shape` equal cells, (C, X, Y, Z) in [0, 1]; in `out`, if given."""
    return windowed(store.read(case.case, box, shape, out), windows_of(case, config))


def windowed(intensities: NDArray[np.float32], windows: Sequence[Window]) -> NDArray[np.float32]:
    """Intensities (C, X, Y, Z) scaled to [0, 1] in place, channel by channel."""
    for channel, window in zip(intensities, windows, strict=True):
        apply_window(channel, window, out=channel)
    return intensities


def windows_of(case: Case, config: RunConfig) -> tuple[Window, ...]:
    """What becomes 0 and 1 of each channel of a case."""
    each = [(one.modality, one.padding, one.statistics) for one in channels_of_text(case.channels)]
    known = each or [(case.modality, case.padding, case.statistics)]
    return tuple(window_for(config, *channel) for channel in known)


def window_for(config: RunConfig, modality: str, padding: float, measured: dict[str, float]) -> Window:
    """What becomes 0 and 1 of a channel.

    Args:
        config: Of the run.
        modality: As DICOM names it.
        padding: Intensity outside the volume, HU for CT.
        measured: Of the channel, see `intensity.statistics`.
    """
    if isinstance(config, ClassifyConfig) and config.intensity == "min_max":
        return full_range(padding, measured)
    return window_of(modality, measured, config.window, config.scaling)
