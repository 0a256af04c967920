"""That a run looked at a split which was to choose nothing: when, and on what, is kept with the run."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mim3d import __version__
from mim3d.data.catalog import Case, column_of
from mim3d.data.place import name_at
from mim3d.data.store import Store
from mim3d.errors import DataError
from mim3d.recipes.messages import say
from mim3d.recipes.run_cases import CASES, PRETRAINED, UNTOLD
from mim3d.train.run_folder import read_json, write_json

LOOKS = "looks.json"


def note_look(folder: Path, split: str, store: Store) -> int:
    """Write down and tell that a split of a store was looked at; gives how often that was done with a run.

    Args:
        folder: Of the run, or of a cross-validation.
        split: Of the store.
        store: Whose scores were taken.
    """
    looks = read_looks(folder)
    looks.append(
        {
            "split": split,
            "store": name_at(store.path),
            "catalog": store.hash,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "mim3d": __version__,
        }
    )
    write_json(folder / LOOKS, {"looks": looks})
    number: int = sum(look.get("split") == split for look in looks)
    often = "the first look" if number == 1 else f"look number {number}"
    say(f"{folder}: {often} at the split {split} with this run ({LOOKS})")
    return number


def read_looks(folder: Path) -> list[dict[str, Any]]:
    """What was looked at, the first look first."""
    if not (folder / LOOKS).exists():
        return []
    looks: list[dict[str, Any]] = read_json(folder / LOOKS).get("looks", [])
    return looks


def refuse_seen(run: Path, split: str, cases: Sequence[Case]) -> None:
    """Raise if cases of `test` are of patients who taught a run or chose its best step; else only say so.

    Raises:
        DataError: If there is such a patient and the split is `test`.
    """
    if not (run / CASES).exists():
        say(f"warning: {run} does not say which cases it was made with: not checked that these are others")
        return
    said = read_json(run / CASES)
    if UNTOLD in said:
        say(
            f"warning: the weights that {run} began with do not say from whose scans they learnt: not checked"
        )
    say_pretrained(run, set(said.get(PRETRAINED, {}).values()), cases)
    seen, patients = _seen(said), column_of(cases, "patient")
    known = [name for name, one in zip(column_of(cases, "case"), patients, strict=True) if one in seen]
    if not known:
        return
    told = f"{len(known)} of {len(cases)} cases are of patients who taught {run.name} or chose its best step"
    if split == "test":
        raise DataError(
            f"{told} (e.g. {known[0]}): the store was divided in another way when the run was made; score it "
            "on a store divided as that one was"
        )
    say(f"warning: {told}: their scores are too good")


def say_pretrained(run: Path, known: Collection[str], cases: Sequence[Case]) -> None:
    """Warn of cases whose patients, by their keys, taught the encoder of a run without labels."""
    number = sum(one in known for one in column_of(cases, "patient"))
    if number:
        say(
            f"warning: {number} of {len(cases)} cases are of patients from whose scans, without labels, the "
            f"encoder of {run.name} learnt: say so with the result"
        )


def warn_of_other_keys(run: Path, store: Store) -> None:
    """Say so where keys cannot tell whether a run has seen patients of a store, as they share none."""
    known = set(column_of(store.catalog.cases, "patient"))
    if (run / CASES).exists() and known.isdisjoint(_seen(read_json(run / CASES))):
        name = name_at(store.path)
        say(
            f"warning: {run} learnt from another store, and none of its patients' keys is in {name}: not "
            "checked that these are other patients; `mim3d overlap` finds scans that are in both stores"
        )


def _seen(said: dict[str, dict[str, str]]) -> set[str]:
    """Keys of the patients who taught a run or chose its best step, of what its cases.json says."""
    return {patient for split, one in said.items() if split != PRETRAINED for patient in one.values()}
