"""What is learnt: the targets of reconstruction, and the alignment of adjacent levels."""

import math
from dataclasses import dataclass
from typing import Literal

from mim3d.config.checks import require, require_choices


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What the decoder is to predict of a hidden patch, and which hidden patches count."""

    kind: Literal["normalised", "raw"] = "normalised"
    """`normalised`: each patch less its own mean, over its own standard deviation; `raw`: intensities."""
    variance_floor: float = 1e-6
    """Added to the variance of `normalised` patches, on the scale of [0, 1]: 1e-6 is (2 HU)^2, 1e-4 (20 HU)^2
    of the default window."""
    low_pass: int = 1
    """Voxels are averaged over cubes of this side first; must divide the patch. 1 leaves them as they are."""
    least_variance: float = 0.0
    """Patches that vary less than this, on the scale of [0, 1], are left out of the loss."""
    padded: bool = True
    """Whether patches that reach out of the scan, into padding, count."""

    def __post_init__(self) -> None:
        require_choices(self)
        floor, least = self.variance_floor, self.least_variance
        require(0 < floor < math.inf, "variance_floor", floor, "above 0, and finite")
        require(0 <= least < math.inf, "least_variance", least, "0 or more, and finite")
        require(self.low_pass >= 1, "low_pass", self.low_pass, "at least 1 voxel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """How a child is aligned with the place it came from in its parent."""

    weight: float = 0.1
    """Weight in the loss of each pair of adjacent levels; 0 switches alignment off."""
    predicts: Literal["child", "parent"] = "child"
    """`child`: its mean latent predicts the features of its place in the parent; `parent`: its decoder
    features of the hidden place predict those of the child."""
    features: Literal["decoder", "encoder"] = "decoder"
    """What is predicted: features of the other side's decoder, of its encoder where nothing is hidden."""
    momentum: float = 0.0
    """The predicted features come from an average of past weights, with this momentum per step, e.g. 0.996;
    0: from the present weights, without gradient."""
    loss: Literal["info_nce", "cosine"] = "info_nce"
    """`info_nce`: find the true one among the candidates; `cosine`: 2 - 2 cos."""
    temperature: float = 0.2
    """Of `info_nce`."""
    negatives: Literal["parent", "batch"] = "parent"
    """Candidates of `info_nce`: those of the same parent, or of all parents on the device."""

    def __post_init__(self) -> None:
        require_choices(self)
        require(0 <= self.weight < math.inf, "weight of alignment", self.weight, "0 or more, and finite")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "0 or more, and below 1")
        require(0 < self.temperature < math.inf, "temperature", self.temperature, "above 0, and finite")
