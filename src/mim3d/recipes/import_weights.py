"""`mim3d import-weights`: a checkpoint of the authors' release in, a run folder with its encoder out."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mim3d import __version__
from mim3d.config import Alignment, Level, Nesting, PretrainConfig
from mim3d.config_file import write_config
from mim3d.data.seal import file_hash
from mim3d.errors import CheckpointError
from mim3d.geometry import Triple
from mim3d.model.released import ReleasedModel, import_released
from mim3d.model.released_sizes import Sizes
from mim3d.presets import PRETRAIN, pretrain_preset
from mim3d.recipes.messages import say
from mim3d.run_files import CONFIG, PREPROCESSING, PROVENANCE, WEIGHTS
from mim3d.train.checkpoint import save_weights
from mim3d.train.run_folder import make_run, write_json

RELEASED_GRID: Triple = (6, 6, 6)
"""Tokens of the release's crops."""


def import_weights(
    released: Path, run: Path, /, *, num_heads: int | None = None, decoder_heads: int | None = None
) -> Path:
    """Turn a checkpoint of the authors' release into a run folder, as if it had been pre-trained here.

    Args:
        released: Checkpoint (.pth, .pt, .safetensors); nothing in it is executed.
        run: Folder to write, new or empty; what takes the folder of a pre-training run takes it too.
        num_heads: Attention heads of the encoder; only for sizes that are none of the release's.
        decoder_heads: Attention heads of the decoder, likewise.

    Returns:
        The run folder.

    Raises:
        MimError: If the checkpoint cannot be used, or the folder is not empty.
    """
    if run.exists() and not (run.is_dir() and not any(run.iterdir())):
        raise CheckpointError(f"{run}: exists, and is no empty folder; name a new folder")
    model = import_released(released, num_heads=num_heads, decoder_heads=decoder_heads)
    settings = _settings(model.sizes)
    for line in _found(released, model):
        say(line)
    make_run(run)
    write_config(settings, run / CONFIG)
    write_json(run / PROVENANCE, _provenance(released, run, model.sizes))
    write_json(run / PREPROCESSING, _preprocessing(settings))
    save_weights(model, run / WEIGHTS)  # last: from now on the folder counts as a finished run
    say(f"{run}: done")
    return run


def _settings(sizes: Sizes) -> PretrainConfig:
    """A configuration that the weights fit; levels and masks are the release's if the grid is.

    Alignment is off: its heads are left out, and a model of this configuration has none.
    """
    return replace(
        pretrain_preset(nearest_preset(sizes.architecture.dims[3])),
        nesting=_nesting(sizes),
        architecture=sizes.architecture,
        alignment=Alignment(weight=0.0),
    )


def _nesting(sizes: Sizes) -> Nesting:
    x, y, z = (tokens * side for tokens, side in zip(sizes.grid, sizes.patch, strict=True))
    if sizes.grid != RELEASED_GRID:
        one = (Level(children=0),)
        return Nesting(extent=(x, y, z), crop=(x, y, z), patch=sizes.patch, levels=one, body_aware=False)
    return Nesting(
        extent=(2 * x, 2 * y, 2 * z),
        crop=(x, y, z),
        patch=sizes.patch,
        body_aware=False,
        masks="as_released",
    )


def nearest_preset(dim: int) -> str:
    """The preset with an encoder of about `dim` channels: fine-tuning takes its other settings from there."""
    return min(PRETRAIN, key=lambda name: abs(math.log(PRETRAIN[name]().architecture.dims[3] / dim)))


def _provenance(released: Path, run: Path, sizes: Sizes) -> dict[str, Any]:
    return {
        "mim3d": __version__,
        "command": f"mim3d import-weights {released.name} {run.name}",
        "init": released.name,
        "sha256": file_hash(released),
        "heads": sizes.heads_from,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
    }


def _preprocessing(settings: PretrainConfig) -> dict[str, Any]:
    """What the release did to a scan: it took voxels as they came, whatever their spacing."""
    return {
        "orientation": "RAS",
        "unit": "HU",
        "modality": "CT",
        "channels": settings.architecture.channels,
        "window": asdict(settings.window),
        "spacing": None,
    }


def _found(released: Path, model: ReleasedModel) -> Iterator[str]:
    """What the file held, in words."""
    counts = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder))
    encoder, decoder = (f"{count / 1e6:.2f} M" for count in counts)
    yield f"{released.name}: {encoder} parameters of the encoder, {decoder} of the decoder: {model.sizes}"
    if others := model.left_out:
        some = ", ".join(list(others)[:3]) + (", ..." if len(others) > 3 else "")
        count = f"{len(others)} tensors, {sum(others.values()):,} values"
        yield f"{released.name}: left out, as neither the encoder's nor the decoder's: {count} ({some})"
