"""Which cases have a class, and which: what a classifier learns from and is judged by.

Shapes: N cases, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mim3d.config import ClassifyConfig
from mim3d.data.catalog import Case, chosen, column_of
from mim3d.data.sources import Split
from mim3d.data.store import Store
from mim3d.data.targets import NONE, classes_of, findings, names_of, targets_of_text
from mim3d.errors import ConfigError, StoreError
from mim3d.sampling.crops import select_cases

_SEEN: tuple[Split, ...] = ("train", "val")
"""Splits that a run may look at before it is judged."""


def with_classes(store: Store, config: ClassifyConfig) -> ClassifyConfig:
    """The configuration with its classes: those named, or all that the store's cases have, but for `test`.

    Raises:
        ConfigError: If no target is named, or a class that none of these cases has, or too few classes.
    """
    known = store.catalog.column("targets")
    if config.target not in names_of(known):
        asked = f"no target {config.target!r}" if config.target else "no target is named"
        stated = ", ".join(names_of(known)) or "none; docs/data.md says how to state them"
        raise ConfigError(f"{store.path}: {asked}; name one with --target, it has: {stated}")
    texts = column_of(select_cases(store, *_SEEN), "targets")
    values = classes_of(texts, config.target)
    occurring = {name for value in values for name in findings(value)} if config.multi_label else set(values)
    chosen_ones = config.classes or tuple(sorted(occurring))
    strange, least = [name for name in chosen_ones if name not in occurring], 1 if config.multi_label else 2
    if strange or len(chosen_ones) < least:
        asked = f"not among them: {', '.join(strange)}" if strange else f"at least {least} are needed"
        raise ConfigError(
            f"{store.path}: classes of {config.target} outside the split `test`: "
            f"{', '.join(sorted(occurring)) or NONE}; {asked}"
        )
    return replace(config, classes=chosen_ones)


def classified_cases(store: Store, config: ClassifyConfig, *splits: Split) -> Sequence[Case]:
    """The cases of some splits that have one of the classes; with several labels, any or none of them.

    Raises:
        StoreError: If there is none.
    """
    cases = select_cases(store, *splits)
    values = [targets_of_text(text).get(config.target) for text in column_of(cases, "targets")]
    known = [value is not None and (config.multi_label or value in config.classes) for value in values]
    cases = chosen(cases, np.flatnonzero(known).tolist())
    if not cases:
        raise StoreError(
            f"{store.path}: no case of the split `{'` or `'.join(splits)}` has the target {config.target} "
            f"and one of its classes, {', '.join(config.classes)}; state it of more scans, or splits in a CSV"
        )
    return cases


def classes_in(cases: Sequence[Case], config: ClassifyConfig) -> list[str]:
    """What the target says of each case."""
    return [targets_of_text(text)[config.target] for text in column_of(cases, "targets")]


def truth_of(cases: Sequence[Case], config: ClassifyConfig) -> NDArray[np.bool_]:
    """Which classes each case has, (N, K)."""
    values = classes_in(cases, config)
    named = (findings(value) if config.multi_label else {value} for value in values)
    rows = [[name in own for name in config.classes] for own in named]
    return np.array(rows, np.bool_).reshape(-1, len(config.classes))


def weights_of(truth: NDArray[np.bool_], config: ClassifyConfig) -> NDArray[np.float32]:
    """How much each class (K,) counts, from the training cases' truth (N, K).

    Balanced, a class of n cases of N counts N / (K n), so that all classes together count the same; with
    several labels, the cases that have it count (N - n) / n times as much as those that do not.
    """
    if config.class_weights == "none":
        return np.ones(truth.shape[1], np.float32)
    counts = truth.sum(axis=0)
    others = len(truth) - counts if config.multi_label else len(truth) / truth.shape[1]
    return np.asarray(others / counts, np.float32)


def require_taught(train: NDArray[np.bool_], val: NDArray[np.bool_], config: ClassifyConfig) -> None:
    """Raise unless every class can be learnt, and the best step be chosen by the measure asked for.

    Args:
        train: Truth of the training cases, (N, K).
        val: Truth of the validation cases, (M, K).
        config: Of the run.

    Raises:
        StoreError: If a class has no training case, or each class is had by all validation cases or by none.
    """
    counts = train.sum(axis=0)
    lacking = [name for name, count in zip(config.classes, counts, strict=True) if not count]
    if lacking:
        raise StoreError(
            f"none of the {len(train)} training cases is {', '.join(lacking)}; name --classes without it, "
            "train on more cases, or state splits in a CSV"
        )
    counts = val.sum(axis=0)
    needed = ("auroc", "balanced_accuracy", "f1") if config.multi_label else ("auroc",)
    if config.chosen_by in needed and not any(0 < count < len(val) for count in counts):
        had = ", ".join(name for name, count in zip(config.classes, counts, strict=True) if count) or NONE
        raise StoreError(
            f"all {len(val)} cases to choose the best step by are alike ({had}), but {config.chosen_by} "
            "needs others too; state splits in a CSV, or choose by another measure: --chosen-by accuracy"
        )
