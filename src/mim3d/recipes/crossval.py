"""`mim3d crossval`: the same run on every fold and with several seeds, and all of them scored together."""

from dataclasses import replace
from pathlib import Path

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.data.place import Place
from mim3d.data.store import open_store
from mim3d.downstream.hub import weights_folder
from mim3d.errors import ConfigError
from mim3d.recipes.crossval_plan import Plan, run_plan
from mim3d.recipes.crossval_scores import pool_classes, pool_structures
from mim3d.recipes.finetune_classification import finetune_classification, with_target
from mim3d.recipes.finetune_segmentation import finetune_segmentation, with_labels
from mim3d.recipes.run import overridden
from mim3d.settings import TaskSettings, classify_settings, finetune_settings

DEFAULT_FOLDS = 5


def crossval_segmentation(  # noqa: PLR0913  one argument a flag of the command
    store: Place | str,
    out: Path,
    /,
    *,
    init: Path | str | None,
    folds: int | None = None,
    seeds: str = "0",
    side_by_side: int = 1,
    labels: str | None = None,
    structures: str | tuple[str, ...] | None = None,
    preset: str | None = None,
    config: FinetuneConfig | Path | None = None,
    steps: int | None = None,
    resume: bool = False,
) -> Path:
    """Fine-tune for segmentation on every fold of a store, with one or several seeds, and score the whole.

    Args:
        store: A prepared store with labels; its `train` and `val` cases are dealt into folds, by patient.
        out: Folder to write: a run folder each (fold-0-seed-0, ...), crossval.json, evaluation.json,
            summary.json.
        init: Run folder of a pre-trained encoder, or `org/name` of a hub; None trains from scratch.
        folds: Number of folds; by default that of the settings, or 5.
        seeds: Of new weights, crops and augmentation, joined by commas: each fold is run with each of them.
        side_by_side: Runs at a time, each with its share of the threads.
        labels: Label set of the store.
        structures: Names of the structures to segment, as they are or joined by commas.
        preset: `tiny`, `small` or `base`, or the release's recipe at that size, e.g. `released-tiny`; by
            default that of `init`, and `base` from scratch.
        config: A configuration, or the config.json of a run; settings named here win over both.
        steps: Optimiser steps of each run.
        resume: Go on where it stopped: finished runs are kept, others go on from their last checkpoint.

    Returns:
        The folder.

    Raises:
        MimError: If the store, the weights, the folder or a setting cannot be used, or a run fails.
    """
    init = None if init is None else weights_folder(init)
    settings = finetune_settings(out, init, preset, config, resume=resume)
    settings = with_labels(overridden(settings, steps=steps, seed=0), labels, structures, open_store(store))
    plan = Plan(
        task="segmentation",
        train=finetune_segmentation,
        pool=pool_structures,
        store=store,
        init=init,
        settings=_on_folds(settings, folds),
        seeds=_seeds(seeds),
        at_once=side_by_side,
    )
    return run_plan(plan, out, resume=resume)


def crossval_classification(  # noqa: PLR0913  one argument a flag of the command
    store: Place | str,
    out: Path,
    /,
    *,
    init: Path | str | None,
    folds: int | None = None,
    seeds: str = "0",
    side_by_side: int = 1,
    target: str | None = None,
    classes: str | tuple[str, ...] | None = None,
    preset: str | None = None,
    config: ClassifyConfig | Path | None = None,
    steps: int | None = None,
    resume: bool = False,
) -> Path:
    """Fine-tune for classification on every fold of a store, with one or several seeds, and score the whole.

    Args:
        store: A prepared store with targets; its `train` and `val` cases are dealt into folds, by patient.
        out: Folder to write: a run folder each (fold-0-seed-0, ...), crossval.json, evaluation.json,
            summary.json.
        init: Run folder of a pre-trained encoder, or `org/name` of a hub; None trains from scratch.
        folds: Number of folds; by default that of the settings, or 5.
        seeds: Of new weights and augmentation, joined by commas: each fold is run with each of them.
        side_by_side: Runs at a time, each with its share of the threads.
        target: What is classified: a target of the store.
        classes: Classes to tell apart, as they are or joined by commas; by default all that occur.
        preset: `tiny`, `small` or `base`; by default that of `init`, and `base` from scratch.
        config: A configuration, or the config.json of a run; settings named here win over both.
        steps: Optimiser steps of each run.
        resume: Go on where it stopped: finished runs are kept, others go on from their last checkpoint.

    Returns:
        The folder.

    Raises:
        MimError: If the store, the weights, the folder or a setting cannot be used, or a run fails.
    """
    init = None if init is None else weights_folder(init)
    settings = classify_settings(out, init, preset, config, resume=resume)
    settings = with_target(overridden(settings, steps=steps, seed=0), target, classes)
    plan = Plan(
        task="classification",
        train=finetune_classification,
        pool=pool_classes,
        store=store,
        init=init,
        settings=_on_folds(settings, folds),
        seeds=_seeds(seeds),
        at_once=side_by_side,
    )
    return run_plan(plan, out, resume=resume)


def _on_folds(settings: TaskSettings, folds: int | None) -> TaskSettings:
    if folds == 0:
        raise ConfigError(
            f"folds must be 2 or more, got 0; leave it out for those of the settings, or {DEFAULT_FOLDS}"
        )
    number = folds or settings.selection.folds or DEFAULT_FOLDS
    return replace(settings, selection=replace(settings.selection, folds=number, fold=0))


def _seeds(said: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(word) for word in said.split(",")))
    except ValueError:
        raise ConfigError(f"seeds must be numbers joined by commas, got {said!r}; e.g. 0,1,2") from None
    if min(seeds) < 0:
        raise ConfigError(f"seeds must be 0 or more, got {min(seeds)}")
    return seeds
