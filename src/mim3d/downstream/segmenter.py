"""Networks that segment: a volume in, logits per structure out.

The hybrid encoder with a UNETR-like decoder, or one of those that it is compared with.
Shapes: B batch, C channels, O outputs, X Y Z space.
Source: Hatamizadeh et al. 2022, arXiv:2103.10504, sec. 3, with the skips of a hierarchical encoder
(Hatamizadeh et al. 2022, arXiv:2201.01266, sec. 3.2).
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.config import FinetuneConfig
from mim3d.config_file import read_run_config
from mim3d.downstream.swin_unetr import SwinUnetr
from mim3d.errors import CheckpointError, ConfigError
from mim3d.model.encoder import Encoder
from mim3d.model.resenc import ResencUnet
from mim3d.model.residual import ResidualBlock, UpBlock
from mim3d.train.checkpoint import finished_weights, load_weights

BACKGROUND_LOGIT = 4.0
"""Of the background before training, the structures' being 0."""


class Segmenter(nn.Module):
    """Skips at strides 1, 2, 4 and 8, and a bottleneck at 16 voxels, joined upwards by residual blocks.

    Raises:
        ConfigError: If a crop is a single token, whose features cannot be normalised.
    """

    def __init__(self, config: FinetuneConfig) -> None:
        super().__init__()
        if config.crop == config.patch:
            raise ConfigError(
                f"segmentation needs crops of more than one patch, got crop {config.crop} and patch "
                f"{config.patch} voxels; double the crop along an axis"
            )
        architecture, size = config.architecture, config.feature_size
        widths = [size * 2**i for i in range(5)]
        inputs = (architecture.channels, *architecture.dims)
        self.encoder = Encoder(config.patch, architecture, config.transfer.drop_path)
        self.skips = nn.ModuleList(
            ResidualBlock(dim, width) for dim, width in zip(inputs, widths, strict=True)
        )
        self.ups = nn.ModuleList(
            UpBlock(below, width, stride)
            for below, width, stride in zip(widths[1:], widths[:-1], self.encoder.strides, strict=True)
        )
        self.head = nn.Linear(size, config.num_outputs)

    def layers(self) -> list[list[nn.Module]]:
        """Modules of the encoder: see there."""
        return self.encoder.layers()

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) intensities in [0, 1] to logits (B, O, X, Y, Z), see `config.num_outputs`."""
        shown = [features.movedim(1, -1) for features in self.encoder.features(volume)]  # (B, x, y, z, C)
        maps = [volume.movedim(1, -1), *(F.layer_norm(each, each.shape[-1:]) for each in shown)]
        skips = [skip(features) for skip, features in zip(self.skips, maps, strict=True)]
        joined = skips[-1]
        for up, skip in zip(reversed(self.ups), reversed(skips[:-1]), strict=True):
            joined = up(joined, skip)
        logits: Tensor = self.head(joined).movedim(-1, 1)  # (B, O, X, Y, Z)
        return logits


Network = Segmenter | SwinUnetr | ResencUnet
"""What `config.network` names."""


def build_segmenter(config: FinetuneConfig) -> Network:
    """The network of a configuration with new weights, which expects background nearly everywhere.

    Raises:
        ConfigError: If a crop is a single token.
    """
    network = _made(config)
    assert isinstance(network.head.bias, Tensor)
    expect_background(network.head.bias, overlapping=config.overlapping)
    return network


def _made(config: FinetuneConfig) -> Network:
    channels, outputs, size = config.architecture.channels, config.num_outputs, config.feature_size
    if config.network == "swin_unetr":
        return SwinUnetr(channels, outputs, size, config.transfer.drop_path)
    if config.network == "resenc_unet":
        return ResencUnet(channels, outputs, size, config.resenc_blocks, config.crop)
    return Segmenter(config)


def load_segmenter(run: Path, device: str = "cpu") -> tuple[Network, FinetuneConfig]:
    """The network of a fine-tuned run with its best weights, in evaluation mode, and its configuration.

    Raises:
        CheckpointError: If the run is none of segmentation, is unfinished, or its weights are damaged.
        ConfigError: If its configuration cannot be read.
    """
    config = read_run_config(run)
    if not isinstance(config, FinetuneConfig):
        raise CheckpointError(f"{run}: no run of segmentation; make one with `mim3d finetune segmentation`")
    segmenter = build_segmenter(config)
    load_weights(segmenter, finished_weights(run))
    return segmenter.to(torch.device(device)).eval(), config


def expect_background(bias: Tensor, *, overlapping: bool) -> None:
    """Let logits begin where nearly all voxels are background, as they are, not spread over the structures.

    Source: Lin et al. 2017, arXiv:1708.02002, sec. 3.3, for a sigmoid; here for a softmax as well.

    Args:
        bias: Of the last layer, (O,).
        overlapping: Whether each output is a yes or no of its own, or the first is the background's.
    """
    nn.init.constant_(bias, -BACKGROUND_LOGIT if overlapping else 0.0)
    if not overlapping:
        nn.init.constant_(bias[:1], BACKGROUND_LOGIT)
