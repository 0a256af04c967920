"""Which settings a run begins with: those of a preset, of a file, of the run itself, or of the weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.config_file import Config, read_config, read_run_config
from mim3d.errors import ConfigError
from mim3d.presets import FINETUNE, finetune_preset, pretrain_preset


def pretrain_settings(
    run: Path,
    preset: str | None,
    config: PretrainConfig | Path | None,
    *,
    resume: bool,
    init: Path | None = None,
) -> PretrainConfig:
    """Preset or configuration; a resumed run that names neither brings its own, else the weights theirs.

    Raises:
        ConfigError: If both are named, the preset is unknown or the file is no such configuration.
    """
    own = resume and (run / "config.json").exists()
    if init is not None and preset is None and config is None and not own:
        config = init / "config.json"
    return _resolve(run, preset, config, pretrain_preset, PretrainConfig, resume=resume)


def finetune_settings(
    run: Path, init: Path | None, preset: str | None, config: FinetuneConfig | Path | None, *, resume: bool
) -> FinetuneConfig:
    """Preset or configuration; where none is named, the weights bring the sizes they were trained with.

    Raises:
        CheckpointError: If `init` is no run folder.
        ConfigError: If both are named, the preset is unknown or the file is no such configuration.
    """
    named = preset is not None or config is not None or (resume and (run / "config.json").exists())
    if named or init is None:
        return _resolve(run, preset, config, finetune_preset, FinetuneConfig, resume=resume)
    theirs = read_run_config(init)
    if theirs.preset not in FINETUNE:
        raise ConfigError(
            f"{init}: began with preset {theirs.preset!r}, for which there are no fine-tuning settings "
            f"(there are: {', '.join(FINETUNE)}); give a configuration"
        )
    nested = theirs.nesting if isinstance(theirs, PretrainConfig) else theirs
    return replace(
        finetune_preset(theirs.preset),
        architecture=theirs.architecture,
        window=theirs.window,
        scaling=theirs.scaling,
        crop=nested.crop,
        patch=nested.patch,
    )


def _resolve(
    run: Path,
    preset: str | None,
    config: Config | Path | None,
    presets: Callable[[str], Config],
    kind: type[Config],
    *,
    resume: bool,
) -> Config:
    """The settings of a preset, a configuration, or, for a resumed run that names neither, of the run itself.

    Raises:
        ConfigError: If both are named, the preset is unknown or the file is no configuration of this kind.
    """
    if config is not None and preset is not None:
        raise ConfigError(f"preset {preset!r} and a configuration were both given; name one of them")
    if config is None and preset is None and resume and (run / "config.json").exists():
        config = run / "config.json"
    if isinstance(config, Path):
        return read_config(config, kind)
    return presets(preset or "base") if config is None else config
