"""What a run is made of: frozen dataclasses, checked once, saved as JSON with the run.

Sizes are triples (X, Y, Z). Steps count optimiser steps; learning rates are for the whole batch.
"""

from mim3d.config.architecture import Architecture
from mim3d.config.nesting import PATCH_SIDES, Level, Nesting
from mim3d.config.objective import Alignment, Target
from mim3d.config.runs import FinetuneConfig, PretrainConfig
from mim3d.config.training import Optimisation, Runtime, Scaling, Window

__all__ = [
    "PATCH_SIDES",
    "Alignment",
    "Architecture",
    "FinetuneConfig",
    "Level",
    "Nesting",
    "Optimisation",
    "PretrainConfig",
    "Runtime",
    "Scaling",
    "Target",
    "Window",
]
