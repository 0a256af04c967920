"""Which labelled cases a run trains on, and which choose its best step: the store's splits, folds, few cases.

Folds and draws go by patient and hang on nothing but the selection's seed, the patients' keys and which
patients there are. Folds are of one size, to within a patient, and a patient who is added moves few of the
others: everybody has an order of preference among the folds, and in the order of a hash takes the first that
has room left. Where the store states as many folds, those are taken. Few cases are the first in the order of
another hash, so that 3 are among 6.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from mim3d.config import Selection
from mim3d.data.catalog import Case, chosen, column_of
from mim3d.errors import ConfigError, StoreError


def selected(
    cases: Sequence[Case], selection: Selection, strata: Sequence[str] | None = None
) -> tuple[Sequence[Case], Sequence[Case]]:
    """Cases to train on, and cases that choose the best step; never those of `test`.

    Args:
        cases: Labelled cases of a store, of any split.
        selection: What is asked for.
        strata: What each case is, e.g. its class: folds have the same share of each, as far as it goes.

    Raises:
        StoreError: If there is nothing to train on or to choose by, or fewer patients than folds.
        ConfigError: If more cases are asked for than there are to train on.
    """
    splits, units = column_of(cases, "split"), _units(cases)
    if selection.folds:
        kinds = strata or [""] * len(cases)
        stratum_of: dict[str, str] = {}
        for unit, split, kind in zip(units, splits, kinds, strict=True):
            if split != "test":
                stratum_of[unit] = min(stratum_of.get(unit, kind), kind)
        fold_of = _stated(cases, units, selection.folds) or deal(stratum_of, selection.folds, selection.seed)
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


def are_stated(cases: Sequence[Case], selection: Selection) -> bool:
    """Whether the store states the folds that are asked for, of all cases but those of `test`."""
    return bool(selection.folds and _stated(cases, _units(cases), selection.folds))


def _stated(cases: Sequence[Case], units: Sequence[str], folds: int) -> dict[str, int]:
    """The fold of each patient as the store has it; none unless it has as many, of all but `test`."""
    splits, stated = column_of(cases, "split"), column_of(cases, "fold")
    found: dict[str, int] = {}
    for unit, split, fold in zip(units, splits, stated, strict=True):
        if split == "test":
            continue
        if fold is None or found.setdefault(unit, fold) != fold:
            return {}
    return found if set(found.values()) == set(range(folds)) else {}


def deal(stratum_of: Mapping[str, str], folds: int, seed: int) -> dict[str, int]:
    """The fold of each patient, from 0; folds differ in size by one patient at most, in each stratum too.

    Raises:
        StoreError: If there are fewer patients than folds.
    """
    if len(stratum_of) < folds:
        raise StoreError(
            f"{len(stratum_of)} labelled patients beside those of `test` cannot be dealt into {folds} folds; "
            "take fewer folds (selection.folds), or prepare more"
        )
    dealt: dict[str, int] = {}
    for stratum in sorted(set(stratum_of.values())):
        members = [patient for patient, one in stratum_of.items() if one == stratum]
        sizes = Counter(dealt.values())
        wanting = sorted(
            range(folds), key=lambda fold: (sizes[fold], _hash(f"room {stratum}", seed, str(fold)))
        )
        room = Counter(wanting * (len(members) // folds) + wanting[: len(members) % folds])
        for patient in sorted(members, key=lambda patient: _hash("order", seed, patient)):
            wishes = sorted(range(folds), key=lambda fold: _hash(f"fold {fold}", seed, patient))
            taken = next(fold for fold in wishes if room[fold])
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
