"""What a resumed run began with, compared with what is asked for now."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.config_file import RunConfig, read_config
from mim3d.errors import ConfigError
from mim3d.train.run_folder import read_json

Settings = TypeVar("Settings", PretrainConfig, FinetuneConfig, ClassifyConfig)


def refuse_other_settings(run: Path, settings: RunConfig) -> None:
    """Check that all but `runtime` and the number of steps is as it was.

    Raises:
        ConfigError: If it is not, or the run's configuration cannot be read.
    """
    read: Any = read_config  # of which kind is not known here
    begun = asdict(read(run / "config.json", type(settings)))
    asked = asdict(settings)
    for group in (begun, asked):
        del group["runtime"], group["optimisation"]["steps"]
    other = [name for name in begun if begun[name] != asked[name]]
    if other:
        name = other[0]
        raise ConfigError(
            f"{run}: begun with {name} {_shown(begun[name], asked[name])}, asked for now is "
            f"{_shown(asked[name], begun[name])}; leave that setting out to go on, or name a new folder"
        )


def changed_origin(run: Path, origin: dict[str, Any]) -> list[str]:
    """Warnings on data and threads that are not those that the run began with.

    Raises:
        CheckpointError: If the run's provenance.json is missing or damaged.
    """
    begun = read_json(run / "provenance.json")
    return [
        f"{run} was begun with {meaning} ({name} {begun.get(name)}, now {origin[name]})"
        for name, meaning in (
            ("catalog", "another state of the store"),
            ("threads", "another number of threads"),
        )
        if begun.get(name) != origin[name]
    ]


def _shown(value: Any, other: Any) -> Any:
    """Of a group of settings only those that differ from another group's."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {name: _shown(item, other[name]) for name, item in value.items() if item != other[name]}
    return value
