"""What every training recipe does with its run folder: begin, recognise as finished, end."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from torch import nn

from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.config_file import read_config, write_config
from mim3d.data.store import Store
from mim3d.errors import ConfigError
from mim3d.train.checkpoint import save_weights
from mim3d.train.run_folder import open_run, provenance, write_json

Settings = TypeVar("Settings", PretrainConfig, FinetuneConfig)


def say(text: str) -> None:
    """One line for the user, on standard error."""
    Console(stderr=True).print(text, soft_wrap=True, highlight=False, markup=False)


def overridden(settings: Settings, *, steps: int | None, seed: int | None) -> Settings:
    """The settings with the number of steps and the seed, where given."""
    if steps is not None:
        settings = replace(settings, optimisation=replace(settings.optimisation, steps=steps))
    return settings if seed is None else replace(settings, seed=seed)


def begin_run(
    run: Path, settings: Settings, store: Store, command: str, *, resume: bool, init: Path | None = None
) -> Path | None:
    """Make or reopen a run folder and write down what is asked, from which data, on which machine.

    Returns:
        The checkpoint to go on from, None to begin.

    Raises:
        CheckpointError: If the folder holds a checkpoint and `resume` was not asked for, or is no run folder.
        ConfigError: If the run was begun with other settings.
    """
    checkpoint = open_run(run, resume=resume)
    origin = provenance(command, settings.seed, store.catalog.hash)
    if init is not None:
        origin["init"] = init.name
    if checkpoint is not None:
        _refuse_other_settings(run, settings)
        _compare_origin(run, origin)
    else:
        write_json(run / "provenance.json", origin)
    write_json(run / "preprocessing.json", preprocessing(settings, store))
    write_config(settings, run / "config.json")
    return checkpoint


def is_finished(run: Path, checkpoint: Path | None, settings: Settings) -> bool:
    """Whether all steps are done and the weights are written."""
    done = (
        checkpoint is not None and int(checkpoint.name.removeprefix("step-")) >= settings.optimisation.steps
    )
    return done and (run / "weights.safetensors").exists()


def finish_run(run: Path, model: nn.Module) -> None:
    """Write the weights: from now on the run counts as finished."""
    save_weights(model, run / "weights.safetensors")
    say(f"{run}: done")


def preprocessing(settings: Settings, store: Store) -> dict[str, Any]:
    """What was done to a scan before the network saw it; it travels with the weights."""
    return {
        "orientation": "RAS",
        "unit": "HU",
        "modality": store.catalog.cases[0].modality,
        "channels": settings.architecture.channels,
        "window": asdict(settings.window),
        "spacing": None if store.spacing is None else list(store.spacing),
    }


def _refuse_other_settings(run: Path, settings: Settings) -> None:
    """All but `runtime` and the number of steps must be as it was."""
    begun = asdict(read_config(run / "config.json", type(settings)))
    asked = asdict(settings)
    for group in (begun, asked):
        del group["runtime"], group["optimisation"]["steps"]
    other = [name for name in begun if begun[name] != asked[name]]
    if other:
        name = other[0]
        raise ConfigError(
            f"{run} was begun with {name} {begun[name]}, asked for now is {asked[name]}; "
            "leave that setting out to go on, or name a new folder"
        )


def _compare_origin(run: Path, origin: dict[str, Any]) -> None:
    begun = json.loads((run / "provenance.json").read_text())
    for name, meaning in (
        ("catalog", "another state of the store"),
        ("threads", "another number of threads"),
    ):
        if begun.get(name) != origin[name]:
            say(f"warning: {run} was begun with {meaning} ({name} {begun.get(name)}, now {origin[name]})")
