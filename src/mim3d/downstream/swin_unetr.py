"""MONAI's SwinUNETR, to compare the hybrid encoder with, and its published self-supervised encoder weights.

Shapes: B batch, C channels, O outputs, X Y Z space.
Source: Hatamizadeh et al. 2022, arXiv:2201.01266; Tang et al. 2022, arXiv:2111.14791 (the weights).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from monai.networks.nets.swin_unetr import SwinUNETR
from torch import Tensor, nn

from mim3d.downstream.backbone import LoadReport
from mim3d.errors import CheckpointError
from mim3d.geometry import divide_exactly
from mim3d.model.released_file import read_released

STEM = "patch_embed.proj.weight"
"""The only tensor of the encoder that depends on the number of channels: (C', C, 2, 2, 2)."""
DEEPEST = (32, 32, 32)
"""Voxels of one of the last stage's."""
UNSAID = "does not say which scans its weights learnt from; compare window and spacing"
"""Of the published file."""


class SwinUnetr(nn.Module):
    """MONAI's network as it is; crops must divide by 32 on every axis."""

    def __init__(self, channels: int, outputs: int, feature_size: int, drop_path: float) -> None:
        super().__init__()
        self.network = SwinUNETR(
            in_channels=channels,
            out_channels=outputs,
            feature_size=feature_size,
            dropout_path_rate=drop_path,
        )

    @property
    def encoder(self) -> nn.Module:
        """The Swin transformer."""
        return cast(nn.Module, self.network.swinViT)

    @property
    def head(self) -> nn.Module:
        """The last layer."""
        return cast(nn.Module, self.network.out.conv.conv)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) intensities in [0, 1] to logits (B, O, X, Y, Z)."""
        logits: Tensor = self.network(volume)
        return logits

    def features(self, volume: Tensor) -> list[Tensor]:
        """Five maps of the Swin transformer (B, C_i, X / s, Y / s, Z / s), at strides 2, 4, 8, 16 and 32.

        Raises:
            GeometryError: If a side of the volume is no multiple of 32 voxels.
        """
        x, y, z = volume.shape[2:]
        divide_exactly((x, y, z), DEEPEST, "crop of swin_unetr")
        maps: list[Tensor] = self.network.swinViT(volume, self.network.normalize)
        return maps

    def layers(self) -> list[list[nn.Module]]:
        """Modules of the encoder, stage by stage; the patch embedding belongs to the first."""
        swin = self.network.swinViT
        return [[swin.patch_embed, swin.layers1], [swin.layers2], [swin.layers3], [swin.layers4]]


def sizes_in(file: Path) -> tuple[int, int]:
    """Channels of the scans, and of the first stage (the feature size), that a file of weights is for.

    Raises:
        CheckpointError: If the file cannot be read, or is of another layout.
    """
    stored = _tensors_of(file)
    if STEM not in stored or stored[STEM].dim() != 5:
        raise CheckpointError(
            f"{file}: holds no {STEM}, so it is not in the layout of MONAI's published model_swinvit.pt; "
            "of the authors' weights of MiM, `mim3d import-weights` makes a run"
        )
    size, channels = stored[STEM].shape[:2]
    return channels, size


def load_swin(network: SwinUnetr, file: Path, *, adapt: bool) -> LoadReport:
    """Fill the encoder from a file in the layout of MONAI's published weights (`model_swinvit.pt`).

    Args:
        network: To fill.
        file: Checkpoint with names such as `module.layers1.0.blocks.0.mlp.fc1.weight`, or the same after
            `swinViT.`; nothing in it is executed.
        adapt: Let the first layer learn from another number of channels: kernels are summed over theirs, and
            divided among ours.

    Raises:
        CheckpointError: If the file cannot be read or is of SwinUNETR-v2, or any of the encoder's tensors is
            missing or of another shape.
    """
    stored = _tensors_of(file)
    own = cast("dict[str, Tensor]", network.encoder.state_dict())
    if adapt and STEM in stored:
        total = stored[STEM].sum(dim=1, keepdim=True)  # (C', 1, 2, 2, 2)
        channels = own[STEM].shape[1]
        stored[STEM] = (total / channels).expand(-1, channels, -1, -1, -1)
    missing = tuple(name for name in own if name not in stored or stored[name].shape != own[name].shape)
    report = LoadReport(
        loaded=tuple(name for name in own if name not in missing),
        missing=missing,
        unexpected=tuple(name for name in stored if name not in own),
    )
    _require_all(file, report, stored, own)
    if any(re.match(r"layers\dc\.", name) for name in report.unexpected):
        raise CheckpointError(
            f"{file}: weights of SwinUNETR-v2, whose stages begin with a convolution more; take those of the "
            "first version, as MONAI's published model_swinvit.pt"
        )
    network.encoder.load_state_dict({name: stored[name] for name in own})
    return report


def _tensors_of(file: Path) -> dict[str, Tensor]:
    """Published tensors, by their names in MONAI's network."""
    return {_our_name(name): tensor for name, tensor in read_released(file).tensors.items()}


def _our_name(name: str) -> str:
    """The name of a published tensor in MONAI's network."""
    name = name.removeprefix("swinViT.")
    return re.sub(r"\.mlp\.fc(\d)\.", r".mlp.linear\1.", name)


def _require_all(
    file: Path, report: LoadReport, stored: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> None:
    """Refuse weights that are not all of the encoder's."""
    if not report.missing:
        return
    first = report.missing[0]
    theirs = tuple(stored[first].shape) if first in stored else "none"
    remedy = "take the feature_size of the weights (48 for those of MONAI)"
    if report.missing == (STEM,) and first in stored:
        remedy = f"set architecture.channels to {stored[STEM].shape[1]}, or adapt them: --transfer.adapt"
    raise CheckpointError(
        f"{file}: {report}; of {first} the file has {theirs}, {tuple(own[first].shape)} is needed; {remedy}"
    )
