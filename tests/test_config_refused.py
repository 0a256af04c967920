"""What a configuration says of settings that it refuses."""

import math
from collections.abc import Callable

import pytest

from mim3d.config import (
    Alignment,
    Architecture,
    Augmentation,
    FinetuneConfig,
    Level,
    Nesting,
    Optimisation,
    PretrainConfig,
    Runtime,
    Target,
    Transfer,
    Window,
)
from mim3d.errors import ConfigError, GeometryError, MimError

INNER = Level(masked_ratio=0.5, children=0)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Window(low=5, high=5), "window must be low < high, in HU and finite, got 5 and 5"),
    (lambda: Window(low=math.nan), "window must be low < high, in HU and finite, got nan and 1000.0"),
    (lambda: Window(low=-math.inf), "window must be low < high, in HU and finite, got -inf and 1000.0"),
    (lambda: Level(masked_ratio=1.0), "masked_ratio must be between 0 and 1, without these, got 1.0"),
    (lambda: Level(masked_ratio=0.0), "masked_ratio must be between 0 and 1, without these, got 0.0"),
    (lambda: Level(cell=(1, 0, 1)), "cell of a level must be at least 1 token on every axis, got (1, 0, 1)"),
    (lambda: Level(children=-1), "children of a level must be 0 or more, got -1"),
    (lambda: Level(weight=-1), "weight of a level must be 0 or more, and finite, got -1"),
    (lambda: Level(weight=math.inf), "weight of a level must be 0 or more, and finite, got inf"),
    (lambda: Target(kind="sharp"), "kind must be one of normalised, raw, got 'sharp'"),  # type: ignore[arg-type]
    (lambda: Target(variance_floor=0), "variance_floor must be above 0, and finite, got 0"),
    (lambda: Target(least_variance=-1), "least_variance must be 0 or more, and finite, got -1"),
    (lambda: Target(low_pass=0), "low_pass must be at least 1 voxel, got 0"),
    (lambda: Nesting(levels=()), "levels must be at least one, got ()"),
    (lambda: Nesting(extent=(0, 9, 9)), "extent must be at least 1 voxel on every axis, got (0, 9, 9)"),
    (lambda: Nesting(masks="all"), "masks must be one of cells, as_released, got 'all'"),  # type: ignore[arg-type]
    (
        lambda: Nesting(levels=(Level(weight=0), Level(children=0, weight=0))),
        "the weight of one level at least must be above 0, got [0, 0]",
    ),
    (
        lambda: Nesting(patch=(16, 12, 16)),
        "patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got (16, 12, 16); the nearest is (16, 8, 16)",
    ),
    (
        lambda: Nesting(patch=(0, 16, 32)),
        "patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got (0, 16, 32); the nearest is (1, 16, 16)",
    ),
    (
        lambda: Nesting(crop=(0, 96, 96)),
        "crop (0, 96, 96) must be a positive multiple of (16, 16, 16); the nearest is (16, 96, 96)",
    ),
    (
        lambda: Nesting(levels=(Level(cell=(4, 3, 3)), INNER)),
        "level 0: cell (4, 3, 3) must divide the grid of (6, 6, 6) tokens; the nearest is (3, 3, 3) (X ",
    ),
    (
        lambda: Nesting(levels=(Level(), Level(cell=(6, 6, 6), children=0))),
        "level 1: cell (6, 6, 6) is the whole crop; take (3, 3, 3) or a part of it",
    ),
    (
        lambda: Nesting(crop=(16, 16, 16), levels=(INNER,)),
        "level 0: the crop is a single token, of which nothing can be shown; enlarge crop or lower patch",
    ),
    (
        lambda: Nesting(levels=(Level(), Level())),
        "level 1: children must be 0, as nothing lies further in, got 4",
    ),
    (
        lambda: Nesting(levels=(INNER, INNER)),
        "level 0: children must be 1 or more, as a level lies further in, got 0",
    ),
    (
        lambda: Nesting(levels=(Level(cell=(3, 3, 3), masked_ratio=0.05), INNER)),
        "level 0: masked_ratio 0.05 hides 0 of 8 cells, but some must be hidden and some seen; take 1/8 = ",
    ),
    (
        lambda: Nesting(levels=(Level(cell=(3, 3, 3), masked_ratio=0.5, children=5), INNER)),
        "level 0: 5 children, but masked_ratio 0.5 hides only 4 of 8 cells; take at most 4, or a ",
    ),
    (
        lambda: Nesting(extent=(192, 192, 8)),
        "level 2: an extent of (192, 192, 8) leaves it regions of (16.0, 16.0, 0.667) voxels of the working ",
    ),
    (
        lambda: Nesting(levels=(Level(children=0, target=Target(low_pass=3)),)),
        "level 0: target.low_pass 3 must divide the patch (16, 16, 16); take 1, 2, 4, 8 or 16",
    ),
    (lambda: Architecture(channels=0), "channels must be at least 1, got 0"),
    (lambda: Architecture(num_heads=0), "num_heads must be at least 1, got 0"),
    (lambda: Architecture(decoder_depth=-1), "decoder_depth must be 0 or more, got -1"),
    (
        lambda: Architecture(dims=(0, 96, 192, 384)),
        "dims must be at least 1 at every stage, got (0, 96, 192, 384)",
    ),
    (
        lambda: Architecture(depths=(2, -1, 2, 3)),
        "depths must be 0 or more at every stage, got (2, -1, 2, 3)",
    ),
    (
        lambda: Architecture(dims=(6, 12, 24, 50), num_heads=5),
        "dims[3] must divide by num_heads, 5, and by 6 (position codes), got 50; the nearest: 60 or 30",
    ),
    (
        lambda: Architecture(decoder_dim=96, decoder_heads=5),
        "decoder_dim must divide by decoder_heads, 5, and by 6 (position codes), got 96; the nearest: 90 or ",
    ),
    (lambda: Alignment(weight=-1), "weight of alignment must be 0 or more, and finite, got -1"),
    (lambda: Alignment(temperature=0), "temperature must be above 0, and finite, got 0"),
    (lambda: Alignment(momentum=1), "momentum must be 0 or more, and below 1, got 1"),
    (lambda: Alignment(loss="l2"), "loss must be one of info_nce, cosine, got 'l2'"),  # type: ignore[arg-type]
    (
        lambda: PretrainConfig(optimisation=Optimisation(schedule="sawtooth")),
        "schedule sawtooth spares a pre-trained encoder at first, and in pre-training there is none; take ",
    ),
    (
        lambda: FinetuneConfig(optimisation=Optimisation(schedule="sawtooth"), runtime=Runtime(devices=2)),
        "schedule sawtooth works on one device as yet, got devices 2; take one, or cosine with ",
    ),
    (lambda: Optimisation(steps=0), "steps must be at least 1, got 0"),
    (lambda: Optimisation(batch_size=0), "batch_size must be at least 1, got 0"),
    (lambda: Optimisation(lr=math.nan), "lr must be above 0, and finite, got nan"),
    (lambda: Optimisation(warmup_steps=-1), "warmup_steps must be 0 or more, got -1"),
    (lambda: Optimisation(weight_decay=-0.1), "weight_decay must be 0 or more, and finite, got -0.1"),
    (lambda: Optimisation(betas=(0.9, 1)), "betas must be 0 or more, and below 1, got (0.9, 1)"),
    (lambda: Optimisation(max_norm=0), "max_norm must be above 0, got 0"),
    (lambda: Runtime(devices=0), "devices must be at least 1, got 0"),
    (lambda: Runtime(memory_gb=0), "memory_gb must be above 0, got 0"),
    (lambda: Runtime(num_workers=-1), "num_workers must be 0 or more, got -1"),
    (lambda: Runtime(checkpoint_every=0), "checkpoint_every must be at least 1 step, got 0"),
    (lambda: PretrainConfig(seed=-1), "seed must be 0 or more, and below 2^63, got -1"),
    (lambda: FinetuneConfig(seed=2**63), f"seed must be 0 or more, and below 2^63, got {2**63}"),
    (
        lambda: PretrainConfig(architecture=Architecture(embedded_levels=2)),
        "embedded_levels must be 0 or the number of levels, 3, got 2",
    ),
    (lambda: FinetuneConfig(overlap=1.0), "overlap must be 0 or more, and below 1, got 1.0"),
    (
        lambda: FinetuneConfig(patch=(3, 16, 16)),
        "patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got (3, 16, 16); the nearest is (2, 16, 16)",
    ),
    (lambda: FinetuneConfig(validate_every=0), "validate_every must be at least 1 step, got 0"),
    (lambda: FinetuneConfig(feature_size=0), "feature_size must be at least 1 channel, got 0"),
    (
        lambda: FinetuneConfig(network="swin_unetr", feature_size=8),
        "feature_size of swin_unetr must be a multiple of 12, got 8",
    ),
    (
        lambda: FinetuneConfig(network="swin_unetr", crop=(96, 96, 48)),
        "crop of swin_unetr must be multiples of 32, and more than 32^3, got (96, 96, 48)",
    ),
    (
        lambda: FinetuneConfig(network="swin_unetr", crop=(32, 32, 32)),
        "crop of swin_unetr must be multiples of 32, and more than 32^3, got (32, 32, 32)",
    ),
    (
        lambda: FinetuneConfig(network="resenc_unet", transfer=Transfer(drop_path=0.1)),
        "transfer.drop_path of resenc_unet must be 0: it leaves no block out, got 0.1",
    ),
    (lambda: FinetuneConfig(resenc_blocks=(1,)), "resenc_blocks must be of 2 stages at least, got (1,)"),
    (
        lambda: FinetuneConfig(resenc_blocks=(1, 0)),
        "resenc_blocks must be at least 1 at every stage, got (1, 0)",
    ),
    (lambda: FinetuneConfig(aimed=1.1), "aimed must be 0 to 1, got 1.1"),
    (lambda: FinetuneConfig(crops_per_case=0), "crops_per_case must be at least 1, got 0"),
    (lambda: FinetuneConfig(loss="l2"), "loss must be one of dice_ce, dice_focal, "),  # type: ignore[arg-type]
    (lambda: Augmentation(rotate=2), "augmentation.rotate must be 0 to 1, got 2"),
    (lambda: Augmentation(max_angle=200), "augmentation.max_angle must be 0 to 180 degrees, got 200"),
    (lambda: Augmentation(max_zoom=1), "augmentation.max_zoom must be 0 or more, and below 1, got 1"),
    (
        lambda: Augmentation(max_contrast=-1),
        "augmentation.max_contrast must be 0 or more, and below 1, got -1",
    ),
    (lambda: Augmentation(max_noise=2), "augmentation.max_noise must be 0 to 1, got 2"),
    (lambda: Transfer(frozen_stages=5), "transfer.frozen_stages must be 0 to 4, got 5"),
    (lambda: Transfer(layer_decay=0), "transfer.layer_decay must be above 0, and at most 1, got 0"),
    (lambda: Transfer(drop_path=1), "transfer.drop_path must be 0 or more, and below 1, got 1"),
    (
        lambda: FinetuneConfig(structures=("liver", "lungs", "liver")),
        "structures must be different from one another, got liver, lungs, liver",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(MimError) as refused:
        make()
    assert str(refused.value).startswith(message)
    assert "=(" not in str(refused.value)  # a setting, not the whole group of them
    assert isinstance(refused.value, ConfigError | GeometryError)
