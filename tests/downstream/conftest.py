"""Run folders of tiny random networks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mim3d.config import Architecture, ClassifyConfig, FinetuneConfig, Level, Nesting, PretrainConfig
from mim3d.config_file import RunConfig, write_config
from mim3d.downstream.classifier import Classifier
from mim3d.downstream.segmenter import build_segmenter
from mim3d.model.mim import Mim
from mim3d.train.checkpoint import save_weights

ARCHITECTURE = Architecture(
    dims=(6, 6, 6, 12), depths=(1, 1, 1, 1), num_heads=2, decoder_dim=12, decoder_depth=1, decoder_heads=2
)
PREPROCESSING: dict[str, Any] = {
    "orientation": "RAS",
    "unit": "HU",
    "modality": "CT",
    "channels": 1,
    "window": {"low": -1000.0, "high": 1000.0},
    "spacing": [1.5, 1.5, 1.5],
}

MakeRun = Callable[[RunConfig], Path]


@pytest.fixture
def pretrained() -> PretrainConfig:
    nesting = Nesting(
        extent=(32, 32, 16),
        crop=(32, 32, 16),
        patch=(16, 16, 8),
        levels=(Level(masked_ratio=0.5, children=0),),
    )
    return PretrainConfig(nesting=nesting, architecture=ARCHITECTURE)


@pytest.fixture
def finetuned() -> FinetuneConfig:
    return FinetuneConfig(
        labels="organs",
        structures=("liver", "spleen"),
        crop=(32, 32, 16),
        patch=(16, 16, 8),
        architecture=ARCHITECTURE,
        feature_size=4,
    )


@pytest.fixture
def classifying() -> ClassifyConfig:
    return ClassifyConfig(
        target="site",
        classes=("liver", "lung", "none"),
        crop=(32, 32, 16),
        patch=(16, 16, 8),
        architecture=ARCHITECTURE,
    )


@pytest.fixture
def preprocessing() -> dict[str, Any]:
    """What the runs say of the scans they learnt from."""
    return PREPROCESSING


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a finished run of random weights."""

    def make(config: RunConfig) -> Path:
        torch.manual_seed(1)
        run = tmp_path / "run"
        run.mkdir()
        if isinstance(config, PretrainConfig):
            save_weights(
                Mim(config.nesting, config.architecture, config.alignment), run / "weights.safetensors"
            )
        elif isinstance(config, ClassifyConfig):
            save_weights(Classifier(config), run / "weights.safetensors")
        else:
            save_weights(build_segmenter(config), run / "weights.safetensors")
        write_config(config, run / "config.json")
        (run / "preprocessing.json").write_text(json.dumps(PREPROCESSING))
        return run

    return make
