"""What every training recipe does with its run folder: reopen, recognise as finished, begin, end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.fabric import Fabric
from torch import nn

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig, Runtime
from mim3d.config_file import RunConfig, write_config
from mim3d.data.case_channels import modalities_of
from mim3d.data.catalog import Case, column_of
from mim3d.data.place import name_at
from mim3d.data.store import Store
from mim3d.downstream.hub import name_of
from mim3d.errors import ConfigError, StoreError
from mim3d.geometry import Triple
from mim3d.model.compiled import COMPILERS, compile_blocks
from mim3d.recipes.messages import say
from mim3d.recipes.resumption import changed_origin, refuse_other_settings
from mim3d.run_files import CONFIG, PREPROCESSING, PROVENANCE
from mim3d.train.checkpoint import step_of
from mim3d.train.run_folder import make_run, open_run, provenance, read_json, write_json

Settings = TypeVar("Settings", PretrainConfig, FinetuneConfig, ClassifyConfig)


def suit(model: nn.Module, runtime: Runtime) -> None:
    """Compile the model's transformer blocks, if asked for and possible; say so if it is not."""
    if runtime.compile and not compile_blocks(model):
        say(f"warning: no C++ compiler ({', '.join(COMPILERS)}); the model is not compiled")


def threads_apart(fabric: Fabric, runtime: Runtime) -> int:
    """Threads that may compute chunks side by side, each with gradients of its own, see `Job.threads`."""
    alone = fabric.device.type == "cpu" and fabric.world_size == 1
    plain = runtime.precision == "32-true" and not runtime.compile
    return torch.get_num_threads() if alone and plain else 1


def say_damage(_case: str, wrong: str) -> None:
    """Tell once of a case whose place others take."""
    say(f"warning: {wrong}; until then others take its place")


def say_mixture(store: Store, cases: Sequence[Case]) -> None:
    """Tell of each store of a mixture how often it is drawn, and from how many cases."""
    counts = Counter(name.partition("/")[0] for name in column_of(cases, "case"))
    total = sum(member.weight for member in store.members if counts[member.name])
    for member in store.members:
        share = member.weight / total if counts[member.name] else 0.0
        warning = "" if share else "warning: "
        say(f"{warning}{member.name}: {share:.1%} of the samples, from {counts[member.name]} cases")


def say_padding(cases: Sequence[Sequence[Case]], size: Triple, what: str) -> None:
    """Tell how many volumes are smaller than what is cut out of them, if any; sizes in voxels."""
    shapes = [shape for some in cases for shape in column_of(some, "shape")]
    small = sum(any(s < e for s, e in zip(shape, size, strict=True)) for shape in shapes)
    if small:
        say(f"{small} of {len(shapes)} volumes are smaller than the {what} of {size} voxels: padded with air")


def overridden(settings: Settings, *, steps: int | None, seed: int | None) -> Settings:
    """The settings with the number of steps and the seed, where given."""
    if steps is not None:
        settings = replace(settings, optimisation=replace(settings.optimisation, steps=steps))
    return settings if seed is None else replace(settings, seed=seed)


def reopen_run(run: Path, settings: RunConfig, *, resume: bool) -> Path | None:
    """The checkpoint to go on from, None to begin; nothing is written.

    Raises:
        CheckpointError: If the folder holds a checkpoint and `resume` was not asked for, or is no run folder.
        ConfigError: If the run was begun with other settings.
    """
    checkpoint = open_run(run, resume=resume)
    if checkpoint is not None:
        refuse_other_settings(run, settings)
    return checkpoint


def require_channels(settings: RunConfig, store: Store, cases: Sequence[Case]) -> None:
    """Refuse an encoder for another number of channels than the cases have; say if modalities differ.

    Raises:
        ConfigError: If the encoder's are others than the cases'.
        StoreError: If cases have different numbers of channels.
    """
    counts = Counter(len(modalities_of(case)) for case in cases)
    if len(counts) > 1:
        found = ", ".join(f"{number} of {channels}" for channels, number in sorted(counts.items()))
        raise StoreError(
            f"{store.path}: cases of different numbers of channels ({found}); one number is needed: prepare "
            "each kind into a store of its own, or choose one channel with `mim3d prepare --channel N`"
        )
    asked, (channels,) = settings.architecture.channels, counts
    if asked != channels:
        adapt = not isinstance(settings, PretrainConfig)
        remedy = ", or adapt pre-trained weights: --transfer.adapt" if adapt else ""
        raise ConfigError(
            f"architecture.channels is {asked}, but cases of the store have {channels}; set "
            f"--architecture.channels {channels}{remedy}"
        )
    kinds = Counter("/".join(modalities_of(case)) for case in cases)
    if len(kinds) > 1:
        found = ", ".join(f"{number} of {kind}" for kind, number in sorted(kinds.items()))
        say(f"warning: cases of different modalities ({found}); preprocessing.json states the first one's")


def with_channels_of(settings: Settings, case: Case) -> Settings:
    """The settings with as many channels as the cases have, where weights are to be adapted to them."""
    channels = len(modalities_of(case))
    if isinstance(settings, PretrainConfig) or not settings.transfer.adapt:
        return settings
    return replace(settings, architecture=replace(settings.architecture, channels=channels))


def is_finished(checkpoint: Path | None, settings: RunConfig, result: Path) -> bool:
    """Whether all steps are done and `result`, the last file that a run writes, is there; then says so."""
    steps = settings.optimisation.steps
    finished = checkpoint is not None and step_of(checkpoint) >= steps and result.exists()
    if finished:
        say(f"{result.parent}: finished, {steps} steps done")
    return finished


def begin_run(
    run: Path,
    settings: RunConfig,
    store: Store,
    checkpoint: Path | None,
    *,
    command: str,
    init: Path | None = None,
    transfer: Sequence[str] = (),
) -> None:
    """Write down what is asked, from which data, on which machine; warn if a resumed run began on others.

    Args:
        run: Folder, which may be there already.
        settings: Of the run.
        store: What it learns from.
        checkpoint: That it goes on from, if any.
        command: Its name.
        init: Where its weights come from, if they are not new.
        transfer: What is to be known of these weights: how their scans differ, which of them were loaded.

    Raises:
        CheckpointError: If the folder cannot be made, or a resumed run has lost its provenance.json.
    """
    origin = provenance(f"{command} {name_at(store.path)} {run.name}", settings.seed, store.hash)
    origin["store"] = name_at(store.path)
    origin["cases"] = dict(Counter(store.catalog.column("split")))
    if store.members:
        origin["members"] = {member.name: member.weight for member in store.members}
    if init is not None:
        origin["init"] = name_of(init)
        origin["transfer"] = list(transfer)
    if checkpoint is None:
        make_run(run)
    write_config(settings, run / CONFIG)  # first: a folder with it counts as a run folder
    if checkpoint is None:
        write_json(run / PROVENANCE, origin)
    else:
        for warning in changed_origin(run, origin):
            say(f"warning: {warning}")
    write_json(run / PREPROCESSING, preprocessing(settings, store))


def began_pretrained(run: Path) -> bool:
    """Whether a run that has begun did so from weights."""
    return "init" in read_json(run / PROVENANCE)


def preprocessing(settings: RunConfig, store: Store) -> dict[str, Any]:
    """What was done to a scan before the network saw it; it travels with the weights."""
    case = store.catalog.cases[0]
    found: dict[str, Any] = {
        "orientation": "RAS",
        "unit": "HU" if case.modality == "CT" else "none",
        "modality": case.modality,
        "channels": settings.architecture.channels,
        "window": asdict(settings.window),
        "spacing": None if store.spacing is None else list(store.spacing),
    }
    if case.modality != "CT":
        found["scaling"] = settings.scaling
    if isinstance(settings, ClassifyConfig) and settings.intensity != "window":
        found["intensity"] = settings.intensity
    if case.channels:
        found["modalities"] = list(modalities_of(case))
    return found
