"""The segmenter as nnU-Net's plans name it: from nnU-Net's axes and intensities to ours, and back.

Shapes: B batch, C channels, S + 1 outputs, X Y Z space.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mim3d.config import FinetuneConfig
from mim3d.config.architecture import Architecture
from mim3d.config_file import build
from mim3d.downstream.segmenter import Segmenter
from mim3d.errors import ConfigError
from mim3d.geometry import Triple

DEVIATIONS = 3.0
"""Of a standardised channel: as many below its mean become 0, as many above it 1."""


class NnunetSegmenter(nn.Module):
    """Encoder and decoder, built from the `arch_kwargs` of nnU-Net's plans."""

    def __init__(  # noqa: PLR0913  as nnU-Net calls it
        self,
        *,
        input_channels: int,
        num_classes: int,
        architecture: Mapping[str, Any],
        patch: Sequence[int],
        crop: Sequence[int],
        feature_size: int,
        standardised: bool,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if deep_supervision:
            raise ConfigError(
                "deep supervision is not there; train with nnUNetTrainerMim3d, which leaves it off"
            )
        sizes = build(
            Architecture, dict(architecture) | {"channels": input_channels}, "arch_kwargs: architecture"
        )
        self.standardised = standardised
        self.segmenter = Segmenter(
            FinetuneConfig(
                structures=tuple(map(str, range(1, num_classes))),
                architecture=sizes,
                patch=_triple(patch),
                crop=_triple(crop),
                feature_size=feature_size,
            )
        )

    def forward(self, volume: Tensor) -> Tensor:
        """Logits (B, S + 1, Z, Y, X) of volumes (B, C, Z, Y, X), as nnU-Net normalised them."""
        if self.standardised:
            volume = ((volume + DEVIATIONS) / (2 * DEVIATIONS)).clamp(0, 1)
        logits: Tensor = self.segmenter(volume.permute(0, 1, 4, 3, 2).contiguous())  # (B, S + 1, X, Y, Z)
        return logits.permute(0, 1, 4, 3, 2)


def _triple(values: Sequence[int]) -> Triple:
    x, y, z = values
    return (x, y, z)
