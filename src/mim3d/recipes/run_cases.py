"""Which cases a run was made with: told, and written into its folder."""

from collections.abc import Sequence
from pathlib import Path

from mim3d.config import Selection
from mim3d.data.catalog import Case, column_of
from mim3d.recipes.messages import say
from mim3d.reporting.text_table import counted
from mim3d.sampling.selection import are_stated
from mim3d.train.run_folder import read_json, write_json

CASES = "cases.json"
"""Cases that a run learns from, and cases that choose its best step, with their patients' keys."""


def write_cases(run: Path, *, resumed: bool, **cases: Sequence[Case]) -> None:
    """Write down which cases a run learns from and which choose its best step.

    What a resumed run was begun with stays on record, should the store have changed since.
    """
    before = read_json(run / CASES) if resumed and (run / CASES).exists() else {}
    named = {
        split: before.get(split, {})
        | dict(zip(column_of(some, "case"), column_of(some, "patient"), strict=True))
        for split, some in cases.items()
    }
    write_json(run / CASES, named)


def say_selection(
    cases: Sequence[Case], train: Sequence[Case], val: Sequence[Case], selection: Selection
) -> None:
    """Tell how cases were divided, where that is not as the store's splits say."""
    if selection == Selection():
        return
    folds = "as the store states them" if are_stated(cases, selection) else "dealt by patient"
    of = f"fold {selection.fold} of {selection.folds}, {folds}: " if selection.folds else ""
    say(f"{of}{counted(len(train), 'case')} train, {len(val)} choose the best step")
