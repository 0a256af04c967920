"""Runs on every fold and with several seeds: begun, taken up again, noted, scored together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config_file import read_run_config, write_config
from mim3d.data.place import Place, name_at, place_of
from mim3d.data.seal import file_hash
from mim3d.downstream.hub import name_of
from mim3d.errors import CheckpointError, ConfigError, Interruption, MimError, worded
from mim3d.recipes.job_process import Job
from mim3d.recipes.messages import say
from mim3d.recipes.resumption import refuse_other_settings
from mim3d.recipes.side_by_side import run_side_by_side
from mim3d.reporting.text_table import counted
from mim3d.run_files import CONFIG, CROSSVAL, WEIGHTS
from mim3d.settings import TaskSettings
from mim3d.train.crossval_folder import (
    Member,
    is_crossval,
    members_of,
    read_members,
    write_members,
)
from mim3d.train.run_folder import forget_scores, read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Generic[TaskSettings]):
    """What is done on every fold, with what, and how many at a time."""

    task: str
    train: Callable[..., Path]
    """A recipe of fine-tuning."""
    pool: Callable[[Path, Sequence[Member]], None]
    """Scores the whole, once all runs are finished."""
    store: Place | str
    init: Path | None
    settings: TaskSettings
    """Of every run but for its fold and seed."""
    seeds: tuple[int, ...]
    at_once: int


def run_plan(plan: Plan[TaskSettings], out: Path, *, resume: bool) -> Path:
    """Do all runs that are not finished, and score the whole.

    Raises:
        MimError: If the folder cannot be used, or a run fails.
    """
    if plan.at_once < 1:
        raise ConfigError(f"side_by_side must be at least 1 run at a time, got {plan.at_once}")
    seeds = _reopened(plan, out, resume=resume)
    members = members_of(out, plan.settings.selection.folds, seeds)
    write_config(plan.settings, out / CONFIG)
    _note(plan, out, members)
    waiting = [one for one in members if not _is_done(one, plan.settings)]
    if len(waiting) < len(members):
        say(f"{out}: {len(members) - len(waiting)} of {len(members)} runs are finished")
    for name in forget_scores(out) if waiting else ():
        say(f"{out}: {name} was of the runs so far and is deleted; it is made again, or score again")
    jobs = [_job(plan, out, one) for one in waiting]
    steps = counted(plan.settings.optimisation.steps, "step")
    say(f"{out}: {counted(len(jobs), 'run')} of {steps} to do, {plan.at_once} at a time")
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
        for name in (CROSSVAL, CONFIG):
            (out / name).unlink(missing_ok=True)


def _reopened(plan: Plan[TaskSettings], out: Path, *, resume: bool) -> tuple[int, ...]:
    """The seeds of all runs: those asked for, and those that the folder has already. Makes the folder.

    Raises:
        CheckpointError: If the folder holds a cross-validation and `resume` was not asked for, or something
            else.
        ConfigError: If it was begun with other settings or other weights.
    """
    if not is_crossval(out):
        paths = out.iterdir() if out.is_dir() else ()
        held = [path.name for path in paths if path.name != CONFIG and path.suffix != ".log"]
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
                f"{out}: begun with {name.replace('_', ' ')} {worded(begun.get(name))}, asked for now is "
                f"{worded(now)}; name the same to go on, or a new folder"
            )
    return tuple(dict.fromkeys((*(one.seed for one in read_members(out)), *plan.seeds)))


def _one_by_one(jobs: Sequence[Job]) -> Iterator[Job]:
    """Do jobs in this process; yields each when it is done."""
    for job in jobs:
        job.work()
        yield job


def _job(plan: Plan[TaskSettings], out: Path, member: Member) -> Job:
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


def _note(plan: Plan[TaskSettings], out: Path, members: Sequence[Member]) -> None:
    write_members(out, members, **_origin(plan), folds=plan.settings.selection.folds)


def _origin(plan: Plan[TaskSettings]) -> dict[str, Any]:
    """What all runs share besides their settings."""
    weights = plan.init
    if weights is not None and not weights.is_file():
        weights /= WEIGHTS
    return {
        "task": plan.task,
        "store": name_at(place_of(plan.store)),
        "init": None if plan.init is None else name_of(plan.init),
        "weights_sha256": None if weights is None or not weights.is_file() else file_hash(weights),
    }
