"""Files with weights of the authors' release, or of others, read without running anything that they hold."""

import argparse
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mim3d.errors import CheckpointError
from mim3d.run_files import CONFIG

HEADS = ("num_heads", "decoder_heads")
"""Sizes that no tensor shows: attention heads of the encoder and of the decoder."""
HOLDERS = ("model", "state_dict")
"""Where a checkpoint has its tensors: the authors' release, and MONAI's published weights."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReleasedFile:
    """What a file holds."""

    tensors: dict[str, Tensor]
    """By released name (`patch_embed1.proj.weight`, ...)."""
    heads: dict[str, int]
    """Those of `HEADS` that the file itself tells."""


def read_released(path: Path) -> ReleasedFile:
    """The tensors of a released checkpoint, or of a safetensors file where their names begin with `model.`.

    A checkpoint is what `torch.save` wrote: a dictionary with the tensors under one of `HOLDERS`, or only the
    tensors.

    Raises:
        CheckpointError: If there is no such file, it is damaged, holds what could run code when read, or no
            tensors by name.
    """
    if path.is_dir():
        if (path / CONFIG).exists():
            raise CheckpointError(
                f"{path}: is a run folder of mim3d already; use it as it is, e.g. as `--init`"
            )
        raise CheckpointError(f"{path}: is a folder; name the checkpoint in it")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; name a checkpoint")
    tensors, heads = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_pickled(path), {})
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors by name; name a checkpoint")
    named = {
        name.removeprefix("module."): tensor for name, tensor in tensors.items()
    }  # from a parallel model
    return ReleasedFile(tensors=named, heads=heads)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, int]]:
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            ours = [name for name in names if name.startswith("model.")] or names
            tensors = {name.removeprefix("model."): file.get_tensor(name) for name in ours}
            return tensors, _heads_told((file.metadata() or {}).get("config", "{}"))
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error}); copy it again") from None


def _heads_told(config: str) -> dict[str, int]:
    try:
        sizes = json.loads(config)
    except ValueError:
        return {}
    found = {name: sizes.get(name) for name in HEADS} if isinstance(sizes, dict) else {}
    return {name: value for name, value in found.items() if type(value) is int}


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """Tensors only: besides them, `weights_only` admits plain containers, and we the release's `args`."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            # mapped: the optimiser's two thirds of such a file are never read
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except OSError:
        raise
    except Exception as error:  # a damaged pickle fails in whichever way its bytes happen to say
        raise CheckpointError(f"{path}: {_refusal(error)}") from None
    return _named_tensors(content)


def _refusal(error: Exception) -> str:
    unsafe = re.search(r"GLOBAL ([\w.]+)", str(error))
    if unsafe:
        return (
            f"holds {unsafe[1]}, which could run code when read, so nothing was read; save its state "
            "dictionary alone where you trust it"
        )
    return "damaged, or no checkpoint written by torch.save; copy it again"


def _named_tensors(content: Any) -> dict[str, Tensor]:
    for name in HOLDERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    items = content.items() if isinstance(content, Mapping) else ()
    return {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
