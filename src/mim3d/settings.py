"""Which settings a run begins with: those of a preset, of a file, of the run itself, or of the weights."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.config_file import Config, RunConfig, read_config, read_run_config
from mim3d.errors import ConfigError
from mim3d.geometry import Triple
from mim3d.presets import CLASSIFY, FINETUNE, classify_preset, finetune_preset, pretrain_preset
from mim3d.run_files import CONFIG

TaskSettings = TypeVar("TaskSettings", FinetuneConfig, ClassifyConfig)


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
    own = resume and (run / CONFIG).exists()
    if init is not None and preset is None and config is None and not own:
        config = init / CONFIG
    return _resolve(run, preset, config, pretrain_preset, PretrainConfig, resume=resume)


def finetune_settings(
    run: Path, init: Path | None, preset: str | None, config: FinetuneConfig | Path | None, *, resume: bool
) -> FinetuneConfig:
    """Preset or configuration; where none is named, the weights bring the sizes they were trained with.

    Those of a file, which is no run folder, bring none.

    Raises:
        CheckpointError: If `init` is no run folder, and no file.
        ConfigError: If both are named, the preset is unknown or the file is no such configuration.
    """
    if init is None or init.is_file() or _is_named(run, preset, config, resume=resume):
        return _resolve(run, preset, config, finetune_preset, FinetuneConfig, resume=resume)
    theirs = _weights_config(init, FINETUNE)
    return replace(sized(finetune_preset(theirs.preset), theirs), crop=crop_of(theirs))


def classify_settings(
    run: Path, init: Path | None, preset: str | None, config: ClassifyConfig | Path | None, *, resume: bool
) -> ClassifyConfig:
    """Preset or configuration; where none is named, the weights bring the sizes they were trained with.

    Raises:
        CheckpointError: If `init` is no run folder.
        ConfigError: If both are named, the preset is unknown or the file is no such configuration.
    """
    if init is None or _is_named(run, preset, config, resume=resume):
        return _resolve(run, preset, config, classify_preset, ClassifyConfig, resume=resume)
    theirs = _weights_config(init, CLASSIFY)
    return sized(classify_preset(theirs.preset), theirs)


def sized(settings: TaskSettings, theirs: RunConfig) -> TaskSettings:
    """Settings of a task for the encoder of a run: its sizes, and intensities as it learnt them."""
    return replace(
        settings,
        architecture=theirs.architecture,
        window=theirs.window,
        scaling=theirs.scaling,
        patch=patch_of(theirs),
    )


def patch_of(config: RunConfig) -> Triple:
    """Voxels of one token of a run's encoder."""
    return config.nesting.patch if isinstance(config, PretrainConfig) else config.patch


def crop_of(config: RunConfig) -> Triple:
    """Voxels that a run's encoder saw at once at the working grid's resolution.

    What a classifier sees is a whole volume, made to fit: then it is the crop of segmentation's preset.

    Raises:
        ConfigError: If that preset is unknown.
    """
    if isinstance(config, ClassifyConfig):
        return finetune_preset(config.preset).crop
    return config.nesting.crop if isinstance(config, PretrainConfig) else config.crop


def _is_named(run: Path, preset: str | None, config: Config | Path | None, *, resume: bool) -> bool:
    """Whether settings come from elsewhere than the weights."""
    return preset is not None or config is not None or (resume and (run / CONFIG).exists())


def _weights_config(init: Path, presets: Mapping[str, object]) -> RunConfig:
    """The configuration of the run that weights come from, of a preset that tasks have too."""
    theirs = read_run_config(init)
    if theirs.preset not in presets:
        raise ConfigError(
            f"{init}: began with preset {theirs.preset!r}, for which there are no fine-tuning settings "
            f"(there are: {', '.join(presets)}); give a configuration"
        )
    return theirs


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
    if config is None and preset is None and resume and (run / CONFIG).exists():
        config = run / CONFIG
    if isinstance(config, Path):
        return read_config(config, kind)
    return presets(preset or "base") if config is None else config
