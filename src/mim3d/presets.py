"""Named configurations. Each docstring says what it costs.

A fine-tuning run takes architecture, patch and window from the weights that it begins with, and for
segmentation the crop too.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from mim3d.config import (
    Architecture,
    Augmentation,
    ClassifyConfig,
    FinetuneConfig,
    Level,
    Nesting,
    Optimisation,
    PretrainConfig,
    Runtime,
)
from mim3d.errors import ConfigError
from mim3d.geometry import Triple

Preset = TypeVar("Preset")

TINY_ARCHITECTURE = Architecture(
    dims=(12, 24, 48, 96),
    depths=(2, 2, 2, 3),
    num_heads=3,
    decoder_dim=96,
    decoder_depth=2,
    decoder_heads=3,
)
TINY_CROP: Triple = (64, 64, 64)

SMALL_ARCHITECTURE = Architecture(
    dims=(24, 48, 96, 192),
    depths=(2, 2, 2, 6),
    num_heads=6,
    decoder_dim=288,
    decoder_depth=4,
    decoder_heads=9,
)


def tiny() -> PretrainConfig:
    """The whole method at a size for two cores.

    Cost: 1.90 M parameters (encoder 1.25, decoder 0.63, predictor 0.02); a region, 21 crops of 64^3 voxels,
    takes 27 GFLOP forward and backward, 1.1 s on 2 cores of an AMD EPYC (Zen 4) without a GPU. A step is 2
    regions, with reading about 1.9 s and 1.4 GB, so 1,000 steps take 32 minutes.
    Score: a size for trying things out; none is expected of it.
    """
    return PretrainConfig(
        preset="tiny",
        nesting=Nesting(
            extent=(128, 128, 128),
            crop=TINY_CROP,
            levels=(
                Level(cell=(2, 2, 2), masked_ratio=0.5),
                Level(masked_ratio=0.6),
                Level(masked_ratio=0.5, children=0),
            ),
        ),
        architecture=TINY_ARCHITECTURE,
        optimisation=Optimisation(steps=1000, batch_size=2, lr=1e-3, warmup_steps=40),
        runtime=Runtime(memory_gb=1.0, checkpoint_every=50),
    )


def small() -> PretrainConfig:
    """The regions, crops and levels of `base` with half its channels, for one GPU or patient cores.

    Cost: 11.66 M parameters (encoder 6.29, decoder 5.24, predictor 0.14); a region, 21 crops of 96^3 voxels,
    takes 411 GFLOP forward and backward, 8.6 s and 2.1 GB on the machine named at `tiny`. A step is 4
    regions. Time and memory of a whole run were not measured.
    Score: not trained to its end yet.
    """
    return PretrainConfig(
        preset="small",
        architecture=SMALL_ARCHITECTURE,
        optimisation=Optimisation(steps=20_000, batch_size=4, lr=5e-4, warmup_steps=1_000),
        runtime=Runtime(checkpoint_every=200),
    )


def base() -> PretrainConfig:
    """The paper's size, with the schedule of the authors' release counted in steps of 16 regions.

    Cost: 68.94 M parameters (encoder 33.89, decoder 34.50, predictor 0.56); a region, 21 crops of 96^3
    voxels, takes 2,052 GFLOP forward and backward, 20 to 23 s and 2.6 GB (at a `memory_gb` of
    1.25, no optimiser) on the machine named at `tiny`. A step is 16 regions, meant for GPUs. Time and
    memory of a whole run were not measured.
    Score: not trained to its end yet.
    """
    return PretrainConfig(
        preset="base",
        optimisation=Optimisation(steps=100_000, batch_size=16, lr=2e-4, warmup_steps=5_000),
        runtime=Runtime(checkpoint_every=500),
    )


def finetune_tiny() -> FinetuneConfig:
    """Segmentation with the `tiny` encoder.

    Cost: 2.84 M parameters for 13 structures (encoder 1.25); a step of 2 crops of 64^3 voxels takes 1.3 s of
    processor time and 1.4 GB on one thread of an Intel Xeon (Emerald Rapids), without a GPU. As `swin_unetr`
    of feature size 12: 4.08 M, 5.6 s, 4.1 GB. As `resenc_unet`: 3.92 M, 1.2 s, 1.2 GB.
    Score: a size for trying things out; none is expected of it.
    """
    return FinetuneConfig(
        preset="tiny",
        crop=TINY_CROP,
        architecture=TINY_ARCHITECTURE,
        feature_size=8,
        optimisation=Optimisation(
            steps=500, lr=1e-3, warmup_steps=20, weight_decay=1e-5, betas=(0.9, 0.999), max_norm=5.0
        ),
        runtime=Runtime(checkpoint_every=50),
    )


def finetune_small() -> FinetuneConfig:
    """Segmentation with the `small` encoder.

    Cost: 19.18 M parameters for 13 structures (encoder 6.29); a step is 2 crops of 96^3 voxels.
    Time and memory of a whole run were not measured.
    Score: not trained to its end yet.
    """
    return FinetuneConfig(
        preset="small",
        architecture=SMALL_ARCHITECTURE,
        feature_size=24,
        optimisation=Optimisation(
            steps=10_000, lr=5e-4, warmup_steps=500, weight_decay=1e-5, betas=(0.9, 0.999), max_norm=5.0
        ),
        runtime=Runtime(checkpoint_every=200),
        validate_every=500,
    )


def finetune_base() -> FinetuneConfig:
    """Segmentation with the paper's encoder, and a schedule of the same shape as the authors' release's.

    Cost: 85.46 M parameters for 13 structures (encoder 33.89); a step is 2 crops of 96^3 voxels, meant for a
    GPU. Time and memory of a whole run were not measured.
    Score: not trained to its end yet.
    """
    return FinetuneConfig(
        preset="base",
        optimisation=Optimisation(
            steps=30_000, lr=3e-4, warmup_steps=1_500, weight_decay=1e-5, betas=(0.9, 0.999), max_norm=5.0
        ),
        runtime=Runtime(checkpoint_every=500),
        validate_every=1_000,
    )


def classify_tiny() -> ClassifyConfig:
    """Classification with the `tiny` encoder.

    Cost: 1.25 M parameters; a step is 4 volumes in crops of 96x96x96 voxels.
    Score: a size for trying things out; none is expected of it.
    """
    return ClassifyConfig(
        preset="tiny",
        crop=(96, 96, 96),
        architecture=TINY_ARCHITECTURE,
        optimisation=Optimisation(
            steps=300, batch_size=4, lr=5e-4, warmup_steps=20, betas=(0.9, 0.999), max_norm=5.0
        ),
        validate_every=25,
        runtime=Runtime(checkpoint_every=50),
    )


def classify_small() -> ClassifyConfig:
    """Classification with the `small` encoder.

    Cost: 6.29 M parameters; a step is 8 volumes in crops of 192x192x64 voxels. Time and memory of a whole run
    were not measured.
    Score: not trained to its end yet.
    """
    return ClassifyConfig(
        preset="small",
        crop=(192, 192, 64),
        architecture=SMALL_ARCHITECTURE,
        optimisation=Optimisation(
            steps=5_000, batch_size=8, lr=2e-4, warmup_steps=250, betas=(0.9, 0.999), max_norm=5.0
        ),
        validate_every=250,
        runtime=Runtime(checkpoint_every=250),
    )


def classify_base() -> ClassifyConfig:
    """Classification with the paper's encoder, in the crops of its CC-CCII experiment.

    Cost: 33.89 M parameters; a step is 8 volumes in crops of 384x384x32 voxels, meant for a GPU. Time and
    memory of a whole run were not measured.
    Score: not trained to its end yet.
    """
    return ClassifyConfig(
        preset="base",
        optimisation=Optimisation(
            steps=20_000, batch_size=8, lr=1e-4, warmup_steps=1_000, betas=(0.9, 0.999), max_norm=5.0
        ),
        validate_every=1_000,
        runtime=Runtime(checkpoint_every=500),
    )


def released(config: FinetuneConfig) -> FinetuneConfig:
    """The recipe of the authors' release, as far as it is known, at the size of another preset.

    Known: 4 crops of a scan and 2 scans a step, AdamW, weight decay 1e-5, warm-up, cosine, clipping at 5,
    drop path 0.2; for BTCV flips and right angles at 0.1, shifts of brightness at 0.5. Not known, and so
    ours: the learning rate, half of the crops aimed at structures, and shifts by up to 0.1 of the window.
    The network is ours: see docs/finetuning.md.
    """
    return replace(
        config,
        preset=f"released-{config.preset}",
        crops_per_case=4,
        aimed=0.5,
        optimisation=replace(config.optimisation, batch_size=8),
        transfer=replace(config.transfer, drop_path=0.2),
        augmentation=Augmentation(flip=0.1, rotate=0.1, contrast=0, shift=0.5, max_shift=0.1, noise=0),
    )


def released_tiny() -> FinetuneConfig:
    """`released` at the size of `tiny`: a step is 4 times as long as there; not trained to its end."""
    return released(finetune_tiny())


def released_small() -> FinetuneConfig:
    """`released` at the size of `small`: a step is 4 times as long as there; not trained to its end."""
    return released(finetune_small())


def released_base() -> FinetuneConfig:
    """`released` at the size of `base`: a step is 4 times as long as there; not trained to its end."""
    return released(finetune_base())


PRETRAIN: dict[str, Callable[[], PretrainConfig]] = {"tiny": tiny, "small": small, "base": base}
FINETUNE: dict[str, Callable[[], FinetuneConfig]] = {
    "tiny": finetune_tiny,
    "small": finetune_small,
    "base": finetune_base,
    "released-tiny": released_tiny,
    "released-small": released_small,
    "released-base": released_base,
}

CLASSIFY: dict[str, Callable[[], ClassifyConfig]] = {
    "tiny": classify_tiny,
    "small": classify_small,
    "base": classify_base,
}


def pretrain_preset(name: str) -> PretrainConfig:
    """The pre-training preset of that name.

    Raises:
        ConfigError: If there is none.
    """
    return _choose(PRETRAIN, name)()


def finetune_preset(name: str) -> FinetuneConfig:
    """The fine-tuning preset of that name.

    Raises:
        ConfigError: If there is none.
    """
    return _choose(FINETUNE, name)()


def classify_preset(name: str) -> ClassifyConfig:
    """The preset for classification of that name.

    Raises:
        ConfigError: If there is none.
    """
    return _choose(CLASSIFY, name)()


def _choose(presets: dict[str, Preset], name: str) -> Preset:
    if name not in presets:
        raise ConfigError(f"unknown preset {name!r}; there are {', '.join(presets)}")
    return presets[name]
