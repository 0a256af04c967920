"""A MONAI bundle of a fine-tuned run: its own transforms and windows, our network.

The network is filled from a safetensors file. A bundle's other ways (TorchScript, torch.export) are
deprecated or read by a pickle, and tied to one size of crop. So mim3d must be installed where the bundle
runs; where it cannot be, there is ONNX.

Source: MONAI's bundle specification (names of folders, files and keys), and its config syntax.
"""

from pathlib import Path
from typing import Any

import monai
import torch

from mim3d import __version__
from mim3d.config import FinetuneConfig
from mim3d.config.structures import names, values
from mim3d.elsewhere.folder import write_folder
from mim3d.train.run_folder import write_json

PREPARATION = "mim3d.elsewhere.bundle_steps.PreparedAsLearntd"
INFERER = "mim3d.elsewhere.bundle_steps.EvenWindowsInferer"
WRITER = "mim3d.elsewhere.bundle_steps.MarkedWriter"
LICENCE = """TO BE FILLED IN: the licence of the weights in models/, which may depend on that of the scans
they learnt from. The code of the network is mim3d's, under Apache-2.0.
"""
RUN = """
Run it in this folder, where MONAI, fire, pytorch-ignite and mim3d are installed:

```sh
python -m monai.bundle run --config_file configs/inference.json --dataset_dir SCANS --output_dir OUT
```

SCANS is a folder of NIfTI files. {files} Label maps appear in OUT
on each scan's own grid; `label_values` in configs/metadata.json says what their values mean. A scan is
prepared as for `mim3d predict`, windows lie in the same places, and logits go back to the scan's grid in the
same way, so the labels are the same. MONAI's own transforms and inferers may take the place of those in the
configuration, with labels that differ a little.
"""
ONE_FILE = "Each file is one scan."
SEVERAL_FILES = "Files that end in _0000, _0001, ... are the channels of one scan."


def write_bundle(run: Path, folder: Path, config: FinetuneConfig, said: dict[str, Any], name: str) -> None:
    """Write the bundle.

    Args:
        run: Folder of the fine-tuned run.
        folder: Where to write; must exist.
        config: Of the run.
        said: Its preprocessing.
        name: Of the bundle.

    Raises:
        CheckpointError: If the run is unfinished, or its files are missing or damaged.
    """
    for part in ("configs", "docs", "models"):
        (folder / part).mkdir()
    write_folder(run, folder / "models", f"{name}/models", with_decoder=True)
    (folder / "models" / "README.md").rename(folder / "docs" / "README.md")
    files = ONE_FILE if config.architecture.channels == 1 else SEVERAL_FILES
    with (folder / "docs" / "README.md").open("a") as file:
        file.write("\n## As a MONAI bundle\n" + RUN.format(files=files))
    (folder / "LICENSE").write_text(LICENCE)
    write_json(folder / "configs" / "metadata.json", metadata(config, said, name))
    write_json(folder / "configs" / "inference.json", inference(config, said))


def metadata(config: FinetuneConfig, said: dict[str, Any], name: str) -> dict[str, Any]:
    """What the bundle is, for MONAI's tools."""
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported by mim3d"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.partition("+")[0],
        "required_packages_version": {"mim3d": __version__, "fire": "0.7.1", "pytorch-ignite": "0.5.5"},
        "supported_apps": {},
        "name": name,
        "task": f"Segmentation of {', '.join(names(config.structures))}",
        "description": "A network fine-tuned with mim3d. Not for clinical use.",
        "authors": "TO BE FILLED IN",
        "copyright": "TO BE FILLED IN",
        "intended_use": "Research. Not for clinical use: no diagnosis, treatment or decision may rest on it.",
        "preprocessing": said,
        "label_values": {name: list(own) for name, own in values(config.structures).items()},
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield" if said["modality"] == "CT" else "magnitude",
                    "modality": said["modality"],
                    "num_channels": config.architecture.channels,
                    "spatial_shape": _sides(config),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {str(i): kind for i, kind in enumerate(_modalities(config, said))},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": config.num_outputs,
                    "spatial_shape": _sides(config),
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(i): name for i, name in enumerate(config.outputs)},
                }
            },
        },
    }


def _sides(config: FinetuneConfig) -> list[str] | list[int]:
    """Voxels along each axis, as MONAI writes them: of networks to compare with those of training."""
    return [f"{side}*n" for side in config.patch] if config.network == "mim" else list(config.crop)


def inference(config: FinetuneConfig, said: dict[str, Any]) -> dict[str, Any]:
    """The configuration that `python -m monai.bundle run` runs."""
    channels = config.architecture.channels
    return {
        "imports": [
            "$import glob",
            "$import os",
            "$from pathlib import Path",
            "$import torch",
            "$from mim3d.downstream.segmenter import load_segmenter",
            "$from mim3d.elsewhere.bundle_steps import painted",
        ],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": _datalist(channels),
        "network_def": "$load_segmenter(Path(@bundle_root) / 'models', str(@device))[0]",
        "preprocessing": {"_target_": "Compose", "transforms": _preparation(config, said)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': one} for one in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {"_target_": INFERER, "roi_size": list(config.crop), "overlap": config.overlap},
        "postprocessing": {"_target_": "Compose", "transforms": _conclusion(config)},
        "handlers": [],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network_def",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _datalist(channels: int) -> str:
    if channels == 1:
        return "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii*')))"
    first = "sorted(glob.glob(os.path.join(@dataset_dir, '*_0000.nii*')))"
    return f"$[[one.replace('_0000.nii', f'_{{c:04d}}.nii') for c in range({channels})] for one in {first}]"


def _preparation(config: FinetuneConfig, said: dict[str, Any]) -> list[dict[str, Any]]:
    """From a file to what the network sees."""
    return [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True, "dtype": "$float"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {
            "_target_": PREPARATION,
            "keys": "image",
            "modalities": _modalities(config, said),
            "window": said["window"],
            "scaling": said.get("scaling", "percentiles"),
            "spacing": said["spacing"],
        },
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
    ]


def _conclusion(config: FinetuneConfig) -> list[dict[str, Any]]:
    """From logits to a file: interpolated to the scan's own grid first, decided then."""
    return [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {
            "_target_": "Lambdad",
            "keys": "pred",
            "func": "$painted",
        }
        if config.overlapping
        else {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "",
            "output_dtype": "uint8",
            "separate_folder": False,
            "resample": False,
            "writer": WRITER,
        },
    ]


def _modalities(config: FinetuneConfig, said: dict[str, Any]) -> list[str]:
    return list(said.get("modalities") or [said["modality"]] * config.architecture.channels)
