"""`mim3d pretrain`: a store in, a run folder with a pre-trained encoder out."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from lightning.fabric import Fabric

from mim3d.config import PretrainConfig
from mim3d.data.place import Place
from mim3d.data.store import Store, open_store
from mim3d.downstream.backbone import compare_preprocessing
from mim3d.downstream.continued import load_all
from mim3d.downstream.hub import weights_folder
from mim3d.errors import StoreError
from mim3d.model.cost import Plan, plan_step
from mim3d.model.mim import Mim
from mim3d.objective.monitor import PROGRESS_WITHOUT, columns, derived
from mim3d.objective.pretrain import pretrain_chunks
from mim3d.recipes.messages import say
from mim3d.recipes.run import (
    begin_run,
    is_finished,
    overridden,
    preprocessing,
    reopen_run,
    require_channels,
    say_damage,
    say_mixture,
    say_padding,
    suit,
    threads_apart,
)
from mim3d.recipes.run_cases import PRETRAINED, known_to, write_cases
from mim3d.reporting.snapshot_writer import write_reconstruction
from mim3d.reporting.summary import closing_line
from mim3d.run_files import WEIGHTS
from mim3d.sampling.batch import RegionBatch
from mim3d.sampling.crops import read_region, select_cases
from mim3d.sampling.loader import region_batches
from mim3d.settings import pretrain_settings
from mim3d.train.checkpoint import save_weights
from mim3d.train.fit import Job, fit, launch

Batches = Callable[[int, int, int], Iterator[RegionBatch]]
"""From a step on, of a rank among a number of ranks."""


def pretrain(  # noqa: PLR0913  one argument a flag of the command
    store: Place | str,
    run: Path,
    /,
    *,
    init: Path | str | None = None,
    preset: str | None = None,
    config: PretrainConfig | Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    resume: bool = False,
) -> Path:
    """Pre-train an encoder on the unlabelled scans of a store, by MiM.

    Args:
        store: A prepared store, its folder or URL, or a mixture; its `train` cases are used.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        init: Weights to go on from: a run's folder, an exported one, or `org/name` of a hub; with their
            settings unless a preset or configuration is named. Steps are counted anew.
        preset: `tiny` (two cores), `small` (between) or `base` (the paper's size, the default).
        config: A configuration, or the config.json of a run; settings named here win over both.
        steps: Optimiser steps of the whole run.
        seed: Of weights, regions and masks.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.

    Returns:
        The run folder.

    Raises:
        MimError: If the store, the run folder or a setting cannot be used.
    """
    init = None if init is None else weights_folder(init)
    opened = open_store(store)
    settings = pretrain_settings(run, preset, config, resume=resume, init=init)
    settings = overridden(settings, steps=steps, seed=seed)
    cases = select_cases(opened, "train")
    if not cases:
        raise StoreError(
            f"{store}: nothing left to train on: no case of the split `train`; prepare more scans, or state "
            "splits in a CSV"
        )
    require_channels(settings, opened, cases)
    differences = [] if init is None else _differences(init, settings, opened)
    checkpoint = reopen_run(run, settings, resume=resume)
    if is_finished(checkpoint, settings, run / WEIGHTS):
        return run
    fabric = launch(settings.runtime, settings.optimisation.batch_size)
    torch.manual_seed(settings.seed)
    model = Mim(settings.nesting, settings.architecture, settings.alignment)
    loaded = [load_all(model, init)] if init is not None and checkpoint is None else []
    suit(model, settings.runtime)
    if fabric.is_global_zero:
        transfer = (*differences, *loaded)
        begin_run(run, settings, opened, checkpoint, command="mim3d pretrain", init=init, transfer=transfer)
        for line in (*(f"warning: {difference}" for difference in differences), *loaded):
            say(line)
        write_cases(run, keep=checkpoint is not None, **{PRETRAINED: cases})
        write_cases(run, keep=True, **known_to(init, opened))
        (run / WEIGHTS).unlink(missing_ok=True)  # of a run that was finished with fewer steps
        say_mixture(opened, cases)
        say_padding([cases], settings.nesting.extent, "region")
    batches = partial(region_batches, opened, cases, settings, on_damage=say_damage)
    fit(_job(run, model, settings, batches, checkpoint, _plan(model, settings, fabric)), fabric)
    if fabric.is_global_zero:
        case, region = read_region(opened, cases, settings, number=0)
        picture = run / "pictures" / "reconstruction.safetensors"
        write_reconstruction(picture, model, case.case, region, settings.nesting, case.spacing)
        model.teacher = None  # of no use to who takes the weights
        save_weights(model, run / WEIGHTS)  # last: from now on the run counts as finished
        say(closing_line(run))
    return run


def _differences(init: Path, settings: PretrainConfig, store: Store) -> list[str]:
    """How the scans of the store differ from those that the weights learnt from."""
    return compare_preprocessing(init, preprocessing(settings, store))


def _plan(model: Mim, settings: PretrainConfig, fabric: Fabric) -> Plan:
    """Crops side by side on one CPU, in float32 and not compiled: see `Job.threads` and `sharing`."""
    threads = threads_apart(fabric, settings.runtime)
    num_weights = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    plan = plan_step(settings, num_weights, threads)
    if plan.threads < threads and fabric.is_global_zero:
        say(
            f"threads share each operation: for crops side by side, {threads} threads need a "
            f"`--runtime.memory_gb` of {plan.gb_for_threads:.2g}"
        )
    return plan


def _job(
    run: Path,
    model: Mim,
    settings: PretrainConfig,
    batches: Batches,
    checkpoint: Path | None,
    plan: Plan,
) -> Job[RegionBatch]:
    levels = range(len(settings.nesting.levels))
    return Job(
        run=run,
        model=model,
        optimisation=settings.optimisation,
        runtime=settings.runtime,
        objective=partial(pretrain_chunks, config=settings, at_once=plan.at_once),
        threads=plan.threads,
        batches=batches,
        columns=[*columns(settings), "lr"],
        derived=derived,
        progress_without=PROGRESS_WITHOUT,
        crops_per_step=settings.optimisation.batch_size * sum(map(settings.nesting.num_crops, levels)),
        checkpoint=checkpoint,
    )
