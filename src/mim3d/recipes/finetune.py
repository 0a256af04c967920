"""`mim3d finetune segmentation`: a labelled store and an encoder in, a run that can predict out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mim3d.config import FinetuneConfig
from mim3d.config.structures import listed
from mim3d.data.catalog import Case
from mim3d.data.store import Store, open_store
from mim3d.downstream.backbone import compare_preprocessing, load_into
from mim3d.downstream.segmenter import Segmenter
from mim3d.errors import ConfigError
from mim3d.objective.segment import segment_chunks
from mim3d.recipes.best import BestWeights
from mim3d.recipes.keep import SCORES
from mim3d.recipes.run import (
    begin_run,
    is_finished,
    overridden,
    preprocessing,
    reopen_run,
    require_channels,
    say,
    say_damage,
    say_mixture,
    say_padding,
    say_selection,
    suit,
    write_cases,
)
from mim3d.reporting.summary import closing_line
from mim3d.sampling.annotated import annotated_cases, annotated_table, require_annotated
from mim3d.sampling.batch import LabelledBatch
from mim3d.sampling.loader import labelled_batches
from mim3d.sampling.selection import selected
from mim3d.settings import finetune_settings
from mim3d.train.fit import Job, fit, launch

Batches = Callable[[int, int, int], Iterator[LabelledBatch]]
"""From a step on, of a rank among a number of ranks."""


def finetune_segmentation(  # noqa: PLR0913  one argument a flag of the command
    store: Path,
    run: Path,
    /,
    *,
    init: Path | None,
    labels: str | None = None,
    structures: str | tuple[str, ...] | None = None,
    preset: str | None = None,
    config: FinetuneConfig | Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    resume: bool = False,
) -> Path:
    """Fine-tune an encoder, with a UNETR-like decoder, to segment structures.

    Args:
        store: A prepared store with labels; trains on its `train` cases and chooses the best step on `val`,
            or as `selection` says.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        init: Run folder of a pre-trained encoder; None trains from scratch.
        labels: Label set of the store.
        structures: Names of the structures to segment, as they are or joined by commas.
        preset: `tiny`, `small` or `base`; by default that of `init`, and `base` from scratch.
        config: A configuration, or the config.json of a run; settings named here win over both.
        steps: Optimiser steps of the whole run.
        seed: Of new weights, crops and augmentation.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.

    Returns:
        The run folder.

    Raises:
        MimError: If the store, the weights, the run folder or a setting cannot be used.
    """
    opened = open_store(store)
    settings = finetune_settings(run, init, preset, config, resume=resume)
    settings = with_labels(overridden(settings, steps=steps, seed=seed), labels, structures)
    known = annotated_cases(opened, settings, "train", "val")
    train, val = selected(known, settings.selection)
    require_annotated(opened, train, settings, f"none of the {len(train)} cases to train on")
    require_channels(settings, opened, (*train, *val))
    differences = [] if init is None else compare_preprocessing(init, preprocessing(settings, opened))
    warnings = [f"warning: {difference}" for difference in differences]
    checkpoint = reopen_run(run, settings, resume=resume)
    if is_finished(checkpoint, settings, run / SCORES):
        return run
    fabric = launch(settings.runtime, settings.optimisation.batch_size)
    torch.manual_seed(settings.seed)
    model = Segmenter(settings)
    suit(model, settings.runtime)
    loaded = [] if init is None or checkpoint is not None else [str(load_into(model.encoder, init))]
    if fabric.is_global_zero:
        begin_run(run, settings, opened, checkpoint, command="mim3d finetune segmentation", init=init)
        (run / SCORES).unlink(missing_ok=True)  # of a run that was finished with fewer steps
        for line in (*warnings, *loaded):
            say(line)
        write_cases(run, resumed=checkpoint is not None, train=train, val=val)
        say_selection(known, train, val, settings.selection)
        say_mixture(opened, train)
        _say_partly_annotated(opened, (*train, *val), settings)
        say_padding([train, val], settings.crop, "crop")
    best = BestWeights(run, opened, val, settings, model)
    fit(
        _job(best, partial(labelled_batches, opened, train, settings, on_damage=say_damage), checkpoint),
        fabric,
    )
    if fabric.is_global_zero:
        best.conclude()
        say(closing_line(run))
    return run


def _job(best: BestWeights, batches: Batches, checkpoint: Path | None) -> Job[LabelledBatch]:
    return Job(
        run=best.run,
        model=best.model,
        optimisation=best.config.optimisation,
        runtime=best.config.runtime,
        objective=partial(segment_chunks, best.config),
        batches=batches,
        columns=["loss", "dice_loss", "cross_entropy", "lr", "validation_dice"],
        crops_per_step=best.config.optimisation.batch_size,
        checkpoint=checkpoint,
        validate=best.after_step,
    )


def _say_partly_annotated(store: Store, cases: Sequence[Case], settings: FinetuneConfig) -> None:
    whole = annotated_table(store, cases, settings).all(axis=1)
    if not whole.all():
        say(
            f"{np.count_nonzero(~whole)} of {len(cases)} cases have only some of the structures annotated: "
            "the others are neither learnt from nor scored there"
        )


def with_labels(
    settings: FinetuneConfig, labels: str | None, structures: str | tuple[str, ...] | None
) -> FinetuneConfig:
    """The settings with what is to be segmented.

    Raises:
        ConfigError: If neither they nor the arguments say what.
    """
    said = structures or settings.structures
    chosen = listed((said,) if isinstance(said, str) else said)
    settings = replace(settings, labels=labels or settings.labels, structures=chosen)
    if not settings.labels or not settings.structures:
        raise ConfigError("nothing to segment: name a label set with --labels and its --structures a,b,...")
    return settings
