"""Which split a case belongs to: as stated, else by patient, never one patient in two.

The order in which patients are dealt out hangs on a hash of their identifiers alone, and what was dealt
before is kept: a preparation that was interrupted, or that adds scans, moves nobody.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mim3d.data.sources import Split
from mim3d.errors import ConfigError, DataError

BLOCK = "block of one patient"
"""Rows whose note says this may share their patient with other splits."""


@dataclass(frozen=True)
class Shares:
    """How labelled patients without a stated split are dealt out; the rest is to train on."""

    val: float = 0.2
    """Share that becomes "val"."""
    test: float = 0.0
    """Share that becomes "test"."""

    def __post_init__(self) -> None:
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):  # false for NaN
            raise ConfigError(
                f"val_share {self.val} and test_share {self.test}: each must be at least 0, and both "
                "together below 1 so that something is left to train on"
            )


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of a scan before its split is."""

    case: str
    patient: str
    """Identifier of the patient."""
    stated: Split | None
    labelled: bool
    block: bool = False


def assign_splits(rows: Sequence[Row], known: Mapping[str, Split], shares: Shares) -> dict[str, Split]:
    """The split of each case.

    Args:
        rows: All scans of this preparation.
        known: Patient -> split of cases that the store holds already.
        shares: For labelled patients without a stated split.

    Raises:
        DataError: If one patient would be in two splits, and not all of their rows are marked as blocks.
    """
    stated: dict[str, Split] = {row.patient: row.stated for row in rows if row.stated is not None}
    settled = {**known, **stated}
    open_rows = [row for row in rows if row.stated is None and row.patient not in stated]
    settled.update(_deal(open_rows, known, shares))
    splits = {row.case: row.stated or settled[row.patient] for row in rows}
    _refuse_leaks(rows, splits, known)
    return splits


def _deal(rows: Sequence[Row], known: Mapping[str, Split], shares: Shares) -> dict[str, Split]:
    """Deal patients without a stated split: labelled ones by share, the others to training."""
    labelled = sorted({row.patient for row in rows if row.labelled}, key=_order)
    dealt: dict[str, Split] = {row.patient: "train" for row in rows}
    dealt.update({patient: known[patient] for patient in dealt if patient in known})
    waiting = [patient for patient in labelled if patient not in known]
    wanted: tuple[tuple[Split, float], ...] = (("val", shares.val), ("test", shares.test))
    free = len(labelled) - 1  # one is left to train on
    for split, share in wanted:
        share_of_all = min(_count(share, len(labelled)), max(free, 0))
        free -= share_of_all
        have = sum(known.get(patient) == split for patient in labelled)
        count = max(share_of_all - have, 0)
        dealt.update((patient, split) for patient in waiting[:count])
        waiting = waiting[count:]
    return dealt


def _count(share: float, patients: int) -> int:
    """Patients that a share means: at least one if it is not 0 and there are two."""
    return max(round(share * patients), int(share > 0 and patients > 1))


def _order(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()


def _refuse_leaks(rows: Sequence[Row], splits: Mapping[str, Split], known: Mapping[str, Split]) -> None:
    unmarked = {row.patient for row in rows if not row.block}
    first: dict[str, Row] = {}
    for row in rows:
        if row.patient not in unmarked:
            continue
        other = first.setdefault(row.patient, row)
        if splits[other.case] != splits[row.case]:
            _leak(row.case, splits[row.case], f"case {other.case}", splits[other.case])
        if known.get(row.patient, splits[row.case]) != splits[row.case]:
            _leak(row.case, splits[row.case], "a case that the store holds", known[row.patient])


def _leak(case: str, split: Split, other: str, other_split: Split) -> None:
    raise DataError(
        f"case {case} is in split {split}, but {other} of the same patient is in {other_split}; give "
        f'all scans of a patient one split, or, if they are blocks of one scan, write "{BLOCK}" into their '
        "column `note`"
    )
