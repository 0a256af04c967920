"""Which labelled cases a run trains on, and which choose its best step: the store's splits, folds, few cases.

Folds and draws go by patient and hang on nothing but the selection's seed, the patients' keys and which
patients there are. Folds are of one size, to within a patient, and a patient who is added moves few of the
others: everybody has an order of preference among the folds, and in the order of a hash takes the first that
has room left. Few cases are the first in the order of another hash, so that 3 are among 6.
"""

import hashlib
from collections.abc import Iterable, Sequence

from mim3d.config import Selection
from mim3d.data.catalog import Case, chosen, column_of
from mim3d.errors import ConfigError, StoreError


def selected(cases: Sequence[Case], selection: Selection) -> tuple[Sequence[Case], Sequence[Case]]:
    """Cases to train on, and cases that choose the best step; never those of `test`.

    Args:
        cases: Labelled cases of a store, of any split.
        selection: What is asked for.

    Raises:
        StoreError: If there is nothing to train on or to choose by, or fewer patients than folds.
        ConfigError: If more cases are asked for than there are to train on.
    """
    splits, units = column_of(cases, "split"), _units(cases)
    if selection.folds:
        open_units = {unit for unit, split in zip(units, splits, strict=True) if split != "test"}
        fold_of = deal(open_units, selection.folds, selection.seed)
        in_val = [fold_of.get(unit) == selection.fold for unit in units]
        splits = [
            split if split == "test" else "val" if held else "train"
            for split, held in zip(splits, in_val, strict=True)
        ]
    places = {name: [n for n, split in enumerate(splits) if split == name] for name in ("train", "val")}
    for name, found in places.items():
        if not found:
            raise StoreError(
                f"no labelled case of the split `{name}`; prepare more labelled cases, state splits in a "
                "CSV, or deal the cases into folds (selection.folds)"
            )
    train = _few(places["train"], units, cases, selection) if selection.cases else places["train"]
    return chosen(cases, train), chosen(cases, places["val"])


def deal(patients: Iterable[str], folds: int, seed: int) -> dict[str, int]:
    """The fold of each patient, from 0; folds differ in size by one patient at most.

    Raises:
        StoreError: If there are fewer patients than folds.
    """
    order = sorted(set(patients), key=lambda patient: _hash("order", seed, patient))
    if len(order) < folds:
        raise StoreError(
            f"{len(order)} labelled patients beside those of `test` cannot be dealt into {folds} folds; take "
            "fewer folds (selection.folds), or prepare more"
        )
    room, larger = [len(order) // folds] * folds, len(order) % folds
    dealt = {}
    for patient in order:
        wishes = sorted(range(folds), key=lambda fold: _hash(f"fold {fold}", seed, patient))
        taken = next(fold for fold in wishes if room[fold] > 0 or (room[fold] == 0 and larger > 0))
        larger -= room[taken] == 0
        room[taken] -= 1
        dealt[patient] = taken
    return dealt


def _units(cases: Sequence[Case]) -> list[str]:
    """What must not be torn apart: the patient; of a patient who is in blocks, the block."""
    columns = (column_of(cases, name) for name in ("patient", "case", "block"))
    return [case if block else patient for patient, case, block in zip(*columns, strict=True)]


def _few(
    places: Sequence[int], units: Sequence[str], cases: Sequence[Case], selection: Selection
) -> list[int]:
    """The first so many of some places, in the order of a hash of their patients."""
    if selection.cases > len(places):
        raise ConfigError(
            f"selection.cases is {selection.cases}, but there are {len(places)} cases to train on; ask for "
            "fewer, or for 0, which takes all"
        )
    names = column_of(cases, "case")
    order = sorted(places, key=lambda place: (_hash("few", selection.seed, units[place]), names[place]))
    return sorted(order[: selection.cases])


def _hash(what: str, seed: int, patient: str) -> str:
    return hashlib.sha256(f"{what} {seed} {patient}".encode()).hexdigest()
