"""`mim3d crossval`: the same run on every fold and with several seeds, and all of them scored together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config_file import read_run_config, write_config
from mim3d.data.place import Place, name_at, place_of
from mim3d.data.seal import file_hash
from mim3d.downstream.hub import folder_of, name_of
from mim3d.errors import CheckpointError, ConfigError, Interruption, MimError
from mim3d.recipes.crossval_scores import pool_classes, pool_structures
from mim3d.recipes.finetune_classification import finetune_classification, with_target
from mim3d.recipes.finetune_segmentation import finetune_segmentation, with_labels
from mim3d.recipes.job_process import Job
from mim3d.recipes.messages import say
from mim3d.recipes.resumption import refuse_other_settings
from mim3d.recipes.run import overridden
from mim3d.recipes.side_by_side import run_side_by_side
from mim3d.settings import classify_settings, finetune_settings
from mim3d.train.crossval_folder import (
    CROSSVAL,
    Member,
    is_crossval,
    members_of,
    read_members,
    write_members,
)
from mim3d.train.run_folder import read_json

Config = TypeVar("Config", FinetuneConfig, ClassifyConfig)
DEFAULT_FOLDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Generic[Config]):
    """What is done on every fold, with what, and how many at a time."""

    task: str
    train: Callable[..., Path]
    """A recipe of fine-tuning."""
    pool: Callable[[Path, Sequence[Member]], None]
    """Scores the whole, once all runs are finished."""
    store: Place | str
    init: Path | None
    settings: Config
    """Of every run but for its fold and seed."""
    seeds: tuple[int, ...]
    at_once: int


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
    init = None if init is None else folder_of(init)
    settings = finetune_settings(out, init, preset, config, resume=resume)
    settings = with_labels(overridden(settings, steps=steps, seed=0), labels, structures)
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
    return _crossval(plan, out, resume=resume)


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
    init = None if init is None else folder_of(init)
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
    return _crossval(plan, out, resume=resume)


def _crossval(plan: Plan[Config], out: Path, *, resume: bool) -> Path:
    if plan.at_once < 1:
        raise ConfigError(f"side_by_side must be at least 1 run at a time, got {plan.at_once}")
    seeds = _reopened(plan, out, resume=resume)
    members = members_of(out, plan.settings.selection.folds, seeds)
    write_config(plan.settings, out / "config.json")
    _note(plan, out, members)
    waiting = [one for one in members if not _is_done(one, plan.settings)]
    if len(waiting) < len(members):
        say(f"{out}: {len(members) - len(waiting)} of {len(members)} runs are finished")
    jobs = [_job(plan, out, one) for one in waiting]
    try:
        for job in run_side_by_side(jobs, plan.at_once) if plan.at_once > 1 else _one_by_one(jobs):
            _note(plan, out, members)
            done = sum(one.finished for one in members)
            say(f"{out}: {job.name} is finished, {done} of {len(members)}")
    except Interruption as error:
        raise Interruption(f"{error}; the same command with --resume goes on") from error
    except MimError:
        _forget_unbegun(out, members)
        raise
    plan.pool(out, members)
    return out


def _forget_unbegun(out: Path, members: Sequence[Member]) -> None:
    """Take away what was written where no run could begin: it would bind who mends the mistake to it."""
    if not any(one.run.exists() for one in members):
        for name in (CROSSVAL, "config.json"):
            (out / name).unlink(missing_ok=True)


def _reopened(plan: Plan[Config], out: Path, *, resume: bool) -> tuple[int, ...]:
    """The seeds of all runs: those asked for, and those that the folder has already. Makes the folder.

    Raises:
        CheckpointError: If the folder holds a cross-validation and `resume` was not asked for, or something
            else.
        ConfigError: If it was begun with other settings or other weights.
    """
    if not is_crossval(out):
        paths = out.iterdir() if out.is_dir() else ()
        held = [path.name for path in paths if path.name != "config.json" and path.suffix != ".log"]
        if held or out.is_file():
            raise CheckpointError(
                f"{out}: holds {min(held, default='data')} and no {CROSSVAL}; name a new or empty folder"
            )
        out.mkdir(parents=True, exist_ok=True)
        return plan.seeds
    if not resume:
        raise CheckpointError(f"{out}: holds a cross-validation; add --resume to go on, or name a new folder")
    refuse_other_settings(out, plan.settings)
    steps, before = (one.optimisation.steps for one in (plan.settings, read_run_config(out)))
    if steps < before:
        raise ConfigError(
            f"{out}: begun with {before} steps, asked for now are {steps}: runs of one number could not be "
            "compared with those of another; ask for as many or more, or name a new folder"
        )
    begun = read_json(out / CROSSVAL)
    for name, now in _origin(plan).items():
        if begun.get(name) != now:
            raise ConfigError(
                f"{out}: begun with {name.replace('_', ' ')} {begun.get(name)}, asked for now is {now}; name "
                "the same to go on, or a new folder"
            )
    return tuple(dict.fromkeys((*(one.seed for one in read_members(out)), *plan.seeds)))


def _one_by_one(jobs: Sequence[Job]) -> Iterator[Job]:
    """Do jobs in this process; yields each when it is done."""
    for job in jobs:
        job.work()
        yield job


def _job(plan: Plan[Config], out: Path, member: Member) -> Job:
    settings = replace(
        plan.settings,
        seed=member.seed,
        selection=replace(plan.settings.selection, fold=member.fold),
    )
    work = partial(plan.train, plan.store, member.run, init=plan.init, config=settings, resume=True)
    return Job(name=member.run.name, log=out / f"{member.run.name}.log", work=work)


def _is_done(member: Member, settings: FinetuneConfig | ClassifyConfig) -> bool:
    """Whether a run is finished, with as many steps as are asked for now."""
    if not member.finished:
        return False
    begun = read_run_config(member.run)
    return begun.optimisation.steps >= settings.optimisation.steps


def _note(plan: Plan[Config], out: Path, members: Sequence[Member]) -> None:
    write_members(out, members, **_origin(plan), folds=plan.settings.selection.folds)


def _origin(plan: Plan[Config]) -> dict[str, Any]:
    """What all runs share besides their settings."""
    weights = plan.init
    if weights is not None and not weights.is_file():
        weights /= "weights.safetensors"
    return {
        "task": plan.task,
        "store": name_at(place_of(plan.store)),
        "init": None if plan.init is None else name_of(plan.init),
        "weights_sha256": None if weights is None or not weights.is_file() else file_hash(weights),
    }


def _on_folds(settings: Config, folds: int | None) -> Config:
    if folds == 0:
        raise ConfigError("folds must be 2 or more, got 0; leave it out for those of the settings, or 5")
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
