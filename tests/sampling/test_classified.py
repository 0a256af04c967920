"""Which cases are classified, by which classes, and how much each class counts."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mim3d.config import ClassifyConfig
from mim3d.data.catalog import Catalog
from mim3d.data.sources import Split
from mim3d.data.store import Store
from mim3d.errors import ConfigError, StoreError
from mim3d.sampling.classified import classified_cases, require_taught, truth_of, weights_of, with_classes

CONFIG = ClassifyConfig(target="site")
SPLITS: tuple[Split, ...] = ("val", "train", "train", "train", "test")


@pytest.fixture
def classified(store: Store) -> Callable[..., Store]:
    """The store with other targets and splits: `site` of the five cases, in the order of their names."""

    def change(*sites: str) -> Store:
        cases = sorted(store.catalog.cases, key=lambda case: case.case)
        named = tuple(
            replace(case, split=split, targets=f'{{"site": "{site}"}}' if site else "")
            for case, split, site in zip(cases, SPLITS, sites, strict=True)
        )
        return replace(store, catalog=Catalog(named))

    return change


def names(store: Store, config: ClassifyConfig) -> list[str]:
    """Of the cases to train on, then of those to choose by."""
    return [case.case for split in SPLITS[1::-1] for case in classified_cases(store, config, split)]


def test_classes_are_those_that_occur_but_not_of_the_test(classified: Callable[..., Store]) -> None:
    store = classified("lung", "none", "liver", "", "kidney")
    config = with_classes(store, CONFIG)
    assert config.classes == ("liver", "lung", "none")
    assert with_classes(store, config) == config
    assert names(store, config) == ["phantom_0001", "phantom_0002", "phantom_0000"]
    cases = classified_cases(store, config, "train")
    assert truth_of(cases, config).tolist() == [[False, False, True], [True, False, False]]


def test_named_classes_leave_the_others_out(classified: Callable[..., Store]) -> None:
    store = classified("lung", "none", "liver", "lung", "kidney")
    config = with_classes(store, replace(CONFIG, classes=("lung", "liver")))
    assert config.classes == ("lung", "liver")
    assert names(store, config) == ["phantom_0002", "phantom_0003", "phantom_0000"]


def test_several_findings_a_case(classified: Callable[..., Store]) -> None:
    store = classified("none", "liver;lung", "lung", "", "kidney")
    config = with_classes(store, replace(CONFIG, multi_label=True))
    assert config.classes == ("liver", "lung")
    cases = classified_cases(store, config, "train")
    assert truth_of(cases, config).tolist() == [[True, True], [False, True]]
    assert truth_of(classified_cases(store, config, "val"), config).tolist() == [[False, False]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ClassifyConfig(), r"no target is named; name one with --target, it has: site$"),
        (ClassifyConfig(target="age"), r"no target 'age'; name one with --target, it has: site$"),
        (
            replace(CONFIG, classes=("lung", "kidney")),
            "classes of site outside the split `test`: liver, lung, none; not among them: kidney",
        ),
        (
            replace(CONFIG, classes=("lung",)),
            "classes of site outside the split `test`: liver, lung, none; at least 2 are needed",
        ),
    ],
)
def test_what_cannot_be_classified(
    classified: Callable[..., Store], config: ClassifyConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        with_classes(classified("lung", "none", "liver", "", "kidney"), config)


def test_a_store_without_targets_says_where_to_state_them(classified: Callable[..., Store]) -> None:
    with pytest.raises(ConfigError, match=r"it has: none; docs/data.md says how to state them$"):
        with_classes(classified("", "", "", "", ""), CONFIG)
    with pytest.raises(
        StoreError, match="no case of the split `val` has the target site and one of its classes"
    ):
        classified_cases(classified("", "lung", "", "", ""), replace(CONFIG, classes=("lung",)), "val")


TRUTH = np.array([[True, False, False]] * 6 + [[False, True, False]] * 2 + [[False, False, True]])


def test_balanced_classes_count_the_same_together() -> None:
    config = replace(CONFIG, classes=("a", "b", "c"), class_weights="balanced")
    weights = weights_of(TRUTH, config)
    assert weights.tolist() == [0.5, 1.5, 3.0]
    assert (TRUTH * weights).sum(axis=0).tolist() == [3.0, 3.0, 3.0]
    several = weights_of(TRUTH, replace(config, multi_label=True))
    assert several.tolist() == [0.5, 3.5, 8.0]
    assert weights_of(TRUTH, replace(config, class_weights="none")).tolist() == [1.0, 1.0, 1.0]


def test_what_teaches_nothing_is_refused() -> None:
    config = replace(CONFIG, classes=("a", "b", "c"))
    require_taught(TRUTH, TRUTH, config)
    with pytest.raises(StoreError, match="none of the 6 training cases is b, c; name --classes without it"):
        require_taught(TRUTH[:6], TRUTH, config)
    with pytest.raises(
        StoreError, match=r"all 6 cases to choose the best step by are alike \(a\), but auroc"
    ):
        require_taught(TRUTH, TRUTH[:6], config)
    require_taught(TRUTH, TRUTH[:6], replace(config, chosen_by="accuracy"))
