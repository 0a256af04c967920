"""Intensities as the network sees them, in [0, 1]: CT by the run's window, what has no HU by the case.

Shapes: C channels, X Y Z space.
"""

import numpy as np
from numpy.typing import NDArray

from mim3d.config import FinetuneConfig, PretrainConfig, Window
from mim3d.data.case_channels import channels_of_text
from mim3d.data.catalog import Case
from mim3d.data.intensity import apply_window, window_of
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
    seen = store.read(case.case, box, shape, out)
    for channel, window in zip(seen, windows_of(case, config), strict=True):
        apply_window(channel, window, out=channel)
    return seen


def windows_of(case: Case, config: PretrainConfig | FinetuneConfig) -> tuple[Window, ...]:
    """What becomes 0 and 1 of each channel of a case."""
    each = [(one.modality, one.statistics) for one in channels_of_text(case.channels)]
    return tuple(
        window_of(modality, measured, config.window, config.scaling)
        for modality, measured in each or [(case.modality, case.statistics)]
    )
