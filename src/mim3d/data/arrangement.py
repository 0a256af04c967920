"""Folds, few-shot subsets and the sealed test split of a data set, drawn by a stated seed.

Patients are put in the order of a hash of seed and patient, so that a draw hangs on nothing but the two and
on who is there. The sealed test split comes first and is the same in every arrangement; the others are
dealt into folds in turn. Few-shot subsets are of the first fold's training patients, each within the next
larger one; the others of them stay to train on without their labels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from mim3d.data.recipe import Splits
from mim3d.data.sources import Split
from mim3d.errors import ConfigError

STATED = "stated"
"""The arrangement of a data set that has no folds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A labelled scan."""

    case: str
    """`{case}` of the data set."""
    patient: str
    stated: Split | None = None


def arrangements(splits: Splits) -> tuple[str, ...]:
    """Names of all ways to divide a data set, the one that is meant where none is named first."""
    folds = tuple(f"fold-{number}" for number in range(splits.folds))
    return (*folds, *(f"few-{count}" for count in splits.few_shot)) or (STATED,)


def arrange(splits: Splits, members: Sequence[Member], name: str | None = None) -> dict[str, Split | None]:
    """Split of each patient who has a labelled scan; None: to train on, without its labels.

    Args:
        splits: Of the recipe.
        members: All labelled scans.
        name: One of `arrangements`, the first by default.

    Raises:
        ConfigError: If there is no such arrangement, or there are too few patients for it.
    """
    known = arrangements(splits)
    name = name or known[0]
    if name not in known:
        raise ConfigError(f"arrangement {name!r}: no such one; there are {', '.join(known)}")
    of_patient: dict[str, Split | None] = dict(_settled(splits, members))
    if not splits.folds:
        return {member.patient: of_patient.get(member.patient, "train") for member in members}
    free = folds_of(splits, members)
    if len(free) < splits.folds:
        raise ConfigError(
            f"{len(free)} patients are left beside the test split, {splits.folds} folds need at least "
            f"{splits.folds}; get the whole data set"
        )
    held_out = int(name.removeprefix("fold-")) if name.startswith("fold-") else 0
    for patient, fold in free.items():
        of_patient[patient] = "val" if fold == held_out else "train"
    if name.startswith("few-"):
        training = [patient for patient in free if of_patient[patient] == "train"]
        of_patient.update(dict.fromkeys(training[_few(name.removeprefix("few-"), training) :]))
    return of_patient


def folds_of(splits: Splits, members: Sequence[Member]) -> dict[str, int]:
    """The fold of each patient who is not settled before any; it is the same in every arrangement."""
    if not splits.folds:
        return {}
    settled = _settled(splits, members)
    free = [patient for patient in _order(splits.seed, members) if patient not in settled]
    return {patient: place % splits.folds for place, patient in enumerate(free)}


def _settled(splits: Splits, members: Sequence[Member]) -> dict[str, Split]:
    """Patients whose split is stated or drawn before any fold."""
    settled: dict[str, Split] = {one.patient: one.stated for one in members if one.stated is not None}
    settled.update((one.patient, "test") for one in members if one.case in splits.test_cases)
    free = [patient for patient in _order(splits.seed, members) if patient not in settled]
    return {**settled, **dict.fromkeys(free[: splits.test], "test")}


def _few(count: str, training: Sequence[str]) -> int:
    """Patients that keep their labels."""
    wanted = round(int(count[:-1]) * len(training) / 100) if count.endswith("%") else int(count)
    if not 1 <= wanted <= len(training):
        raise ConfigError(
            f"few-{count} needs {wanted} labelled patients to train on, {len(training)} are there; get the "
            "whole data set, or take a smaller subset"
        )
    return wanted


def _order(seed: int, members: Sequence[Member]) -> list[str]:
    return sorted({member.patient for member in members}, key=lambda patient: _hash(seed, patient))


def _hash(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed} {patient}".encode()).hexdigest()
