"""The settings of a whole run."""

from dataclasses import dataclass, field

from mim3d.config.architecture import Architecture
from mim3d.config.nesting import Nesting, grid_of
from mim3d.config.objective import Alignment
from mim3d.config.training import Optimisation, Runtime, Window
from mim3d.errors import ConfigError
from mim3d.geometry import Triple


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """A pre-training run."""

    preset: str = "base"
    """Sizes and schedule to begin with: `tiny` (two cores) or `base` (the paper's)."""
    seed: int = 0
    """Of weights, regions and masks, 0 or more."""
    window: Window = field(default_factory=Window)
    nesting: Nesting = field(default_factory=Nesting)
    architecture: Architecture = field(default_factory=Architecture)
    alignment: Alignment = field(default_factory=Alignment)
    optimisation: Optimisation = field(default_factory=Optimisation)
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        _require_seed(self.seed)
        told, levels = self.architecture.embedded_levels, len(self.nesting.levels)
        if told not in (0, levels):
            raise ConfigError(f"embedded_levels must be 0 or the number of levels, {levels}, got {told}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tuning run for segmentation."""

    preset: str = "base"
    """Sizes and schedule to begin with: `tiny` or `base`; where none is named, those of the weights' run."""
    seed: int = 0
    """Of new weights, crops and augmentation, 0 or more."""
    labels: str = ""
    """Label set of the store."""
    structures: tuple[str, ...] = ()
    """Names from the label set, apart or joined by commas: ids 1, 2, ... of the prediction."""
    crop: Triple = (96, 96, 96)
    """What the network sees at once, voxels of the working grid."""
    patch: Triple = (16, 16, 16)
    """Voxels of one token, as in pre-training."""
    window: Window = field(default_factory=Window)
    architecture: Architecture = field(default_factory=Architecture)
    feature_size: int = 48
    """Channels of the segmentation decoder at full resolution."""
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(lr=3e-4, weight_decay=1e-5, betas=(0.9, 0.999), max_norm=5.0)
    )
    overlap: float = 0.5
    """Share of a window shared with its neighbour in validation and prediction, 0 <= overlap < 1."""
    validate_every: int = 100
    """Steps between validations."""
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        _require_seed(self.seed)
        grid_of(self.crop, self.patch)
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must lie in [0, 1), got {self.overlap}")
        if self.feature_size < 1 or self.validate_every < 1:
            raise ConfigError(
                f"feature_size (channels) and validate_every (steps) must be at least 1, "
                f"got {self.feature_size} and {self.validate_every}"
            )


def _require_seed(seed: int) -> None:
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
