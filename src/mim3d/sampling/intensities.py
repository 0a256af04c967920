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
    store: Store, case: Case, box: Box, shape: Triple, config: PretrainConfig | FinetuneConfig
) -> NDArray[np.float32]:
    """A box of a case at the centres of `shape` equal cells, (C, X, Y, Z) in [0, 1]."""
    seen = store.read(case.case, box, shape)
    windows = windows_of(case, config)
    if len(windows) == 1:
        return apply_window(seen, windows[0])
    return np.stack([apply_window(one, window) for one, window in zip(seen, windows, strict=True)])


def windows_of(case: Case, config: PretrainConfig | FinetuneConfig) -> tuple[Window, ...]:
    """What becomes 0 and 1 of each channel of a case."""
    each = [(one.modality, one.statistics) for one in channels_of_text(case.channels)]
    return tuple(
        window_of(modality, measured, config.window, config.scaling)
        for modality, measured in each or [(case.modality, case.statistics)]
    )
