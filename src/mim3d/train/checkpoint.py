"""Checkpoints: safetensors and JSON, written aside and renamed, so that one is there whole or not at all.

RUN/checkpoints/step-N/{model.safetensors, optimizer.safetensors, state.json}
"""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mim3d.errors import CheckpointError
from mim3d.train.loop import State

KEPT = 2
"""Checkpoints kept of a run: the newest, and one before it."""


def save_checkpoint(run: Path, state: State, model: nn.Module) -> Path:
    """Write weights, optimiser and step to RUN/checkpoints/step-N, and drop older checkpoints."""
    folder = run / "checkpoints" / f"step-{state.step}"
    if folder.exists():
        return folder
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_weights(model, aside / "model.safetensors")
    save_file(_optimizer_tensors(state.optimizer), aside / "optimizer.safetensors")
    (aside / "state.json").write_text(json.dumps({"step": state.step}))
    _sync(aside)
    aside.rename(folder)
    for old in _checkpoints(run)[:-KEPT]:
        shutil.rmtree(old)
    return folder


def latest_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run, None if it has none."""
    found = _checkpoints(run)
    return found[-1] if found else None


def load_checkpoint(folder: Path, state: State, model: nn.Module) -> None:
    """Put back weights, optimiser and step.

    Raises:
        CheckpointError: If a file is damaged, or of another architecture.
    """
    load_weights(model, folder / "model.safetensors")
    stored = read_tensors(folder / "optimizer.safetensors")
    described = state.optimizer.state_dict()
    described["state"] = {}
    for name, tensor in stored.items():
        index, key = name.split(".")
        described["state"].setdefault(int(index), {})[key] = tensor
    state.optimizer.load_state_dict(described)
    state.step = int(json.loads((folder / "state.json").read_text())["step"])


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
        raise CheckpointError(
            f"{path.parent.name}/{path.name}: {len(wrong)} of {len(own)} tensors are of another architecture "
            f"({', '.join(wrong[:3])}, ...); use the configuration that the run was made with"
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
        raise CheckpointError(f"{path}: no such file; a finished run holds one") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error}); use an older checkpoint") from None
    return tensors


def _checkpoints(run: Path) -> list[Path]:
    found = (run / "checkpoints").glob("step-*")
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("step-")))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, values in state.items() for key, value in values.items()}


def _sync(folder: Path) -> None:
    """Have the disk hold every file of a folder before it gets its final name."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
