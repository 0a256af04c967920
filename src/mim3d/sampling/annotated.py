"""Which structures were annotated in which cases: what was not is neither learnt from nor scored.

Shapes: N cases, S structures, P parts (`config.structures`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mim3d.config import FinetuneConfig
from mim3d.config.structures import membership, names, parts
from mim3d.data.catalog import Case, chosen, column_of
from mim3d.data.sources import Split
from mim3d.data.store import Store
from mim3d.errors import StoreError
from mim3d.sampling.crops import select_cases


def annotated_cases(store: Store, config: FinetuneConfig, split: Split) -> Sequence[Case]:
    """The cases of a split in which some of the structures asked for were annotated, or all.

    Raises:
        StoreError: If the store has no such label set, or no case with one of the structures.
        DataError: If the label set has no such structure.
    """
    if config.labels not in store.label_sets:
        known = ", ".join(store.label_sets) or "none"
        apart = " (that all of its stores agree on)" if store.members else ""
        raise StoreError(f"{store.path}: no label set {config.labels!r}{apart}; it has: {known}")
    cases = select_cases(store, split)
    annotated = annotated_table(store, cases, config)
    unknown = [names(config.structures)[number] for number in np.flatnonzero(~annotated.any(axis=0))]
    if unknown:
        raise StoreError(
            f"{store.path}: no case of the split `{split}` has {', '.join(unknown)} annotated; "
            "prepare more labelled cases, state splits in a CSV, or ask for fewer structures"
        )
    return chosen(cases, np.flatnonzero(annotated.any(axis=1)).tolist())


def annotated_table(store: Store, cases: Sequence[Case], config: FinetuneConfig) -> NDArray[np.bool_]:
    """Which of the structures asked for were annotated in each of some cases, (N, S)."""
    values = part_values(store, config)
    known = [labels.get(config.labels, ()) for labels in column_of(cases, "labels")]
    lacking = np.array([[value not in some for value in values] for some in known], dtype=np.bool_)
    lacking = lacking.reshape(-1, 1, len(values))  # (N, 1, P)
    return np.asarray(~(lacking & part_table(config)).any(axis=2), np.bool_)


def part_table(config: FinetuneConfig) -> NDArray[np.bool_]:
    """Which parts belong to which structure, (S, P)."""
    return np.array(membership(config.structures), dtype=np.bool_)[:, 1:]


def part_values(store: Store, config: FinetuneConfig) -> tuple[int, ...]:
    """Values in the label set of the parts of the structures asked for, in the order of their ids."""
    return store.label_sets[config.labels].values(parts(config.structures))


def annotated_structures(store: Store, case: Case, config: FinetuneConfig) -> NDArray[np.bool_]:
    """Which of the structures asked for (S,) were annotated in a case: all of their parts were."""
    return np.asarray(annotated_table(store, [case], config)[0])
