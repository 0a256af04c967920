"""Commands that make a result one that can be believed."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from mim3d.arguments import init_of
from mim3d.commands.places import Folder, Run, Store
from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.flags import Flat


def compare(  # noqa: PLR0913  one argument a flag
    run: Run,
    /,
    *more: tyro.conf.Positional[Path],
    file: str | None = None,
    measures: str | None = None,
    structures: str | None = None,
    shared: bool = False,
    by: str | None = None,
    store: str | None = None,
    out: Path | None = None,
    seed: int = 0,
) -> None:
    """Compare runs case by case: paired differences, intervals, tests, and on how many cases they rest.

    Args:
        run: The reference: a run folder, a folder of `crossval`, or a JSON of `evaluate`; runs that differ in
            their seed alone, joined by commas, are averaged case by case.
        more: What is compared with it, each likewise.
        file: Which scores of the folders, e.g. validation.json; by default the first that all have of
            evaluation-test.json, evaluation.json and validation.json.
        measures: Joined by commas: dice, nsd, hd95_mm, volume_error_ml, lesions_found, false_lesions; by
            default the first three, and the last two where lesions were counted.
        structures: Joined by commas; by default all.
        shared: Leave out cases and structures that were not scored alike in all of them.
        by: What to group cases by, joined by commas: columns of the store's catalog, or its targets, e.g.
            scanner,thickness,disease.
        store: The store of the cases, its folder or URL, for `--by`.
        out: Folder to write: comparison.md, comparison.csv, comparison.json.
        seed: Of resampling and random flips.
    """
    from mim3d.recipes.compare import compare

    compare(
        run,
        *more,
        file=file,
        measures=measures,
        structures=structures,
        shared=shared,
        by=by,
        store=store,
        out=out,
        seed=seed,
    )


def crossval_segmentation(  # noqa: PLR0913  one argument a flag
    store: Store,
    out: Folder,
    /,
    *,
    init: str,
    folds: int | None = None,
    seeds: str = "0",
    side_by_side: int = 1,
    config: Path | None = None,  # noqa: ARG001  read when the line is parsed
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[FinetuneConfig, Flat],
) -> None:
    """Fine-tune for segmentation on every fold of a store, with one or several seeds, and score the whole.

    Args:
        store: A prepared store with labels; its `train` and `val` cases are dealt into folds, by patient.
        out: Folder to write: a run folder each (fold-0-seed-0, ...), crossval.json, evaluation.json,
            summary.json.
        init: Run folder of a pre-trained encoder, or `org/name` of a hub; `none` trains from scratch.
        folds: Number of folds; by default `--selection.folds`, or 5.
        seeds: Of new weights, crops and augmentation, joined by commas: each fold is run with each of them.
        side_by_side: Runs at a time, each with its share of the threads.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of each run.
        resume: Go on where it stopped: finished runs are kept, others go on from their last checkpoint.
        settings: Single settings, which win over preset and config; `--preset` is `tiny`, `small` or
            `base`, or the release's recipe at that size, e.g. `released-tiny`; by default that of `init`.
            `--seed` and `--selection.fold` are set run by run.
    """
    from mim3d.recipes.crossval import crossval_segmentation

    crossval_segmentation(
        store,
        out,
        init=init_of(init),
        folds=folds,
        seeds=seeds,
        side_by_side=side_by_side,
        config=settings,
        steps=steps,
        resume=resume,
    )


def crossval_classification(  # noqa: PLR0913  one argument a flag
    store: Store,
    out: Folder,
    /,
    *,
    init: str,
    folds: int | None = None,
    seeds: str = "0",
    side_by_side: int = 1,
    config: Path | None = None,  # noqa: ARG001  read when the line is parsed
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[ClassifyConfig, Flat],
) -> None:
    """Fine-tune for classification on every fold of a store, with one or several seeds, and score the whole.

    Args:
        store: A prepared store with targets; its `train` and `val` cases are dealt into folds, by patient.
        out: Folder to write: a run folder each (fold-0-seed-0, ...), crossval.json, evaluation.json,
            summary.json.
        init: Run folder of a pre-trained encoder, or `org/name` of a hub; `none` trains from scratch.
        folds: Number of folds; by default `--selection.folds`, or 5.
        seeds: Of new weights and augmentation, joined by commas: each fold is run with each of them.
        side_by_side: Runs at a time, each with its share of the threads.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of each run.
        resume: Go on where it stopped: finished runs are kept, others go on from their last checkpoint.
        settings: Single settings, which win over preset and config; `--preset` is `tiny`, `small` or
            `base`, by default that of `init`. `--seed` and `--selection.fold` are set run by run.
    """
    from mim3d.recipes.crossval import crossval_classification

    crossval_classification(
        store,
        out,
        init=init_of(init),
        folds=folds,
        seeds=seeds,
        side_by_side=side_by_side,
        config=settings,
        steps=steps,
        resume=resume,
    )


def score(  # noqa: PLR0913  one argument a flag
    run: Run,
    store: Store,
    /,
    *,
    split: Literal["train", "val", "test"] = "test",
    each: bool = False,
    tolerance: str = "2",
    lesions: str | None = None,
    smallest_lesion: float = 0.0,
    device: str = "cpu",
) -> None:
    """Score a fine-tuned run on a split of a store, and note with the run that it looked at it.

    Args:
        run: A run folder of fine-tuning; or a folder of `crossval`, whose runs' probabilities are averaged.
        store: A prepared store with the same labels or targets.
        split: Of the store; `test` is what no run trains on or chooses by.
        each: Of a folder of `crossval`, score each run by itself.
        tolerance: Of NSD, mm: `2` for all structures, `liver=3,tumour=2`, or both, `2,liver=3`; raised to the
            largest spacing of the working grid where that is larger.
        lesions: Structures whose lesions are counted one by one, joined by commas.
        smallest_lesion: Volume of the smallest lesion that counts, mm^3.
        device: Where the networks run, e.g. `cpu` or `cuda:0`.
    """
    from mim3d.recipes.score import score

    score(
        run,
        store,
        split=split,
        each=each,
        tolerance=tolerance,
        lesions=lesions,
        smallest_lesion=smallest_lesion,
        device=device,
    )
