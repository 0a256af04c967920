"""Checkpoints: safetensors and JSON, written aside and renamed, so that one is there whole or not at all.

RUN/checkpoints/step-N/{model.safetensors, optimizer.safetensors}
"""

import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mim3d.errors import CheckpointError
from mim3d.run_files import CHECKPOINTS, CROSSVAL, WEIGHTS
from mim3d.train.loop import State

KEPT = 2
"""Checkpoints kept of a run: the newest, and one before it."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter that it has changed."""
_REMEDY = "restore it, or delete the folder of that checkpoint: --resume then goes on from the one before it"
_FOLDER = "step-"
"""How the names of checkpoints begin; a number follows."""


def save_checkpoint(run: Path, state: State, model: nn.Module) -> Path:
    """Write weights, optimiser and step to RUN/checkpoints/step-N, and drop older checkpoints."""
    folder = run / CHECKPOINTS / f"{_FOLDER}{state.step}"
    if folder.exists():
        return folder
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_weights(model, aside / "model.safetensors")
    save_file(_optimizer_tensors(state.optimizer), aside / "optimizer.safetensors")
    _sync(aside)
    aside.rename(folder)
    for old in checkpoints_of(run)[:-KEPT]:
        shutil.rmtree(old)
    return folder


def latest_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run, None if it has none."""
    found = checkpoints_of(run)
    return found[-1] if found else None


def step_of(checkpoint: Path) -> int:
    """Optimiser steps done when a checkpoint was saved."""
    return int(checkpoint.name.removeprefix(_FOLDER))


def load_checkpoint(folder: Path, state: State, model: nn.Module) -> None:
    """Put back weights, optimiser and step.

    Raises:
        CheckpointError: If a file is missing or damaged, or of another architecture.
    """
    load_weights(model, folder / "model.safetensors")
    stored = read_tensors(folder / "optimizer.safetensors")
    described = state.optimizer.state_dict()
    described["state"] = {}
    for index in (number for group in described["param_groups"] for number in group["params"]):
        moments = {key: stored.pop(f"{index}.{key}") for key in MOMENTS if f"{index}.{key}" in stored}
        if moments:
            described["state"][index] = moments
    if stored:
        raise CheckpointError(f"{folder}: optimizer.safetensors is of another optimiser; {_REMEDY}")
    state.optimizer.load_state_dict(described)
    state.step = step_of(folder)


def finished_weights(run: Path) -> Path:
    """The file of a finished run's weights, or of those of one of its checkpoints.

    Raises:
        CheckpointError: If there is none.
    """
    weights = run / ("model.safetensors" if run.parent.name == CHECKPOINTS else WEIGHTS)
    if not weights.exists():
        remedy = "finish the run with --resume"
        if (run / CROSSVAL).exists():
            remedy = "it is a cross-validation: name one of its runs, e.g. fold-0-seed-0"
        raise CheckpointError(f"{run}: holds no {weights.name}; {remedy}")
    return weights


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights of a model as one safetensors file, whole or not at all."""
    aside = path.with_name(f".{path.name}.partial")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, aside)
    aside.rename(path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model from a safetensors file of the same architecture.

    Raises:
        CheckpointError: If the file is damaged, or a tensor is missing, unexpected or of another shape.
    """
    stored, own = read_tensors(path), model.state_dict()
    wrong = sorted(stored.keys() ^ own.keys())
    wrong += [name for name, t in own.items() if name in stored and stored[name].shape != t.shape]
    if wrong:
        some = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        raise CheckpointError(
            f"{path}: of another architecture: {len(wrong)} tensors are missing, unexpected or of another "
            f"shape ({some}), the model has {len(own)}; use the configuration that the run was made with"
        )
    model.load_state_dict(stored)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, by name.

    Raises:
        CheckpointError: If there is no such file, or it is damaged.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; {_remedy(path)}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error}); {_remedy(path)}") from None
    return tensors


def checkpoints_of(run: Path) -> list[Path]:
    """The checkpoints that a run has kept, oldest first."""
    found = (run / CHECKPOINTS).glob(f"{_FOLDER}*")
    return sorted((path for path in found if path.name.removeprefix(_FOLDER).isdecimal()), key=step_of)


def _remedy(path: Path) -> str:
    of_checkpoint = path.parent.name.startswith(_FOLDER)
    return _REMEDY if of_checkpoint else "restore it, or copy the run folder again"


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, values in state.items() for key, value in values.items()}


def _sync(folder: Path) -> None:
    """Have the disk hold every file of a folder before it gets its final name."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
