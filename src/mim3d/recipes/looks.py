"""That a run looked at a split which was to choose nothing: when, and on what, is kept with the run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mim3d import __version__
from mim3d.data.catalog import Case, column_of
from mim3d.data.place import name_at
from mim3d.data.store import Store
from mim3d.errors import DataError
from mim3d.recipes.messages import say
from mim3d.recipes.run_cases import CASES, PRETRAINED
from mim3d.train.run_folder import read_json, write_json

LOOKS = "looks.json"


def note_look(folder: Path, split: str, store: str, catalog: str) -> int:
    """Write down that a split of a store was looked at; gives how often that was done with this folder."""
    looks = read_looks(folder)
    looks.append(
        {
            "split": split,
            "store": store,
            "catalog": catalog,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "mim3d": __version__,
        }
    )
    write_json(folder / LOOKS, {"looks": looks})
    return sum(look.get("split") == split for look in looks)


def read_looks(folder: Path) -> list[dict[str, Any]]:
    """What was looked at, the first look first."""
    if not (folder / LOOKS).exists():
        return []
    looks: list[dict[str, Any]] = read_json(folder / LOOKS).get("looks", [])
    return looks


def refuse_seen(run: Path, split: str, cases: Sequence[Case]) -> None:
    """Raise if patients of the cases taught a run or chose its best step, unless that is what was asked for.

    Raises:
        DataError: If there is such a patient and the split is `test`.
    """
    if not (run / CASES).exists():
        say(f"warning: {run} does not say which cases it was made with: not checked that these are others")
        return
    seen = _seen(run)
    patients = column_of(cases, "patient")
    without_labels = set(read_json(run / CASES).get(PRETRAINED, {}).values())
    if number := sum(one in without_labels for one in patients):
        say(
            f"{number} of {len(cases)} cases are of patients from whose scans, without labels, the encoder "
            f"of {run.name} learnt: say so with the result"
        )
    known = [name for name, one in zip(column_of(cases, "case"), patients, strict=True) if one in seen]
    if not known:
        return
    told = f"{len(known)} of {len(cases)} cases are of patients who taught {run.name} or chose its best step"
    if split == "test":
        raise DataError(
            f"{told} (e.g. {known[0]}): the store was divided in another way when the run was made; score it "
            "on a store divided as that one was"
        )
    say(f"{told}: their scores are too good")


def warn_of_other_keys(run: Path, store: Store) -> None:
    """Say so where keys cannot tell whether a run has seen patients of a store, as they share none."""
    known = set(column_of(store.catalog.cases, "patient"))
    if (run / CASES).exists() and known.isdisjoint(_seen(run)):
        name = name_at(store.path)
        say(
            f"warning: {run} learnt from another store, and none of its patients' keys is in {name}: not "
            "checked that these are other patients; `mim3d overlap` finds scans that are in both stores"
        )


def _seen(run: Path) -> set[str]:
    """Keys of the patients who taught a run or chose its best step."""
    said = read_json(run / CASES).items()
    return {patient for split, one in said if split != PRETRAINED for patient in one.values()}
