"""A folder of runs that differ in fold and seed alone: which there are, and which of them are finished.

OUT/config.json  crossval.json  fold-0-seed-0/ ...  evaluation.json  summary.json
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mim3d.errors import CheckpointError
from mim3d.run_files import CROSSVAL, SCORES
from mim3d.train.run_folder import read_json, write_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One run of a cross-validation."""

    run: Path
    fold: int
    """That chose its best step, from 0."""
    seed: int

    @property
    def finished(self) -> bool:
        """Whether all of its steps are done and its best weights scored."""
        return (self.run / SCORES).is_file()


def is_crossval(folder: Path) -> bool:
    """Whether a folder holds a cross-validation."""
    return (folder / CROSSVAL).is_file()


def members_of(out: Path, folds: int, seeds: Sequence[int]) -> tuple[Member, ...]:
    """The runs of a cross-validation: all folds of the first seed, then of the next."""
    return tuple(
        Member(run=out / f"fold-{fold}-seed-{seed}", fold=fold, seed=seed)
        for seed in seeds
        for fold in range(folds)
    )


def write_members(out: Path, members: Sequence[Member], **said: Any) -> None:
    """Write crossval.json: the runs, which of them are finished, and what else is said of them all."""
    rows = [
        {"run": one.run.name, "fold": one.fold, "seed": one.seed, "finished": one.finished} for one in members
    ]
    write_json(out / CROSSVAL, {**said, "members": rows})


def read_members(out: Path) -> tuple[Member, ...]:
    """The runs of a cross-validation, in the order in which they are made.

    Raises:
        CheckpointError: If the folder holds no cross-validation, or its crossval.json is damaged.
    """
    content = read_json(out / CROSSVAL)
    try:
        return tuple(
            Member(run=out / Path(str(row["run"])).name, fold=int(row["fold"]), seed=int(row["seed"]))
            for row in content["members"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{out / CROSSVAL}: does not name the runs of a cross-validation ({error!r}); run the same "
            "command again with --resume"
        ) from error


def finished_members(out: Path) -> tuple[Member, ...]:
    """The same, all of them finished.

    Raises:
        CheckpointError: If one is not.
    """
    members = read_members(out)
    waiting = [one.run.name for one in members if not one.finished]
    if waiting or not members:
        raise CheckpointError(
            f"{out}: {len(waiting)} of {len(members)} runs are not finished ({', '.join(waiting[:3])}); run "
            "the same `mim3d crossval` again with --resume"
        )
    return members
