"""`mim3d finetune classification`: a store with targets and an encoder in, a run that tells classes out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mim3d.config import ClassifyConfig
from mim3d.data.catalog import Case
from mim3d.data.store import Store, open_store
from mim3d.downstream.backbone import compare_preprocessing, load_into
from mim3d.downstream.classifier import Classifier
from mim3d.objective.classify import classify_chunks
from mim3d.recipes.best_classifier import BestClassifier
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
    say_selection,
    suit,
    threads_apart,
    write_cases,
)
from mim3d.reporting.summary import closing_line
from mim3d.sampling.classified import (
    classes_in,
    classified_cases,
    require_taught,
    truth_of,
    weights_of,
    with_classes,
)
from mim3d.sampling.selection import selected
from mim3d.sampling.volumes import ClassifiedBatch, classified_batches
from mim3d.settings import classify_settings
from mim3d.train.fit import Job, fit, launch

Batches = Callable[[int, int, int], Iterator[ClassifiedBatch]]
"""From a step on, of a rank among a number of ranks."""


def finetune_classification(  # noqa: PLR0913  one argument a flag of the command
    store: Path,
    run: Path,
    /,
    *,
    init: Path | None,
    target: str | None = None,
    classes: str | tuple[str, ...] | None = None,
    preset: str | None = None,
    config: ClassifyConfig | Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    resume: bool = False,
) -> Path:
    """Fine-tune an encoder, with a linear layer on its pooled tokens, to classify whole volumes.

    Args:
        store: A prepared store with targets; trains on its `train` cases, chooses the best step on `val`.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        init: Run folder of a pre-trained encoder; None trains from scratch.
        target: What is classified: a target of the store.
        classes: Classes to tell apart, as they are or joined by commas; by default all that occur.
        preset: `tiny`, `small` or `base`; by default that of `init`, and `base` from scratch.
        config: A configuration, or the config.json of a run; settings named here win over both.
        steps: Optimiser steps of the whole run.
        seed: Of new weights and augmentation.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.

    Returns:
        The run folder.

    Raises:
        MimError: If the store, the weights, the run folder or a setting cannot be used.
    """
    opened = open_store(store)
    settings = classify_settings(run, init, preset, config, resume=resume)
    settings = _with_target(opened, overridden(settings, steps=steps, seed=seed), target, classes)
    known = classified_cases(opened, settings, "train", "val")
    train, val = selected(known, settings.selection, classes_in(known, settings))
    taught = truth_of(train, settings)
    require_channels(settings, opened, (*train, *val))
    require_taught(taught, truth_of(val, settings), settings)
    differences = [] if init is None else compare_preprocessing(init, preprocessing(settings, opened))
    checkpoint = reopen_run(run, settings, resume=resume)
    if is_finished(checkpoint, settings, run / SCORES):
        return run
    fabric = launch(settings.runtime, settings.optimisation.batch_size)
    torch.manual_seed(settings.seed)
    model = Classifier(settings)
    suit(model, settings.runtime)
    loaded = [] if init is None or checkpoint is not None else [str(load_into(model.encoder, init))]
    if fabric.is_global_zero:
        begin_run(run, settings, opened, checkpoint, command="mim3d finetune classification", init=init)
        (run / SCORES).unlink(missing_ok=True)  # of a run that was finished with fewer steps
        for line in (*(f"warning: {one}" for one in differences), *loaded, *_told(settings, train, val)):
            say(line)
        write_cases(run, resumed=checkpoint is not None, train=train, val=val)
        say_selection(known, train, val, settings.selection)
        say_mixture(opened, train)
    best = BestClassifier(run, opened, val, settings, model)
    batches = partial(classified_batches, opened, train, settings, on_damage=say_damage)
    weights = torch.from_numpy(weights_of(taught, settings))
    threads = min(threads_apart(fabric, settings.runtime), settings.optimisation.batch_size)
    fit(_job(best, batches, weights, checkpoint, threads), fabric)
    if fabric.is_global_zero:
        best.conclude()
        say(closing_line(run))
    return run


def _job(
    best: BestClassifier, batches: Batches, weights: Tensor, checkpoint: Path | None, threads: int
) -> Job[ClassifiedBatch]:
    config = best.config
    return Job(
        run=best.run,
        model=best.model,
        optimisation=config.optimisation,
        runtime=config.runtime,
        objective=partial(classify_chunks, weights, config.multi_label),
        threads=threads,
        batches=batches,
        columns=["loss", "accuracy", "lr", best.measure],
        crops_per_step=config.optimisation.batch_size,
        checkpoint=checkpoint,
        validate=best.after_step,
    )


def _told(settings: ClassifyConfig, train: Sequence[Case], val: Sequence[Case]) -> Iterator[str]:
    """How many cases of each class there are."""
    for split, cases in (("train", train), ("val", val)):
        counts = truth_of(cases, settings).sum(axis=0)
        named = ", ".join(f"{count} {name}" for name, count in zip(settings.classes, counts, strict=True))
        yield f"{settings.target}, {split}: {len(cases)} cases, {named}"


def _with_target(
    store: Store, settings: ClassifyConfig, target: str | None, classes: str | tuple[str, ...] | None
) -> ClassifyConfig:
    said = classes or settings.classes
    names = (said,) if isinstance(said, str) else said
    listed = tuple(name.strip() for one in names for name in one.split(",") if name.strip())
    return with_classes(store, replace(settings, target=target or settings.target, classes=listed))
