"""What a resumed run began with, compared with what is asked for now."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.config_file import RunConfig, read_config
from mim3d.errors import ConfigError, worded
from mim3d.train.run_folder import read_json

Settings = TypeVar("Settings", PretrainConfig, FinetuneConfig, ClassifyConfig)


def refuse_other_settings(run: Path, settings: RunConfig) -> None:
    """Check that all but `runtime` and the number of steps is as it was.

    Raises:
        ConfigError: If it is not, or the run's configuration cannot be read.
    """
    read: Any = read_config  # of which kind is not known here
    begun = _by_flag(asdict(read(run / "config.json", type(settings))))
    asked = _by_flag(asdict(settings))
    kept = [name for name in begun if name != "optimisation.steps" and not name.startswith("runtime.")]
    other = [name for name in kept if begun[name] != asked[name]]
    if other:
        name, more = other[0], f" ({len(other) - 1} more settings differ)" if other[1:] else ""
        raise ConfigError(
            f"{run}: begun with {name} {worded(begun[name])}, asked for now is {worded(asked[name])}{more}; "
            "leave that out to go on, or name a new folder"
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


def _by_flag(settings: dict[str, Any], group: str = "") -> dict[str, Any]:
    """Settings by the names of their flags, e.g. `selection.folds`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _by_flag(value, f"{group}{name}.") if isinstance(value, dict) else {f"{group}{name}": value}
    return found
