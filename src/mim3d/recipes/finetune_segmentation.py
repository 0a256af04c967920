"""`mim3d finetune segmentation`: a labelled store and an encoder in, a run that can predict out."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mim3d.config import FinetuneConfig
from mim3d.config.structures import listed
from mim3d.data.catalog import Case
from mim3d.data.place import Place, name_at
from mim3d.data.store import Store, open_store
from mim3d.downstream.hub import weights_folder
from mim3d.downstream.initial import begin_from, differences
from mim3d.downstream.segmenter import build_segmenter
from mim3d.errors import ConfigError
from mim3d.objective.segment import LOSSES, segment_chunks
from mim3d.recipes.best_segmenter import BestSegmenter
from mim3d.recipes.finetuning import Task, run_task
from mim3d.recipes.messages import say
from mim3d.recipes.run import (
    overridden,
    preprocessing,
    require_channels,
    say_damage,
    say_padding,
    with_channels_of,
)
from mim3d.recipes.run_cases import say_selection
from mim3d.sampling.annotated import annotated_cases, annotated_table, require_annotated
from mim3d.sampling.loader import labelled_batches
from mim3d.sampling.selection import selected
from mim3d.settings import finetune_settings


def finetune_segmentation(  # noqa: PLR0913  one argument a flag of the command
    store: Place | str,
    run: Path,
    /,
    *,
    init: Path | str | None,
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
        init: Run folder of a pre-trained encoder, `org/name` of a hub, or a file of published weights for
            `swin_unetr`; None trains from scratch.
        labels: Label set of the store.
        structures: Names of the structures to segment, as they are or joined by commas.
        preset: `tiny`, `small` or `base`, or the release's recipe at that size, e.g. `released-tiny`; by
            default that of `init`, and `base` from scratch.
        config: A configuration, or the config.json of a run; settings named here win over both.
        steps: Optimiser steps of the whole run.
        seed: Of new weights, crops and augmentation.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.

    Returns:
        The run folder.

    Raises:
        MimError: If the store, the weights, the run folder or a setting cannot be used.
    """
    init = None if init is None else weights_folder(init)
    opened = open_store(store)
    settings = finetune_settings(run, init, preset, config, resume=resume)
    settings = with_labels(overridden(settings, steps=steps, seed=seed), labels, structures, opened)
    known = annotated_cases(opened, settings, "train", "val")
    train, val = selected(known, settings.selection)
    require_annotated(opened, train, settings, f"none of the {len(train)} cases to train on")
    settings = with_channels_of(settings, train[0])
    require_channels(settings, opened, (*train, *val))
    ours = preprocessing(settings, opened)
    task = Task(
        command="mim3d finetune segmentation",
        store=opened,
        settings=settings,
        train=train,
        val=val,
        differences=[] if init is None else differences(init, settings, ours),
        tell=partial(_tell, opened, settings, known, train, val),
        build=partial(build_segmenter, settings),
        begin=partial(begin_from, adapt=settings.transfer.adapt),
        keeper=partial(BestSegmenter, run, opened, val, settings),
        objective=partial(segment_chunks, settings),
        batches=partial(labelled_batches, opened, train, settings, on_damage=say_damage),
        logged=LOSSES[settings.loss],
    )
    return run_task(task, run, init, resume=resume)


def _tell(
    store: Store,
    settings: FinetuneConfig,
    known: Sequence[Case],
    train: Sequence[Case],
    val: Sequence[Case],
) -> None:
    say_selection(known, train, val, settings.selection)
    _say_partly_annotated(store, (*train, *val), settings)
    say_padding([train, val], settings.crop, "crop")


def _say_partly_annotated(store: Store, cases: Sequence[Case], settings: FinetuneConfig) -> None:
    whole = annotated_table(store, cases, settings).all(axis=1)
    if not whole.all():
        say(
            f"{np.count_nonzero(~whole)} of {len(cases)} cases have only some of the structures annotated: "
            "the others are neither learnt from nor scored there"
        )


def with_labels(
    settings: FinetuneConfig, labels: str | None, structures: str | tuple[str, ...] | None, store: Store
) -> FinetuneConfig:
    """The settings with what is to be segmented.

    Raises:
        ConfigError: If neither they nor the arguments say what; the message tells what the store has.
    """
    said = structures or settings.structures
    chosen = listed((said,) if isinstance(said, str) else said)
    settings = replace(settings, labels=labels or settings.labels, structures=chosen)
    if not settings.labels or not settings.structures:
        held = (f"{name} ({', '.join(one.structures)})" for name, one in store.label_sets.items())
        raise ConfigError(
            "nothing to segment: name a label set with --labels and its --structures a,b,...; "
            f"{name_at(store.path)} has {', '.join(held) or 'no label set'}"
        )
    return settings
