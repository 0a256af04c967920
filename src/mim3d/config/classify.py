"""The settings of a fine-tuning run for classification."""

from dataclasses import dataclass, field
from typing import Literal

from mim3d.config.architecture import Architecture
from mim3d.config.checks import require, require_choices, require_seed
from mim3d.config.downstream import Augmentation, Selection, Transfer
from mim3d.config.nesting import grid_of
from mim3d.config.training import Optimisation, Runtime, Scaling, Window, check_schedule
from mim3d.geometry import Triple, Vector

Pooling = Literal["mean", "attention"]
"""How the tokens of a crop become one vector."""
ClassWeights = Literal["none", "balanced"]
"""How much the cases of each class count."""
Intensity = Literal["window", "min_max"]
"""What becomes 0 and 1 of a scan."""
Measure = Literal["auroc", "accuracy", "balanced_accuracy", "f1"]
"""By which the best step is chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyConfig:
    """A fine-tuning run for classification."""

    preset: str = "base"
    """Sizes and schedule to begin with: `tiny`, `small` or `base`; by default those of the weights' run."""
    seed: int = 0
    """Of new weights and augmentation, 0 or more."""
    target: str = ""
    """What is classified: a target of the store, e.g. `disease`."""
    classes: tuple[str, ...] = ()
    """Classes to tell apart, apart or joined by commas; none: all that occur outside the split `test`."""
    multi_label: bool = False
    """Whether a case may have any number of the classes, each a yes or no of its own."""
    crop: Triple = (384, 384, 32)
    """What the network sees: the whole volume, or `extent` of it, resized to these voxels."""
    patch: Triple = (16, 16, 16)
    """Voxels of one token, as in pre-training."""
    extent: Vector | None = None
    """Sides of the box about the body's centre that is looked at, mm; None: the whole volume."""
    intensity: Intensity = "window"
    """`window`, as in pre-training; or `min_max`: from -1024 HU (0 of what has no HU) to the highest
    intensity in the case's body."""
    window: Window = field(default_factory=Window)
    scaling: Scaling = "percentiles"
    """What becomes 0 and 1 where there are no HU (MR, PET): `percentiles` 0.5 and 99.5 of each case's body,
    or its mean less and plus three standard `deviations`. CT follows `window`."""
    architecture: Architecture = field(default_factory=Architecture)
    pooling: Pooling = "mean"
    """`mean` of the tokens, or `attention`: a learnt query weights them."""
    class_weights: ClassWeights = "none"
    """`balanced`: rare classes count as much as frequent ones, by their numbers of training cases."""
    chosen_by: Measure = "auroc"
    """Measure on the validation cases whose best step is kept."""
    transfer: Transfer = field(default_factory=Transfer)
    selection: Selection = field(default_factory=Selection)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(lr=1e-4, weight_decay=0.05, betas=(0.9, 0.999), max_norm=5.0)
    )
    validate_every: int = 100
    """Steps between validations."""
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_choices(self)
        grid_of(self.crop, self.patch)
        check_schedule(self.optimisation, self.runtime)
        require(self.validate_every >= 1, "validate_every", self.validate_every, "at least 1 step")
        sides = (1.0,) if self.extent is None else self.extent
        require(0 < min(sides) <= max(sides) < float("inf"), "extent", self.extent, "above 0 mm, and finite")
        distinct = len(set(self.classes)) == len(self.classes)
        require(distinct, "classes", ", ".join(self.classes), "different from one another")
