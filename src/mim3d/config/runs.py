"""The settings of a whole run."""

import math
from dataclasses import dataclass, field

from mim3d.config.architecture import Architecture
from mim3d.config.checks import require, require_choices, require_seed
from mim3d.config.downstream import (
    Augmentation,
    SegmentationLoss,
    SegmentationNetwork,
    Selection,
    Transfer,
)
from mim3d.config.nesting import Nesting, grid_of
from mim3d.config.objective import Alignment
from mim3d.config.structures import check_structures, listed, names, overlapping
from mim3d.config.training import Optimisation, Runtime, Scaling, Window, check_schedule
from mim3d.errors import ConfigError
from mim3d.geometry import Triple


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """A pre-training run."""

    preset: str = "base"
    """Sizes and schedule to begin with: `tiny` (two cores), `small` (between) or `base` (the paper's)."""
    seed: int = 0
    """Of weights, regions and masks, 0 or more."""
    window: Window = field(default_factory=Window)
    scaling: Scaling = "percentiles"
    """What becomes 0 and 1 where there are no HU (MR, PET): `percentiles` 0.5 and 99.5 of each case's body,
    or its mean less and plus three standard `deviations`. CT follows `window`."""
    nesting: Nesting = field(default_factory=Nesting)
    architecture: Architecture = field(default_factory=Architecture)
    alignment: Alignment = field(default_factory=Alignment)
    optimisation: Optimisation = field(default_factory=Optimisation)
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_choices(self)
        if self.optimisation.schedule == "sawtooth":
            raise ConfigError(
                "schedule sawtooth spares a pre-trained encoder at first, and in pre-training there is none; "
                "take cosine, poly or constant"
            )
        told, levels = self.architecture.embedded_levels, len(self.nesting.levels)
        if told not in (0, levels):
            raise ConfigError(f"embedded_levels must be 0 or the number of levels, {levels}, got {told}")
        _require_candidates(self.nesting, self.alignment)


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tuning run for segmentation."""

    preset: str = "base"
    """Sizes and schedule to begin with: `tiny`, `small` or `base`; by default those of the weights' run.
    `released-tiny` and so on: the recipe of the authors' release at that size."""
    seed: int = 0
    """Of new weights, crops and augmentation, 0 or more."""
    labels: str = ""
    """Label set of the store."""
    structures: tuple[str, ...] = ()
    """Names from the label set, apart or joined by commas, or unions of them, `whole=edema+core`: values 1,
    2, ... of the prediction. Of two that share parts, the one that holds the other comes first."""
    crop: Triple = (96, 96, 96)
    """What the network sees at once, voxels of the working grid."""
    patch: Triple = (16, 16, 16)
    """Voxels of one token, as in pre-training."""
    window: Window = field(default_factory=Window)
    scaling: Scaling = "percentiles"
    """What becomes 0 and 1 where there are no HU (MR, PET): `percentiles` 0.5 and 99.5 of each case's body,
    or its mean less and plus three standard `deviations`. CT follows `window`."""
    architecture: Architecture = field(default_factory=Architecture)
    feature_size: int = 48
    """Channels of the network at full resolution; nnU-Net's residual encoders begin with 32."""
    network: SegmentationNetwork = "mim"
    """`mim`: the hybrid encoder and a UNETR-like decoder; MONAI's `swin_unetr` or a `resenc_unet` (residual
    encoder, as nnU-Net's) to compare it with, under the same schedule."""
    resenc_blocks: tuple[int, ...] = (1, 3, 4, 6, 6, 6)
    """Residual blocks of the stages of `resenc_unet`, of `feature_size` channels and more further down."""
    loss: SegmentationLoss = "dice_ce"
    """Dice and cross-entropy, or another of MONAI's: `dice_focal`, `generalized_dice_ce`, `tversky_ce`."""
    transfer: Transfer = field(default_factory=Transfer)
    selection: Selection = field(default_factory=Selection)
    augmentation: Augmentation = field(default_factory=Augmentation)
    aimed: float = 2 / 3
    """Share of the training crops that are centred in a structure, each structure as often as the others."""
    crops_per_case: int = 1
    """Training crops that are taken of a case in a row."""
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(lr=3e-4, weight_decay=1e-5, betas=(0.9, 0.999), max_norm=5.0)
    )
    overlap: float = 0.5
    """Share of a window shared with its neighbour in validation and prediction, 0 <= overlap < 1."""
    validate_every: int = 100
    """Steps between validations."""
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_choices(self)
        grid_of(self.crop, self.patch)
        require(0 <= self.overlap < 1, "overlap", self.overlap, "0 or more, and below 1")
        require(self.feature_size >= 1, "feature_size", self.feature_size, "at least 1 channel")
        _require_network(self)
        require(0 <= self.aimed <= 1, "aimed", self.aimed, "0 to 1")
        require(self.crops_per_case >= 1, "crops_per_case", self.crops_per_case, "at least 1")
        require(self.validate_every >= 1, "validate_every", self.validate_every, "at least 1 step")
        check_structures(listed(self.structures))
        check_schedule(self.optimisation, self.runtime)

    @property
    def overlapping(self) -> bool:
        """Whether two structures share a part: then each is found for itself, else the likeliest wins."""
        return overlapping(self.structures)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the logits' channels: of the structures, and unless they overlap the background, first."""
        called = names(self.structures)
        return called if self.overlapping else ("background", *called)

    @property
    def num_outputs(self) -> int:
        """Channels of the logits."""
        return len(self.outputs)


def _require_network(config: FinetuneConfig) -> None:
    """Refuse sizes that a network cannot have, and ways of transfer that it does not know."""
    if config.network == "swin_unetr":
        size = config.feature_size
        require(size % 12 == 0, "feature_size of swin_unetr", size, "a multiple of 12")
        fits = all(n % 32 == 0 for n in config.crop) and math.prod(config.crop) > 32**3
        require(fits, "crop of swin_unetr", config.crop, "multiples of 32, and more than 32^3")
    blocks = config.resenc_blocks
    require(len(blocks) >= 2, "resenc_blocks", blocks, "of 2 stages at least")
    require(min(blocks) >= 1, "resenc_blocks", blocks, "at least 1 at every stage")
    if config.network == "resenc_unet":
        rate = config.transfer.drop_path
        require(rate == 0, "transfer.drop_path of resenc_unet", rate, "0: it leaves no block out")


def _require_candidates(nesting: Nesting, alignment: Alignment) -> None:
    """Refuse a choice among the children of one parent where there is one: nothing would be learnt."""
    among = (alignment.predicts, alignment.loss, alignment.negatives)
    if alignment.weight == 0 or among != ("parent", "info_nce", "parent"):
        return
    for number, level in enumerate(nesting.levels):
        if level.children == 1:
            raise ConfigError(
                f"level {number}: children is 1, but a parent that predicts by info_nce has to tell its "
                "children apart; take 2 or more, alignment.negatives `batch` or alignment.loss `cosine`"
            )
