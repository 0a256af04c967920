"""Configurations as JSON, and back: what is in a run folder can be loaded again."""

import json
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.errors import CheckpointError, ConfigError
from mim3d.run_files import CHECKPOINTS, CONFIG

Config = TypeVar("Config", PretrainConfig, FinetuneConfig, ClassifyConfig)
RunConfig = PretrainConfig | FinetuneConfig | ClassifyConfig
"""Of a run of any kind."""

KINDS: dict[type, str] = {
    PretrainConfig: "pretrain",
    FinetuneConfig: "finetune",
    ClassifyConfig: "classify",
}


COMMANDS = {
    "pretrain": "`pretrain`",
    "finetune": "`finetune segmentation`",
    "classify": "`finetune classification`",
}
"""What makes each kind of run."""


def write_config(config: RunConfig, path: Path) -> None:
    """Write a configuration as JSON, whole or not at all."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps({"kind": KINDS[type(config)], **asdict(config)}, indent=1) + "\n")
    aside.rename(path)


def read_config(path: Path, kind: type[Config]) -> Config:
    """Read a configuration of the given kind.

    Raises:
        ConfigError: If there is no such file, it is of another kind, or a setting is unknown or cannot be.
        GeometryError: If its sizes do not fit together.
    """
    found, values = _read(path)
    if found != KINDS[kind]:
        ours, theirs = (COMMANDS.get(one, one) for one in (KINDS[kind], found))
        raise ConfigError(f"{path}: of {theirs}, where one of {ours} is needed; name another folder or file")
    config: Config = build(kind, values, path.name)
    return config


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """What kind of run a file configures, and its settings."""
    try:
        values = json.loads(path.read_text())
        return values.pop("kind"), values
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; a run folder holds config.json") from None
    except (ValueError, AttributeError, KeyError, TypeError, OSError):
        raise ConfigError(f"{path}: not a configuration; give the config.json of a run") from None


def build(kind: Any, value: Any, where: str) -> Any:
    """`value`, as JSON gives it, as the type `kind`: a dataclass, a tuple, a dict, a choice or a plain value.

    Raises:
        ConfigError: If it is of another type, has a setting that `kind` does not know, or lacks one.
    """
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if get_origin(kind) in (UnionType, Union):  # `X | None`
        return None if value is None else build(get_args(kind)[0], value, where)
    of_origin = {tuple: _build_tuple, dict: _build_dict, Literal: _build_choice}.get(get_origin(kind))
    return of_origin(get_args(kind), value, where) if of_origin else _build_plain(kind, value, where)


def _build_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where} must be of type {kind.__name__}, got {value!r}")
    return value


def _build_choice(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in allowed:
        raise ConfigError(f"{where} must be one of {', '.join(map(str, allowed))}, got {value!r}")
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a group of settings, got {value!r}")
    types = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    unknown = sorted(value.keys() - known)
    if unknown:
        raise ConfigError(f"{where} has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}")
    needed = {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}
    if needed - value.keys():
        raise ConfigError(f"{where} lacks {', '.join(sorted(needed - value.keys()))}; add it")
    return kind(**{name: build(types[name], item, f"{where}: {name}") for name, item in value.items()})


def _build_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{where} must be a list, got {value!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(build(kinds[0], item, where) for item in value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where} needs {len(kinds)} values, got {len(value)}: {value}")
    return tuple(build(kind, item, where) for kind, item in zip(kinds, value, strict=True))


def _build_dict(kinds: tuple[Any, ...], value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be an object of names, got {value!r}")
    return {name: build(kinds[1], item, f"{where}: {name}") for name, item in value.items()}


def read_run_config(run: Path) -> RunConfig:
    """The configuration of a run of any kind.

    Raises:
        CheckpointError: If it is no run folder.
        ConfigError: If the configuration cannot be read.
        GeometryError: If its sizes do not fit together.
    """
    path = run / CONFIG
    if not path.exists():
        what = "no run folder (it has no config.json)" if run.is_dir() else "no such folder"
        name = run.parent.parent if run.parent.name == CHECKPOINTS else "the folder of a run"
        raise CheckpointError(f"{run}: {what}; name {name}")
    kind, _ = _read(path)
    if kind == KINDS[FinetuneConfig]:
        return read_config(path, FinetuneConfig)
    if kind == KINDS[ClassifyConfig]:
        return read_config(path, ClassifyConfig)
    return read_config(path, PretrainConfig)
