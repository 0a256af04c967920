"""The model card: what weights are, what they learnt from, how to load them; no names of patients."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config.structures import names
from mim3d.config_file import RunConfig, read_run_config
from mim3d.data.intensity import AIR
from mim3d.run_files import METRICS, PREPROCESSING, PROVENANCE
from mim3d.settings import crop_of, patch_of
from mim3d.train.run_folder import read_json, read_metrics

TO_FILL_IN = "TO BE FILLED IN"
SPLITS = ("train", "val", "test")
LAST_STEPS = 100
"""Over which the loss that was reached is averaged."""
MEMORY = {
    True: "The decoder is included, so that training can go on. A decoder may remember training patients: "
    "share it only where their scans may be shared.",
    False: "Encoder alone. A decoder may remember training patients, so it was left out.",
}
"""What is said, by whether the decoder is in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a run's files say of it."""

    config: RunConfig
    preprocessing: dict[str, Any]
    provenance: dict[str, Any]
    """Empty where it was not kept."""
    reached: str
    """Loss or validation score."""


def facts_of(run: Path) -> Facts:
    """Read a run's files.

    Raises:
        CheckpointError: If it is no run folder, or preprocessing.json is missing or damaged.
        ConfigError: If its configuration cannot be read.
    """
    origin = run / PROVENANCE
    return Facts(
        config=read_run_config(run),
        preprocessing=read_json(run / PREPROCESSING),
        provenance=read_json(origin) if origin.exists() else {},
        reached=_reached(run),
    )


def card(facts: Facts, place: str, *, with_decoder: bool) -> str:
    """The card in Markdown, with the header that hubs read.

    Args:
        facts: Of the run.
        place: By which the weights are loaded: a folder's name, or `org/name`.
        with_decoder: Whether the weights hold more than the encoder.
    """
    lines = [
        "---",
        f"license: unknown  # {TO_FILL_IN} by whoever publishes this",
        "library_name: mim3d",
        "tags: [medical-imaging, 3d, self-supervised, mim, feature-extraction]",
        "---",
        "",
        f"# {place}",
        "",
        f"{_kind(facts.config)} {MEMORY[with_decoder]}",
        "",
        "## What it learnt from",
        "",
        *(f"- {name}: {value}" for name, value in _learnt(facts)),
        "",
        "## How to load it",
        "",
        *_use(facts.config, place),
        "",
        f"Volumes are {_scaled(facts.preprocessing)};",
        f"sides are {_sides(facts.config)}.",
        "preprocessing.json says it to programs. Nothing here is a pickle: weights are safetensors.",
        "",
        "## Intended use",
        "",
        "Research on medical images: to begin fine-tuning with, or as fixed features. **Not for clinical",
        "use**: no diagnosis, treatment or decision may rest on it. How it does on scans of other scanners,",
        "countries, ages or diseases than it learnt from is not known.",
        "",
        "## Licence",
        "",
        f"{TO_FILL_IN}: of the weights, which may depend on that of the scans they learnt from.",
        "",
    ]
    return "\n".join(lines)


def _kind(config: RunConfig) -> str:
    sizes = f"channels {_joined(config.architecture.dims)}, blocks {_joined(config.architecture.depths)}"
    if isinstance(config, FinetuneConfig):
        return f"Weights of a network fine-tuned to segment {', '.join(names(config.structures))} ({sizes})."
    if isinstance(config, ClassifyConfig):
        return f"Weights of a network fine-tuned to tell {', '.join(config.classes)} apart ({sizes})."
    return f"Weights of an encoder pre-trained by MiM, Mask in Mask ({sizes})."


def _use(config: RunConfig, place: str) -> list[str]:
    """How the weights are put to use: networks to compare with have no encoder of ours."""
    if _is_other(config):
        return ["```sh", f"mim3d predict {place} scan.nii.gz segmented.nii.gz", "```"]
    return [
        "```python",
        "import mim3d",
        f'encoder = mim3d.load_encoder("{place}")',
        "maps = encoder.features(volume)  # (B, C, X, Y, Z) to maps at four strides",
        "```",
    ]


def _sides(config: RunConfig) -> str:
    if _is_other(config):
        return f"{_joined(crop_of(config))} voxels, as in training"
    return f"multiples of {_joined(patch_of(config))} voxels"


def _is_other(config: RunConfig) -> bool:
    return isinstance(config, FinetuneConfig) and config.network != "mim"


def _learnt(facts: Facts) -> Iterator[tuple[str, object]]:
    config, said, origin = facts.config, facts.preprocessing, facts.provenance
    cases = origin.get("cases", {})
    counts = [f"{cases[split]} {split}" for split in SPLITS if split in cases]
    yield "cases, by split", f"{', '.join(counts)}; learnt from train alone" if counts else "not recorded"
    yield "modality", "/".join(said.get("modalities") or [str(said.get("modality"))])
    yield "channels", said.get("channels")
    spacing = said.get("spacing")
    yield "spacing", "each scan's own" if spacing is None else f"{_joined(spacing)} mm (X, Y, Z)"
    yield "intensities", f"{_intensities(said)}, to 0 and 1"
    yield "orientation", f"{said.get('orientation')}+, axes (X, Y, Z)"
    yield "crop", f"{_joined(crop_of(config))} voxels"
    steps = f"{config.optimisation.steps:,}, {config.optimisation.batch_size} samples each"
    yield "steps", steps if counts else "not recorded"
    yield "reached", facts.reached
    if origin.get("sha256"):
        yield "imported from", f"a released checkpoint, SHA-256 {origin['sha256']}"
    yield "machine", origin.get("machine", "not recorded")
    yield "made with", f"mim3d {origin.get('mim3d', '?')}, PyTorch {origin.get('torch', '?')}"


def _reached(run: Path) -> str:
    best = run / "best.json"
    if best.exists():
        found = json.loads(best.read_text())
        (measure,) = found.keys() - {"step"}
        return f"{measure.replace('_', ' ')} {found[measure]:.4f} at step {found['step']}"
    losses = [float(row["loss"]) for row in read_metrics(run / METRICS)][-LAST_STEPS:]
    return (
        f"loss {sum(losses) / len(losses):.4f}, mean of the last {len(losses)} steps"
        if losses
        else "not recorded"
    )


def _scaled(said: dict[str, Any]) -> str:
    scaled = f"intensities {_intensities(said)} scaled to [0, 1] and clipped"
    return f"in {said.get('orientation')}+ orientation, {scaled}"


def _intensities(said: dict[str, Any]) -> str:
    """What becomes 0 and 1."""
    if said.get("intensity") == "min_max":
        return f"from {AIR if said.get('modality') == 'CT' else 0} to the highest in each case's body"
    if said.get("modality") != "CT":
        return f"by `{said.get('scaling')}` of each case"
    return f"from {said['window']['low']:g} to {said['window']['high']:g} {said.get('unit')}"


def _joined(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)
