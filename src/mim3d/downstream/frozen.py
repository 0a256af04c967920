"""Encoders as probes see them: frozen, of a run, a checkpoint or a published file, or with random weights.

Networks that ours is compared with have maps at several strides too, so their encoders can be probed alike.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mim3d.config import Architecture, FinetuneConfig
from mim3d.config_file import RunConfig, read_run_config
from mim3d.downstream.backbone import load_into
from mim3d.downstream.hub import name_of
from mim3d.downstream.segmenter import Segmenter, build_segmenter
from mim3d.downstream.swin_unetr import UNSAID, SwinUnetr, load_swin, sizes_in
from mim3d.errors import CheckpointError
from mim3d.model.encoder import Encoder
from mim3d.model.resenc import ResencUnet
from mim3d.run_files import BEST, CHECKPOINTS, WEIGHTS
from mim3d.settings import patch_of
from mim3d.train.checkpoint import checkpoints_of, finished_weights, load_weights, step_of
from mim3d.train.run_folder import read_json

RANDOM = "none"
"""Stands for random weights."""
FrozenEncoder = Encoder | SwinUnetr | ResencUnet
"""What has `features`: maps of a volume, a stage each."""


@dataclass(frozen=True, eq=False, slots=True)
class Frozen:
    """An encoder whose weights do not change any more."""

    name: str
    """As tables call it: of its run or file, without the folders above."""
    step: int | None
    """Optimiser steps that its weights had; None where that is not known."""
    run: Path | None
    """Where its preprocessing is told; None for random weights and files."""
    config: RunConfig
    """Of the run; of a file, what its network takes."""
    encoder: FrozenEncoder
    differences: tuple[str, ...] = ()
    """How the scans that it learnt from differ from those that it sees, as far as that is known."""


def load_frozen(place: str, sizes: RunConfig, *, seed: int = 0) -> Frozen:
    """The encoder that a word on the command line names, in evaluation mode.

    Args:
        place: Run folder; a checkpoint within one, RUN/checkpoints/step-N; a file in the layout of MONAI's
            published SwinUNETR encoder; or `none`.
        sizes: Network and sizes of an encoder with random weights.
        seed: Of random weights.

    Raises:
        CheckpointError: If there is no such run or checkpoint, or its weights do not fit.
        ConfigError: If the run's configuration cannot be read, or no network has the sizes of a file.
    """
    if place == RANDOM:
        torch.manual_seed(seed)
        return _frozen("random weights", 0, None, sizes, _new(sizes))
    path, run, config = Path(place), run_of(place), config_of(place)
    encoder = _new(config)
    if path.is_file():
        assert isinstance(encoder, SwinUnetr)
        load_swin(encoder, path, adapt=False)
        return replace(_frozen(path.name, None, None, config, encoder), differences=(UNSAID,))
    if isinstance(encoder, Encoder):
        report = load_into(encoder, path)
        if report.missing or report.unexpected:
            raise CheckpointError(
                f"{path}: weights do not fit {run.name}/config.json: {report}; copy both from the same run"
            )
    else:
        load_weights(encoder, finished_weights(path))
    if run == path:
        return _frozen(name_of(path.resolve()), _step(path), path, config, encoder)
    return _frozen(run.resolve().name, step_of(path), run, config, encoder)


def config_of(place: str) -> RunConfig:
    """The configuration of a run, of the run of a checkpoint, or of a network that takes a published file.

    Raises:
        CheckpointError: If there is no such run, or a file is none of SwinUNETR's encoder.
        ConfigError: If a run's configuration cannot be read, or no network has the sizes of a file.
    """
    path = Path(place)
    if not path.is_file():
        return read_run_config(run_of(place))
    channels, size = sizes_in(path)
    architecture = Architecture(channels=channels)
    return FinetuneConfig(network="swin_unetr", feature_size=size, architecture=architecture)


def run_of(place: str) -> Path:
    """The run folder that a place is, or that it is a checkpoint of."""
    path = Path(place)
    return path.parent.parent if path.parent.name == CHECKPOINTS else path


def with_checkpoints(place: str) -> list[str]:
    """The checkpoints that a run has kept of itself, oldest first, then the run, if it is finished."""
    run = Path(place)
    kept = checkpoints_of(run) if place != RANDOM else []
    if kept and not (run / WEIGHTS).exists():
        return list(map(str, kept))
    return [*(str(path) for path in kept if step_of(path) != _step(run)), place]


def _new(config: RunConfig) -> FrozenEncoder:
    """The encoder of a configuration with new weights; other networks than ours come whole."""
    if isinstance(config, FinetuneConfig) and config.network != "mim":
        network = build_segmenter(config)
        assert not isinstance(network, Segmenter)
        return network
    return Encoder(patch_of(config), config.architecture)


def _frozen(
    name: str, step: int | None, run: Path | None, config: RunConfig, encoder: FrozenEncoder
) -> Frozen:
    """An encoder that is only looked at from now on.

    Raises:
        CheckpointError: If a weight is NaN or infinite.
    """
    if not all(bool(weight.isfinite().all()) for weight in encoder.parameters()):
        raise CheckpointError(f"{name}: has weights that are NaN or infinite; take an earlier checkpoint")
    return Frozen(name, step, run, config, encoder.eval().requires_grad_(False))


def _step(run: Path) -> int | None:
    """Of the weights of a run: the best step of a task, else the last one."""
    if (run / BEST).exists():
        return int(read_json(run / BEST)["step"])
    kept = checkpoints_of(run)
    return step_of(kept[-1]) if kept else None
