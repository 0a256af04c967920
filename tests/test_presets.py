"""Presets: sizes and schedule of the paper and its release, and a small size that keeps all its parts."""

import math

import pytest

from mim3d.config import Architecture, FinetuneConfig, Nesting, PretrainConfig
from mim3d.errors import ConfigError
from mim3d.presets import FINETUNE, PRETRAIN, finetune_preset, pretrain_preset


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_a_preset_bears_its_name_and_fits_its_fine_tuning(name: str) -> None:
    pretrain, finetune = pretrain_preset(name), finetune_preset(name)
    assert isinstance(pretrain, PretrainConfig)
    assert isinstance(finetune, FinetuneConfig)
    assert pretrain.preset == finetune.preset == name
    assert (finetune.architecture, finetune.window) == (pretrain.architecture, pretrain.window)
    assert (finetune.crop, finetune.patch) == (pretrain.nesting.crop, pretrain.nesting.patch)


def test_base_is_the_papers_size_and_the_releases_schedule() -> None:
    base = pretrain_preset("base")
    assert (base.nesting, base.architecture) == (Nesting(), Architecture())
    assert (base.window.low, base.window.high) == (-1000, 1000)
    assert (base.optimisation.lr, base.optimisation.weight_decay) == (2e-4, 0.05)
    assert base.optimisation.betas == (0.9, 0.95)
    assert base.optimisation.warmup_steps / base.optimisation.steps == 40 / 800
    tuning = finetune_preset("base").optimisation
    assert (tuning.lr, tuning.weight_decay, tuning.max_norm) == (3e-4, 1e-5, 5.0)


def test_tiny_keeps_the_whole_architecture() -> None:
    tiny = pretrain_preset("tiny")
    assert tiny.nesting.extents()[:2] == ((128.0,) * 3, (64.0,) * 3)
    assert tiny.nesting.grid == (4, 4, 4)
    assert [math.prod(tiny.nesting.cells(level)) for level in range(3)] == [8, 64, 64]
    assert [tiny.nesting.num_crops(level) for level in range(3)] == [1, 4, 16]
    assert tiny.architecture.dims == (12, 24, 48, 96)
    assert (tiny.architecture.decoder_dim, tiny.architecture.decoder_depth) == (96, 2)


def test_an_unknown_preset_is_refused() -> None:
    assert list(PRETRAIN) == list(FINETUNE) == ["tiny", "base"]
    for choose in (pretrain_preset, finetune_preset):
        with pytest.raises(ConfigError, match=r"^unknown preset 'huge'; there are tiny, base$"):
            choose("huge")
