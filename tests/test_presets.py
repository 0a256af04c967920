"""Presets: sizes and schedule of the paper and its release, and a small size that keeps all its parts."""

import inspect
import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from mim3d.config import Architecture, FinetuneConfig, Nesting, PretrainConfig, SegmentationNetwork
from mim3d.downstream.classifier import Classifier
from mim3d.downstream.segmenter import Segmenter, build_segmenter
from mim3d.errors import ConfigError
from mim3d.model.cost import flops_of_region
from mim3d.model.mim import Mim
from mim3d.presets import CLASSIFY, FINETUNE, PRETRAIN, finetune_preset, pretrain_preset

NAMES = ["tiny", "small", "base"]


@pytest.mark.parametrize("name", NAMES)
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


def test_small_is_base_with_half_the_channels() -> None:
    small, base = pretrain_preset("small"), pretrain_preset("base")
    assert small.nesting == base.nesting
    for ours, theirs in zip(small.architecture.dims, base.architecture.dims, strict=True):
        assert 2 * ours == theirs
    assert 2 * small.architecture.decoder_dim == base.architecture.decoder_dim
    assert small.architecture.dims[3] / small.architecture.num_heads == 384 / 12
    assert small.optimisation.warmup_steps / small.optimisation.steps == 40 / 800


def millions(module: nn.Module) -> str:
    """Parameters as docstrings state them."""
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.2f}"


def stated(preset: object) -> tuple[str, ...]:
    """The numbers of the docstring's sentence on parameters: of the whole, then of its parts."""
    cost = " ".join(str(inspect.getdoc(preset)).split("Cost: ")[1].split())
    whole, parts = cost.split(" M parameters", 1)
    return (whole, *re.findall(r"[\d.]*\d", parts.split("(")[1].split(")")[0]))


@pytest.mark.parametrize("name", NAMES)
def test_the_parameters_stated_are_those_of_the_models(name: str) -> None:
    pretrain, finetune = PRETRAIN[name](), replace(FINETUNE[name](), structures=tuple("abcdefghijklm"))
    with torch.device("meta"):
        mim = Mim(pretrain.nesting, pretrain.architecture, pretrain.alignment)
        segmenter = Segmenter(finetune)
    assert mim.predictor is not None
    parts = (mim, mim.encoder, mim.decoder, mim.predictor)
    assert stated(PRETRAIN[name]) == tuple(millions(part) for part in parts)
    assert stated(FINETUNE[name]) == (millions(segmenter), millions(segmenter.encoder))


@pytest.mark.parametrize("name", NAMES)
def test_the_size_and_the_operations_of_a_region_are_those_stated(name: str) -> None:
    config = PRETRAIN[name]()
    crops = sum(config.nesting.num_crops(level) for level in range(3))
    side, gflop = config.nesting.crop[0], flops_of_region(config) / 1e9
    said = " ".join(str(inspect.getdoc(PRETRAIN[name])).split())
    assert (
        f"a region, {crops} crops of {side}^3 voxels, takes {gflop:,.0f} GFLOP forward and backward" in said
    )
    assert f"A step is {config.optimisation.batch_size} regions" in said


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stated_of_a_classifier_holds(name: str) -> None:
    config = replace(CLASSIFY[name](), target="disease", classes=("ill", "well"))
    with torch.device("meta"):
        found = millions(Classifier(config))
    said = " ".join(str(inspect.getdoc(CLASSIFY[name])).split())
    size = "x".join(map(str, config.crop))
    step = f"a step is {config.optimisation.batch_size} volumes in crops of {size} voxels"
    assert f"Cost: {found} M parameters; {step}" in said
    assert (config.preset, config.architecture) == (name, pretrain_preset(name).architecture)


def test_an_unknown_preset_is_refused() -> None:
    assert list(PRETRAIN) == NAMES
    assert list(FINETUNE) == [*NAMES, *(f"released-{name}" for name in NAMES)]
    with pytest.raises(ConfigError, match=r"^unknown preset 'huge'; there are tiny, small, base$"):
        pretrain_preset("huge")
    with pytest.raises(
        ConfigError, match=r"^unknown preset 'huge'; there are tiny, small, base, released-tiny, "
    ):
        finetune_preset("huge")


@pytest.mark.parametrize("name", NAMES)
def test_the_released_recipe_changes_the_schedule_and_not_the_size(name: str) -> None:
    ours, theirs = finetune_preset(name), finetune_preset(f"released-{name}")
    assert theirs.preset == f"released-{name}"
    assert (theirs.crops_per_case, theirs.optimisation.batch_size) == (4, 8)
    assert (theirs.transfer.drop_path, theirs.optimisation.weight_decay) == (0.2, 1e-5)
    assert (theirs.augmentation.flip, theirs.augmentation.rotate, theirs.augmentation.shift) == (
        0.1,
        0.1,
        0.5,
    )
    for size in ("architecture", "crop", "patch", "feature_size", "window", "network", "loss"):
        assert getattr(theirs, size) == getattr(ours, size)


@pytest.mark.parametrize(("network", "size"), [("swin_unetr", 12), ("resenc_unet", 8)])
def test_the_parameters_stated_of_other_networks(network: SegmentationNetwork, size: int) -> None:
    structures = tuple("abcdefghijklm")
    config = replace(finetune_preset("tiny"), network=network, feature_size=size, structures=structures)
    found = millions(build_segmenter(config))
    said = " ".join(str(inspect.getdoc(FINETUNE["tiny"])).split())
    assert re.search(rf"As `{network}`[^:]*: {found} M", said)
