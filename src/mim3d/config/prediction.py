"""Settings of prediction."""

from typing import Literal

Blend = Literal["gaussian", "constant"]
"""What a window's voxels weigh where windows overlap: more in its middle, or the same everywhere."""
