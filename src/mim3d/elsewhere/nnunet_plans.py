"""nnU-Net's plans of a data set, changed so that an encoder sees what it learnt from.

Names of keys and of classes are nnU-Net's (version 2.8). Its arrays are (Z, Y, X); plans are in that order.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mim3d.config import Architecture, FinetuneConfig
from mim3d.config_file import RunConfig
from mim3d.errors import ConfigError
from mim3d.geometry import Triple
from mim3d.presets import FINETUNE, finetune_preset
from mim3d.settings import crop_of, patch_of
from mim3d.train.run_folder import write_json

PLANS, STANDARD = "nnUNetMim3dPlans", "nnUNetPlans"
CONFIGURATION = "3d_fullres"
NETWORK = "mim3d.elsewhere.nnunet_network.NnunetSegmenter"
READER = "NibabelIOWithReorient"
"""The one of nnU-Net's readers that turns volumes to RAS+, as the encoder saw them."""
BATCH_SIZE = 2
"""Of a patch as large as in pre-training; nnU-Net plans its own for its own network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """What matters of an encoder to nnU-Net."""

    architecture: Architecture
    patch: Triple
    """Voxels of a token."""
    crop: Triple
    """Voxels."""
    feature_size: int
    """Channels of the decoder at full resolution."""
    preprocessing: dict[str, Any]

    @property
    def is_ct(self) -> bool:
        """Whether intensities are HU."""
        return bool(self.preprocessing.get("modality") == "CT")


def learnt(config: RunConfig, preprocessing: dict[str, Any]) -> Learnt:
    """What a run's files say."""
    preset = config.preset if config.preset in FINETUNE else "base"
    own = config if isinstance(config, FinetuneConfig) else finetune_preset(preset)
    return Learnt(
        architecture=config.architecture,
        patch=patch_of(config),
        crop=crop_of(config),
        feature_size=own.feature_size,
        preprocessing=preprocessing,
    )


def write_plans(dataset: Path, encoder: Learnt, *, planned: bool, adapt: bool) -> Path:
    """Write nnUNetMim3dPlans.json beside the nnUNetPlans.json that nnU-Net made; give its path.

    Args:
        dataset: Folder of a data set within nnU-Net's folder of preprocessed data.
        encoder: What it learnt from.
        planned: Keep the spacing and, rounded to whole tokens, the patch that nnU-Net planned.
        adapt: Take another modality or number of channels than the encoder learnt from.

    Raises:
        ConfigError: If there are no plans, no full-resolution configuration in them, or the data set has
            other channels than the encoder.
    """
    plans, said = (_read(dataset, name) for name in (f"{STANDARD}.json", "dataset.json"))
    if CONFIGURATION not in plans.get("configurations", {}):
        raise ConfigError(f"{dataset}: its plans have no {CONFIGURATION}, which the encoder needs; plan it")
    encoder = _adapted(encoder, said) if adapt else encoder
    _require_channels(dataset, said, encoder)
    path = dataset / f"{PLANS}.json"
    write_json(path, _changed(plans, encoder, planned=planned))
    return path


def _read(dataset: Path, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads((dataset / name).read_text()))
    except (OSError, ValueError, TypeError):
        raise ConfigError(
            f"{dataset}: has no readable {name}; name the data set's folder within nnUNet_preprocessed, "
            "after `nnUNetv2_extract_fingerprint` and `nnUNetv2_plan_experiment`"
        ) from None


def _adapted(encoder: Learnt, said: dict[str, Any]) -> Learnt:
    """The encoder as if it had learnt from the data set's channels."""
    names = list(said.get("channel_names", {}).values())
    modality = "CT" if all(map(_is_ct, names)) else "MR"
    return replace(
        encoder,
        architecture=replace(encoder.architecture, channels=len(names)),
        preprocessing=encoder.preprocessing | {"modality": modality},
    )


def _is_ct(name: object) -> bool:
    return str(name).casefold() == "ct"


def _require_channels(dataset: Path, said: dict[str, Any], encoder: Learnt) -> None:
    names = list(said.get("channel_names", {}).values())
    count = encoder.architecture.channels
    if len(names) != count:
        raise ConfigError(
            f"{dataset}: has {len(names)} channels ({', '.join(names)}), but the encoder learnt from "
            f"{count}; use an encoder of as many, or --adapt"
        )
    if said.get("file_ending") not in (".nii", ".nii.gz"):
        raise ConfigError(
            f"{dataset}: files end in {said.get('file_ending')}, but nnU-Net turns only .nii and .nii.gz to "
            "the encoder's orientation; convert them"
        )
    if encoder.is_ct != all(map(_is_ct, names)):
        modality = encoder.preprocessing.get("modality")
        raise ConfigError(
            f"{dataset}: its channel is {', '.join(names)}, but the encoder learnt from {modality}; use an "
            "encoder of the same modality, mend channel_names in dataset.json, or --adapt"
        )


def _changed(plans: dict[str, Any], encoder: Learnt, *, planned: bool) -> dict[str, Any]:
    own = deepcopy(plans)
    back = plans["transpose_backward"]
    shape, spacing = (
        [plans[f"original_median_{what}_after_transp"][axis] for axis in back]
        for what in ("shape", "spacing")
    )
    theirs = plans["configurations"][CONFIGURATION]
    configuration = _configuration(theirs, back, encoder, planned=planned)
    configuration["median_image_size_in_voxels"] = [
        n * s / t for n, s, t in zip(shape, spacing, configuration["spacing"], strict=True)
    ]
    own |= {
        "plans_name": PLANS,
        "image_reader_writer": READER,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "original_median_shape_after_transp": shape,
        "original_median_spacing_after_transp": spacing,
        "configurations": {CONFIGURATION: configuration},
    }
    if encoder.is_ct:
        window = encoder.preprocessing["window"]
        own["foreground_intensity_properties_per_channel"] = {
            channel: properties | _as_statistics(window["low"], window["high"])
            for channel, properties in plans["foreground_intensity_properties_per_channel"].items()
        }
    return own


def _as_statistics(low: float, high: float) -> dict[str, float]:
    """Statistics with which nnU-Net's (clip(x) - mean) / std is the encoder's window, to [0, 1]."""
    return {"percentile_00_5": low, "percentile_99_5": high, "mean": low, "std": high - low}


def _configuration(
    theirs: dict[str, Any], back: Sequence[int], encoder: Learnt, *, planned: bool
) -> dict[str, Any]:
    """The full-resolution configuration, axes (Z, Y, X)."""
    learnt_spacing = encoder.preprocessing.get("spacing")
    spacing = [theirs["spacing"][axis] for axis in back]
    size = list(reversed(encoder.crop))
    if planned or learnt_spacing is None:
        tokens = list(reversed(encoder.patch))
        size = [
            max(round(theirs["patch_size"][axis] / side), 1) * side
            for axis, side in zip(back, tokens, strict=True)
        ]
    else:
        spacing = list(reversed(learnt_spacing))
    return theirs | {
        "data_identifier": f"{PLANS}_{CONFIGURATION}",
        "spacing": spacing,
        "patch_size": size,
        "batch_size": theirs["batch_size"] if planned else BATCH_SIZE,
        "normalization_schemes": [
            "CTNormalization" if encoder.is_ct else "ZScoreNormalization"
            for _ in range(encoder.architecture.channels)
        ],
        "resampling_fn_data_kwargs": theirs["resampling_fn_data_kwargs"]
        | {"order": 1, "force_separate_z": False},
        "architecture": {
            "network_class_name": NETWORK,
            "arch_kwargs": {
                "architecture": asdict(encoder.architecture),
                "patch": encoder.patch,
                "crop": list(reversed(size)),
                "feature_size": encoder.feature_size,
                "standardised": not encoder.is_ct,
            },
            "_kw_requires_import": [],
        },
    }
