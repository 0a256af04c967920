"""A pre-trained encoder, out of a run folder: whole, or as the beginning of a task model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mim3d.config import FinetuneConfig
from mim3d.config_file import read_run_config
from mim3d.downstream.expectation import SHIFTS, require_expected, told
from mim3d.downstream.hub import weights_folder
from mim3d.errors import CheckpointError, worded
from mim3d.geometry import Vector
from mim3d.model.encoder import Encoder
from mim3d.run_files import PREPROCESSING
from mim3d.settings import patch_of
from mim3d.train.checkpoint import finished_weights, read_tensors
from mim3d.train.run_folder import read_json

LEAST_SHARE = 0.5
"""Share of the encoder's tensors that must be found for weights to count as its own."""
MUST_AGREE = ("orientation", "unit", "modality", "channels")
"""Preprocessing without which features mean something else; what else may differ is `SHIFTS`."""
ADAPTABLE = ("unit", "modality", "channels")
"""What may differ all the same where somebody asks for it."""
STEM = "embeds.0.project.weight"
"""The only tensor that depends on the number of channels: (C', voxels of a cell * C), channels fastest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """What became of the tensors of an encoder and of a file."""

    loaded: tuple[str, ...]
    """In both, of the same shape."""
    missing: tuple[str, ...]
    """Of the encoder, not in the file or of another shape there: these stay as initialised."""
    unexpected: tuple[str, ...]
    """Of the file's encoder, and not of this one."""

    def __str__(self) -> str:
        lines = [f"encoder: {len(self.loaded)} tensors loaded"]
        for kind, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            some = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
            lines.append(f"{len(names)} {kind}{some}")
        return ", ".join(lines)


def load_encoder(
    run: Path | str,
    *,
    modality: str | None = None,
    channels: int | None = None,
    orientation: str | None = None,
    unit: str | None = None,
    window: tuple[float, float] | None = None,
    spacing: Vector | None = None,
) -> Encoder:
    """The encoder of a run, in evaluation mode: `encoder.features(volume)` gives its maps at four strides.

    Volumes are (B, C, X, Y, Z) in RAS+, intensities scaled to [0, 1] as RUN/preprocessing.json says. What is
    named here is compared with that file: another window or spacing is warned of, anything else refused.

    Args:
        run: Folder of a run or of exported weights, or `org/name`, `org/name@revision` of a hub.
        modality: Expected, as DICOM names it, e.g. `CT`.
        channels: Expected number of channels.
        orientation: Expected, e.g. `RAS`.
        unit: Expected, `HU` or `none`.
        window: Expected (low, high), HU: what became 0 and 1.
        spacing: Expected (x, y, z), mm.

    Raises:
        CheckpointError: If there is no such folder or repository, it has no weights, they do not fit its
            configuration, or they learnt from other scans than expected.
        ConfigError: If its configuration cannot be read.
    """
    run = weights_folder(run)
    expected = {"modality": modality, "channels": channels, "orientation": orientation, "unit": unit}
    require_expected(run, {**expected, "window": window, "spacing": spacing})
    config = read_run_config(run)
    if isinstance(config, FinetuneConfig) and config.network != "mim":
        raise CheckpointError(f"{run}: its network is {config.network}, which has no encoder of mim3d's")
    encoder = Encoder(patch_of(config), config.architecture)
    report = load_into(encoder, run)
    if report.missing or report.unexpected:
        raise CheckpointError(f"{run}: weights do not fit config.json: {report}; copy both from the same run")
    return encoder.eval()


def load_into(encoder: Encoder, run: Path, *, adapt: bool = False) -> LoadReport:
    """Fill an encoder with what fits of a run's.

    Args:
        encoder: To fill.
        run: Folder of a finished run.
        adapt: Let the first layer learn from another number of channels: see `shared_out`.

    Raises:
        CheckpointError: If fewer than half of the encoder's tensors are found.
    """
    stored = encoder_tensors(run)
    own = encoder.state_dict()
    if adapt and STEM in stored:
        stored[STEM] = shared_out(stored[STEM], read_run_config(run).architecture.channels, own[STEM])
    fitting = {name: t for name, t in stored.items() if name in own and own[name].shape == t.shape}
    report = LoadReport(
        loaded=tuple(fitting),
        missing=tuple(name for name in own if name not in fitting),
        unexpected=tuple(name for name in stored if name not in own),
    )
    if len(fitting) < LEAST_SHARE * len(own):
        raise CheckpointError(
            f"{run}: weights are of another architecture: {report}, of {len(own)} needed; "
            "use the preset that the weights were trained with"
        )
    encoder.load_state_dict(fitting, strict=False)
    return report


def shared_out(kernels: Tensor, channels: int, own: Tensor) -> Tensor:
    """Kernels of the first layer for another number of channels: summed over theirs, divided among ours.

    A volume that shows the same in every channel has the same features as before. What does not fit
    otherwise is left as it is.

    Args:
        kernels: (C', V * C), from the file; V voxels of a cell, channels fastest.
        channels: C, that they learnt from.
        own: The tensor that is to be filled.
    """
    cells = kernels.shape[1] // channels
    ours = own.shape[1] // cells
    if cells * channels != kernels.shape[1] or cells * ours != own.shape[1] or ours == channels:
        return kernels
    total = kernels.view(-1, cells, channels).sum(dim=2, keepdim=True)  # (C', V, 1)
    return (total / ours).expand(-1, -1, ours).flatten(1)


def encoder_tensors(run: Path) -> dict[str, Tensor]:
    """The tensors of the encoder of a run, or of one of its checkpoints, by name.

    Raises:
        CheckpointError: If the run is unfinished or its weights are damaged.
    """
    prefix, stored = "encoder.", read_tensors(finished_weights(run))
    return {name.removeprefix(prefix): t for name, t in stored.items() if name.startswith(prefix)}


def compare_preprocessing(run: Path, ours: dict[str, Any], *, adapt: bool | None = None) -> list[str]:
    """Warnings on how the scans that a run learnt from differ from `ours`, both as preprocessing.json says.

    Args:
        run: Folder of a run.
        ours: Of the store that is learnt from now.
        adapt: Warn of another unit, modality or number of channels, in place of an error; None where that
            cannot be asked for.

    Raises:
        CheckpointError: If it is no run folder, or orientation, unit, modality or channels differ, or were
            not kept.
        ConfigError: If the run's configuration cannot be read.
    """
    read_run_config(run)
    theirs = read_json(run / PREPROCESSING)
    other = [name for name in MUST_AGREE if theirs.get(name) != ours[name]]
    for name in other:
        if not (adapt and name in ADAPTABLE):
            can = adapt is not None and name in ADAPTABLE
            remedy = ", or adapt them: --transfer.adapt" if can else ""
            raise CheckpointError(
                f"{run}: weights learnt from {name} {worded(theirs.get(name))}, but here it is "
                f"{worded(ours[name])}; use weights of the same kind{remedy}"
            )
    adapted = [
        f"weights learnt from {name} {worded(theirs.get(name))}, adapted to {worded(ours[name])}"
        for name in other
    ]
    return adapted + [
        f"weights learnt from {name} {told(name, theirs.get(name))}, here it is {told(name, ours.get(name))}"
        for name in SHIFTS
        if theirs.get(name) != ours.get(name)
    ]
