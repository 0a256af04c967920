"""What a run is made of: frozen dataclasses, checked once, saved as JSON with the run.

Sizes are triples (X, Y, Z). Steps count optimiser steps; learning rates are for the whole batch.
"""

from mim3d.config.architecture import Architecture
from mim3d.config.classify import ClassifyConfig
from mim3d.config.downstream import (
    Augmentation,
    SegmentationLoss,
    SegmentationNetwork,
    Selection,
    Transfer,
)
from mim3d.config.nesting import PATCH_SIDES, Level, Nesting
from mim3d.config.objective import Alignment, Target
from mim3d.config.runs import FinetuneConfig, PretrainConfig
from mim3d.config.training import Optimisation, Runtime, Scaling, Schedule, Window

__all__ = [
    "PATCH_SIDES",
    "Alignment",
    "Architecture",
    "Augmentation",
    "ClassifyConfig",
    "FinetuneConfig",
    "Level",
    "Nesting",
    "Optimisation",
    "PretrainConfig",
    "Runtime",
    "Scaling",
    "Schedule",
    "SegmentationLoss",
    "SegmentationNetwork",
    "Selection",
    "Target",
    "Transfer",
    "Window",
]
