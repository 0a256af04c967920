"""`mim3d finetune classification`: a store with targets and an encoder in, a run that tells classes out."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from mim3d.config import ClassifyConfig
from mim3d.config.structures import listed
from mim3d.data.catalog import Case
from mim3d.data.place import Place
from mim3d.data.store import open_store
from mim3d.downstream.backbone import compare_preprocessing, load_into
from mim3d.downstream.classifier import Classifier
from mim3d.downstream.hub import weights_folder
from mim3d.objective.classify import classify_chunks
from mim3d.recipes.best_classifier import BestClassifier
from mim3d.recipes.finetuning import Task, run_task
from mim3d.recipes.messages import say
from mim3d.recipes.run import (
    overridden,
    preprocessing,
    require_channels,
    say_damage,
    with_channels_of,
)
from mim3d.recipes.run_cases import say_selection
from mim3d.reporting.text_table import counted
from mim3d.sampling.classified import (
    classes_in,
    classified_cases,
    require_taught,
    truth_of,
    weights_of,
    with_classes,
)
from mim3d.sampling.selection import selected
from mim3d.sampling.volumes import classified_batches
from mim3d.settings import classify_settings


def finetune_classification(  # noqa: PLR0913  one argument a flag of the command
    store: Place | str,
    run: Path,
    /,
    *,
    init: Path | str | None,
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
        init: Run folder of a pre-trained encoder, or `org/name` of a hub; None trains from scratch.
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
    init = None if init is None else weights_folder(init)
    opened = open_store(store)
    settings = classify_settings(run, init, preset, config, resume=resume)
    settings = with_target(overridden(settings, steps=steps, seed=seed), target, classes)
    settings = with_classes(opened, settings)
    known = classified_cases(opened, settings, "train", "val")
    train, val = selected(known, settings.selection, classes_in(known, settings))
    settings = with_channels_of(settings, train[0])
    require_channels(settings, opened, (*train, *val))
    taught = truth_of(train, settings)
    require_taught(taught, truth_of(val, settings), settings)
    adapt, ours = settings.transfer.adapt, preprocessing(settings, opened)
    weights = torch.from_numpy(weights_of(taught, settings))
    task = Task(
        command="mim3d finetune classification",
        store=opened,
        settings=settings,
        train=train,
        val=val,
        differences=[] if init is None else compare_preprocessing(init, ours, adapt=adapt),
        tell=partial(_tell, settings, known, train, val),
        build=partial(Classifier, settings),
        begin=lambda init, model: load_into(model.encoder, init, adapt=adapt),
        keeper=partial(BestClassifier, run, opened, val, settings),
        objective=partial(classify_chunks, weights, settings.multi_label),
        batches=partial(classified_batches, opened, train, settings, on_damage=say_damage),
        logged=["accuracy"],
        chunks=settings.optimisation.batch_size,
    )
    return run_task(task, run, init, resume=resume)


def _tell(
    settings: ClassifyConfig, known: Sequence[Case], train: Sequence[Case], val: Sequence[Case]
) -> None:
    """How cases were divided, and how many of each class there are."""
    say_selection(known, train, val, settings.selection)
    for split, cases in (("train", train), ("val", val)):
        counts = truth_of(cases, settings).sum(axis=0)
        named = ", ".join(f"{count} {name}" for name, count in zip(settings.classes, counts, strict=True))
        say(f"{settings.target}, {split}: {counted(len(cases), 'case')}, {named}")


def with_target(
    settings: ClassifyConfig, target: str | None, classes: str | tuple[str, ...] | None
) -> ClassifyConfig:
    """The settings with what is to be classified, as far as it is said."""
    said = classes or settings.classes
    named = listed((said,) if isinstance(said, str) else said)
    return replace(settings, target=target or settings.target, classes=named)
