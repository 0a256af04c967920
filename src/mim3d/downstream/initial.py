"""What a segmentation network begins with: weights of a run, of a published file, or new ones."""

from pathlib import Path
from typing import Any

from mim3d.config import FinetuneConfig
from mim3d.downstream.backbone import LoadReport, compare_preprocessing, load_into
from mim3d.downstream.segmenter import Network, Segmenter
from mim3d.downstream.swin_unetr import UNSAID, SwinUnetr, load_swin
from mim3d.errors import CheckpointError, ConfigError


def differences(init: Path, config: FinetuneConfig, ours: dict[str, Any]) -> list[str]:
    """How the scans that weights learnt from differ from those at hand, in words.

    Args:
        init: Run folder for the network `mim`, file for `swin_unetr`.
        config: Of the run that begins.
        ours: As preprocessing.json says it.

    Raises:
        CheckpointError: If the weights are not of the kind that the network begins with, or their scans were
            of another kind.
        ConfigError: If the network begins with no weights at all.
    """
    if config.network == "resenc_unet":
        raise ConfigError(f"{init}: there are no weights for resenc_unet to begin with; take --init none")
    if config.network == "mim":
        if init.is_file():
            raise CheckpointError(
                f"{init}: a file, where the folder of a run is needed; `mim3d import-weights` makes one of "
                "the authors' weights, those of MONAI are for --network swin_unetr"
            )
        return compare_preprocessing(init, ours, adapt=config.transfer.adapt)
    if init.is_dir():
        raise CheckpointError(
            f"{init}: a folder, where swin_unetr begins with a file in the layout of MONAI's published "
            "model_swinvit.pt; name one, or take --init none"
        )
    return [f"{init.name} {UNSAID}"]


def begin_from(init: Path, network: Network, *, adapt: bool) -> LoadReport:
    """Fill a network's encoder, after `differences` said that this can be.

    Raises:
        CheckpointError: If the weights do not fit.
    """
    if isinstance(network, SwinUnetr):
        return load_swin(network, init, adapt=adapt)
    assert isinstance(network, Segmenter)
    return load_into(network.encoder, init, adapt=adapt)
