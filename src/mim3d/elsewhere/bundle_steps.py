"""Steps of a MONAI bundle that MONAI has none for: scaling as the run's, and structures that overlap.

Shapes: C channels, S structures, X Y Z space.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mim3d.config import Scaling, Window
from mim3d.data.intensity import apply_window, quantise, require_contrast, statistics, window_of
from mim3d.inference.decide import decide


class ScaleAsLearnt:
    """Intensities (C, X, Y, Z) on the working grid to [0, 1], channel by channel, as the run scaled them."""

    def __init__(self, modalities: Sequence[str], window: Mapping[str, float], scaling: Scaling) -> None:
        self.modalities, self.scaling = tuple(modalities), scaling
        self.window = Window(low=window["low"], high=window["high"])

    def __call__(self, image: Tensor) -> Tensor:
        """Of MONAI's tensors, which know their place, the same kind comes back.

        Raises:
            DataError: If a channel has nothing to show.
        """
        scaled = []
        for channel, modality in zip(image.numpy(force=True), self.modalities, strict=True):
            kept = quantise(channel, modality)
            measured = statistics(kept, modality)
            require_contrast(modality, measured)
            window = window_of(modality, measured, self.window, self.scaling)
            scaled.append(apply_window(kept.array * np.float32(kept.slope), window))
        image.copy_(torch.from_numpy(np.stack(scaled)))
        return image


def decided(logits: Tensor, overlapping: bool) -> Tensor:
    """Label values (1, X, Y, Z) of logits (O, X, Y, Z)."""
    values = torch.from_numpy(decide(logits.detach().cpu().as_tensor(), overlapping).astype(np.float32))
    labels = logits[:1].clone()
    labels.copy_(values[None])
    return labels
