"""Which cases a run was made with: told, and written into its folder."""

from collections.abc import Sequence
from pathlib import Path

from mim3d.config import Selection
from mim3d.data.catalog import Case, chosen, column_of
from mim3d.data.store import Store
from mim3d.recipes.messages import say
from mim3d.reporting.text_table import counted
from mim3d.sampling.selection import are_stated
from mim3d.train.run_folder import read_json, write_json

CASES = "cases.json"
"""Cases by what they are to a run, with their patients' keys: `train`, `val`, which choose its best step,
`PRETRAINED` and `EARLIER`, from which the weights that it began with had learnt."""
PRETRAINED = "pretrained"
"""Cases that were learnt from without labels."""
EARLIER = "earlier"
"""Cases that an earlier fine-tuning learnt from or chose by."""
UNTOLD = "untold"
"""Stands there, without cases, where weights that the run began with do not say what they learnt from."""


def write_cases(run: Path, *, keep: bool, **cases: Sequence[Case]) -> None:
    """Write down which cases a run learns from, which choose its best step, which its weights know.

    Args:
        run: Its folder.
        keep: Whether what is on record stays, as in a resumed run, should the store have changed since.
        cases: By what they are to the run.
    """
    named = read_json(run / CASES) if keep and (run / CASES).exists() else {}
    for split, some in cases.items():
        keys = zip(column_of(some, "case"), column_of(some, "patient"), strict=True)
        named[split] = named.get(split, {}) | dict(keys)
    write_json(run / CASES, named)


def known_to(init: Path | None, store: Store) -> dict[str, Sequence[Case]]:
    """Cases of a store whose patients taught the weights that a run begins with.

    Args:
        init: Run folder of these weights; exported ones do not say what they learnt from.
        store: Whose cases the run learns from.

    Returns:
        Those of `PRETRAINED` and those of `EARLIER`; `UNTOLD` where some of them are not known.
    """
    if init is None:
        return {}
    if not (init / CASES).is_file():
        return {UNTOLD: ()}
    said = read_json(init / CASES)
    taught = {patient for split, some in said.items() if split != PRETRAINED for patient in some.values()}
    return {
        PRETRAINED: _of_patients(store, set(said.get(PRETRAINED, {}).values())),
        EARLIER: _of_patients(store, taught),
        **({UNTOLD: ()} if UNTOLD in said else {}),
    }


def _of_patients(store: Store, patients: set[str]) -> Sequence[Case]:
    keys = column_of(store.catalog.cases, "patient")
    return chosen(store.catalog.cases, [number for number, key in enumerate(keys) if key in patients])


def say_selection(
    cases: Sequence[Case], train: Sequence[Case], val: Sequence[Case], selection: Selection
) -> None:
    """Tell how cases were divided, where that is not as the store's splits say."""
    if selection == Selection():
        return
    folds = "as the store states them" if are_stated(cases, selection) else "dealt by patient"
    of = f"fold {selection.fold} of {selection.folds}, {folds}: " if selection.folds else ""
    say(f"{of}{counted(len(train), 'case')} train, {len(val)} choose the best step")
