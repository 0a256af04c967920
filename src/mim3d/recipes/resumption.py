"""What a resumed run began with, compared with what is asked for now."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mim3d.config_file import RunConfig, read_config
from mim3d.errors import ConfigError, worded
from mim3d.run_files import CONFIG, PROVENANCE
from mim3d.train.run_folder import read_json


def refuse_other_settings(run: Path, settings: RunConfig) -> None:
    """Check that all but `runtime` and the number of steps is as it was.

    Raises:
        ConfigError: If it is not, or the run's configuration cannot be read.
    """
    read: Any = read_config  # of which kind is not known here
    begun = _by_flag(asdict(read(run / CONFIG, type(settings))))
    asked = _by_flag(asdict(settings))
    names = [
        name for name in begun | asked if name != "optimisation.steps" and not name.startswith("runtime.")
    ]
    other = [name for name in names if begun.get(name) != asked.get(name)]
    if other:
        name, more = other[0], f" ({len(other) - 1} more settings differ)" if other[1:] else ""
        raise ConfigError(
            f"{run}: begun with {name} {worded(begun.get(name))}, asked for now is "
            f"{worded(asked.get(name))}{more}; leave that out to go on, or name a new folder"
        )


def changed_origin(run: Path, origin: dict[str, Any]) -> list[str]:
    """Warnings on data and threads that are not those that the run began with.

    Raises:
        CheckpointError: If the run's provenance.json is missing or damaged.
    """
    begun = read_json(run / PROVENANCE)
    return [
        f"{run} was begun with {meaning} ({name} {begun.get(name)}, now {origin[name]})"
        for name, meaning in (
            ("catalog", "another state of the store"),
            ("threads", "another number of threads"),
        )
        if begun.get(name) != origin[name]
    ]


def _by_flag(settings: dict[str, Any], group: str = "") -> dict[str, Any]:
    """Settings by the names of their flags, e.g. `selection.folds`, `nesting.levels.0.masked-ratio`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        flag, inner = f"{group}{name.replace('_', '-')}", value
        if isinstance(value, tuple) and value and isinstance(value[0], dict):
            inner = {str(number): one for number, one in enumerate(value)}
        found |= _by_flag(inner, f"{flag}.") if isinstance(inner, dict) else {flag: inner}
    return found
