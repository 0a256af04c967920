"""Settings that fine-tuning tasks share: what becomes of the weights, which cases teach, what varies."""

from dataclasses import dataclass
from typing import Literal

from mim3d.config.checks import require

NUM_STAGES = 4
"""Of the encoder: three of convolutions, one transformer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """What becomes of pre-trained weights."""

    adapt: bool = False
    """Take weights that learnt from another unit, modality or number of channels, which is an error
    otherwise. For another number, the first layer's kernels are summed over their channels and divided among
    ours."""
    frozen_stages: int = 0
    """Stages of the encoder, from the input on, whose weights stay as they are; 4: the whole encoder."""
    layer_decay: float = 1.0
    """Learning rate of each layer of the encoder over that of the layer above it, 0 < layer_decay <= 1."""
    drop_path: float = 0.0
    """Chance that the encoder's last block is left out for a crop; less in proportion for those below it."""

    def __post_init__(self) -> None:
        held = 0 <= self.frozen_stages <= NUM_STAGES
        require(held, "transfer.frozen_stages", self.frozen_stages, f"0 to {NUM_STAGES}")
        require(0 < self.layer_decay <= 1, "transfer.layer_decay", self.layer_decay, "above 0, and at most 1")
        require(0 <= self.drop_path < 1, "transfer.drop_path", self.drop_path, "0 or more, and below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which labelled cases of a store a run trains on and chooses its best step by; never those of `test`."""

    folds: int = 0
    """Parts that the cases of `train` and `val` are dealt into, by patient; 0: the store's own splits."""
    fold: int = 0
    """The part that chooses; the others train. From 0."""
    cases: int = 0
    """Cases to train on, drawn from those of the split or of the other folds; 0: all."""
    seed: int = 0
    """Of folds and drawn cases; not the run's own, so that several runs share them."""

    def __post_init__(self) -> None:
        require(self.folds == 0 or self.folds >= 2, "selection.folds", self.folds, "0, or 2 and more")
        held = 0 <= self.fold < max(self.folds, 1)
        require(held, "selection.fold", self.fold, f"0 to {max(self.folds, 1) - 1}, for {self.folds} folds")
        require(self.cases >= 0, "selection.cases", self.cases, "0 or more")
        require(self.seed >= 0, "selection.seed", self.seed, "0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How training crops are varied; of each change the chance, 0 to 1."""

    flip: float = 0.1
    """To mirror, for each axis that may be mirrored."""
    rotate: float = 0.0
    """To turn by one, two or three right angles, in each plane whose sides are alike, in voxels and mm."""
    affine: float = 0.0
    """To turn by up to `max_angle` and to scale by up to `max_zoom`."""
    max_angle: float = 15.0
    """Degrees, about each axis."""
    max_zoom: float = 0.2
    """Structures are scaled by 1 less or plus up to this."""
    contrast: float = 1.0
    """To multiply intensities, about the middle of the window."""
    max_contrast: float = 0.1
    """By 1 less or plus up to this."""
    shift: float = 1.0
    """To add to or subtract from intensities."""
    max_shift: float = 0.02
    """Up to this, on the scale of [0, 1]: 0.02 is 40 HU of the default window."""
    noise: float = 0.5
    """To add noise."""
    max_noise: float = 0.02
    """Of a standard deviation of up to this, on the scale of [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("flip", "rotate", "affine", "contrast", "shift", "noise"):
            chance = getattr(self, name)
            require(0 <= chance <= 1, f"augmentation.{name}", chance, "0 to 1")
        require(0 <= self.max_angle <= 180, "augmentation.max_angle", self.max_angle, "0 to 180 degrees")
        for name in ("max_zoom", "max_contrast"):
            most = getattr(self, name)
            require(0 <= most < 1, f"augmentation.{name}", most, "0 or more, and below 1")
        for name in ("max_shift", "max_noise"):
            most = getattr(self, name)
            require(0 <= most <= 1, f"augmentation.{name}", most, "0 to 1")


SegmentationLoss = Literal["dice_ce", "dice_focal", "generalized_dice_ce", "tversky_ce"]
"""MONAI's, by name; with overlapping structures each term is taken structure by structure."""

SegmentationNetwork = Literal["mim", "swin_unetr", "resenc_unet"]
"""The hybrid encoder with a UNETR-like decoder, or what it is compared with."""
