from dataclasses import replace

import pytest

from mim3d.config import FinetuneConfig
from mim3d.data.catalog import Case, Catalog
from mim3d.data.store import Store
from mim3d.errors import DataError, StoreError
from mim3d.sampling.annotated import annotated_cases, annotated_structures, annotated_table
from mim3d.sampling.crops import select_cases


def annotated_in(store: Store, case: Case, *structures: str) -> Case:
    return replace(case, labels={"labels": store.label_sets["labels"].values(structures)})


def test_cases_are_those_of_the_split_in_which_a_structure_is_annotated(
    store: Store, finetuning: FinetuneConfig
) -> None:
    train = select_cases(store, "train")
    assert [case.case for case in train] == sorted(case.case for case in train)
    assert annotated_cases(store, finetuning, "train") == train
    cases = (annotated_in(store, train[0], "spleen"), annotated_in(store, train[1], "liver"), train[2])
    others = replace(store, catalog=Catalog(cases))
    assert annotated_cases(others, finetuning, "train") == cases[1:]
    assert annotated_table(others, cases, finetuning).tolist() == [
        [False, False],
        [True, False],
        [True, True],
    ]


def test_a_union_is_annotated_where_all_of_its_parts_are(store: Store, finetuning: FinetuneConfig) -> None:
    train = select_cases(store, "train")
    config = replace(finetuning, structures=("organs=liver+spleen", "spleen"))
    assert annotated_structures(store, train[0], config).tolist() == [True, True]
    for known, expected in (("liver", [False, False]), ("spleen", [False, True])):
        case = annotated_in(store, train[0], known)
        assert annotated_structures(store, case, config).tolist() == expected
    assert annotated_structures(store, replace(train[0], labels={}), config).tolist() == [False, False]


def test_an_unknown_label_set_is_refused(store: Store, finetuning: FinetuneConfig) -> None:
    with pytest.raises(StoreError, match=r"store: no label set 'organs'; it has: labels$"):
        annotated_cases(store, replace(finetuning, labels="organs"), "train")


def test_an_unknown_structure_is_refused(store: Store, finetuning: FinetuneConfig) -> None:
    with pytest.raises(DataError, match="label set labels has no structure gills; it has: aorta, bowel, "):
        annotated_cases(store, replace(finetuning, structures=("liver", "gills")), "train")


def test_a_structure_that_is_annotated_nowhere_is_refused(store: Store, finetuning: FinetuneConfig) -> None:
    train = replace(store, catalog=store.catalog.select("train"))
    message = "no case of the split `val` has liver, lungs annotated; prepare more labelled cases"
    with pytest.raises(StoreError, match=message):
        annotated_cases(train, finetuning, "val")
    cases = tuple(annotated_in(store, case, "liver") for case in select_cases(store, "train"))
    with pytest.raises(StoreError, match="no case of the split `train` has lungs annotated; prepare more"):
        annotated_cases(replace(store, catalog=Catalog(cases)), finetuning, "train")
