from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.config import FinetuneConfig, Window
from mim3d.data.catalog import Case
from mim3d.data.labels import LabelSet
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple
from mim3d.sampling import labelled as module
from mim3d.sampling.crops import select_cases
from mim3d.sampling.labelled import IGNORED, read_label_ids, read_labelled

BOX = Box((14.0, 10.0, -2.0), (16.0, 16.0, 24.0))
"""Partly below the volumes, with lung and liver in it."""
WHOLE = Box((0, 0, 0), (32.0, 29.0, 26.0))
"""All of a volume."""
ORGANS = ("organs=liver+spleen", "liver")
"""Structures that overlap."""


@pytest.fixture
def fixed_box(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int32]]:
    """Every crop is cut at BOX and not augmented; gives the voxels that it was to be drawn from."""
    voxels_given: list[NDArray[np.int32]] = []

    def draw(extent: Triple, shape: Triple, voxels: NDArray[np.int32], *_: object) -> Box:
        voxels_given.append(voxels)
        return BOX

    monkeypatch.setattr(module, "draw_region", draw)
    monkeypatch.setattr(module, "augment", lambda crop, labels, *_: (crop, labels))
    return voxels_given


def windowed(hu: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = np.clip((hu - window.low) / (window.high - window.low), 0, 1)
    return scaled


def test_a_labelled_crop_is_a_function_of_seed_and_number(store: Store, finetuning: FinetuneConfig) -> None:
    cases = select_cases(store, "train")

    def sample(seed: int, number: int) -> bytes:
        crop = read_labelled(store, cases, replace(finetuning, seed=seed), number)
        return crop.crop.tobytes() + crop.labels.tobytes()

    forwards = [sample(1, number) for number in range(6)]
    assert forwards == [sample(1, number) for number in reversed(range(6))][::-1]
    assert len(set(forwards)) == 6
    assert sample(2, 0) != sample(1, 0)


def test_labels_become_ids_in_the_order_asked(store: Store, finetuning: FinetuneConfig) -> None:
    (case, *_) = select_cases(store, "train")
    stored = store.read_labels(case.case, "labels", BOX, (16, 16, 24))
    values = store.label_sets["labels"].structures
    ids = read_label_ids(store, case, BOX, finetuning)
    expected = np.where(stored == values["liver"], 1, np.where(stored == values["lungs"], 2, 0))
    assert np.array_equal(ids, expected)
    assert set(np.unique(ids)) == {0, 1, 2}
    assert ids.dtype == np.uint8


def test_what_is_to_be_ignored_becomes_255(store: Store, finetuning: FinetuneConfig) -> None:
    (case, *_) = select_cases(store, "train")
    structures = dict(store.label_sets["labels"].structures)
    ignored = structures.pop("bowel")
    marked = replace(store, label_sets={"labels": LabelSet("labels", structures, ignore=ignored)})
    whole = Box((0, 0, 0), (32.0, 29.0, 26.0))
    ids = read_label_ids(marked, case, whole, finetuning)
    stored = store.read_labels(case.case, "labels", whole, (32, 29, 26))
    assert np.array_equal(ids == IGNORED, stored == ignored)
    assert (ids == IGNORED).any()


def test_image_and_labels_are_of_the_same_box(
    store: Store, finetuning: FinetuneConfig, fixed_box: list[NDArray[np.int32]]
) -> None:
    cases = select_cases(store, "train")[:1]
    sample = read_labelled(store, cases, finetuning, number=0)
    expected = windowed(store.read(cases[0].case, BOX, (16, 16, 16)), finetuning.window)
    np.testing.assert_allclose(sample.crop, expected, atol=1e-6)
    assert np.array_equal(sample.labels, read_label_ids(store, cases[0], BOX, finetuning))


def test_two_crops_in_three_are_about_a_structure(
    store: Store, finetuning: FinetuneConfig, fixed_box: list[NDArray[np.int32]]
) -> None:
    cases = select_cases(store, "train")[:1]
    places, body = store.foreground(cases[0].case, "labels"), store.foreground(cases[0].case, None)[0]
    for number in range(300):
        read_labelled(store, cases, finetuning, number)
    values = store.label_sets["labels"].structures
    kinds = {"liver": places[values["liver"]], "lungs": places[values["lungs"]], "body": body}
    counts = Counter(name for given in fixed_box for name, one in kinds.items() if np.array_equal(given, one))
    assert counts.total() == 300
    assert all(70 < counts[name] < 130 for name in kinds)


@pytest.mark.parametrize(("aimed", "kinds"), [(0.0, {"body"}), (1.0, {"liver"})])
def test_crops_are_about_a_structure_as_often_as_asked(
    store: Store,
    finetuning: FinetuneConfig,
    fixed_box: list[NDArray[np.int32]],
    aimed: float,
    kinds: set[str],
) -> None:
    case = select_cases(store, "train")[0]
    config = replace(finetuning, structures=("liver",), aimed=aimed)
    for number in range(20):
        read_labelled(store, [case], config, number)
    body = store.foreground(case.case, None)[0]
    assert {"body" if np.array_equal(given, body) else "liver" for given in fixed_box} == kinds


def test_several_crops_may_be_taken_of_a_case_in_a_row(store: Store, finetuning: FinetuneConfig) -> None:
    cases = select_cases(store, "train")
    config = replace(finetuning, crops_per_case=3)
    found = [read_labelled(store, cases, config, number) for number in range(18)]
    names = [crop.case for crop in found]
    assert all(len(set(names[i : i + 3])) == 1 for i in range(0, 18, 3))
    laps = [names[i : i + 9 : 3] for i in (0, 9)]
    assert all(sorted(lap) == sorted(case.case for case in cases) for lap in laps)
    assert len({crop.crop.tobytes() for crop in found}) == 18


def test_a_case_without_the_structure_is_cut_anywhere_in_its_body(
    store: Store,
    finetuning: FinetuneConfig,
    fixed_box: list[NDArray[np.int32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = store.foreground(select_cases(store, "train")[0].case, None)[0]
    found: Callable[..., dict[int, NDArray[np.int32]]] = lambda self, case, labels: (  # noqa: E731
        {} if labels else {0: body}
    )
    monkeypatch.setattr(Store, "foreground", found)
    for number in range(10):
        read_labelled(store, select_cases(store, "train"), finetuning, number)
    assert all(given is body for given in fixed_box)


def partly_annotated(store: Store, *structures: str) -> Case:
    """The first training case, as if only some structures had been outlined in it."""
    values = store.label_sets["labels"].values(structures)
    return replace(select_cases(store, "train")[0], labels={"labels": values})


def test_unions_are_read_part_by_part(store: Store, finetuning: FinetuneConfig) -> None:
    case = select_cases(store, "train")[0]
    ids = read_label_ids(store, case, WHOLE, replace(finetuning, structures=ORGANS))
    stored = store.read_labels(case.case, "labels", WHOLE, (32, 29, 26))
    liver, spleen = store.label_sets["labels"].values(("liver", "spleen"))
    assert np.array_equal(ids, np.where(stored == liver, 1, np.where(stored == spleen, 2, 0)))
    assert set(np.unique(ids)) == {0, 1, 2}


def test_crops_say_which_structures_were_annotated(store: Store, finetuning: FinetuneConfig) -> None:
    case = partly_annotated(store, "liver", "lungs")
    config = replace(finetuning, structures=(*ORGANS, "lungs"))
    assert read_labelled(store, [case], config, 0).annotated.tolist() == [False, True, True]
    whole = select_cases(store, "train")[0]
    sample = read_labelled(store, [whole], config, 0)
    assert sample.annotated.tolist() == [True, True, True]
    assert sample.case == whole.case


def test_what_is_shown_though_not_annotated_is_ignored(store: Store, finetuning: FinetuneConfig) -> None:
    config = replace(finetuning, structures=("lungs", *ORGANS))
    sure, partly, none = (
        read_label_ids(store, case, WHOLE, config)
        for case in (
            select_cases(store, "train")[0],
            partly_annotated(store, "lungs", "liver"),
            partly_annotated(store, "lungs", "spleen"),
        )
    )
    assert np.array_equal(partly, np.where(sure == 3, IGNORED, sure))  # nothing there is made of spleen
    assert np.array_equal(none, np.where(sure >= 2, IGNORED, sure))
    assert (sure == 3).any()


def test_crops_are_about_annotated_structures_only(
    store: Store, finetuning: FinetuneConfig, fixed_box: list[NDArray[np.int32]]
) -> None:
    case = partly_annotated(store, "liver")
    config = replace(finetuning, structures=(*ORGANS, "lungs"))
    for number in range(60):
        read_labelled(store, [case], config, number)
    liver = store.foreground(case.case, "labels")[store.label_sets["labels"].structures["liver"]]
    body = store.foreground(case.case, None)[0]
    found = [[np.array_equal(given, one) for one in (liver, body)] for given in fixed_box]
    assert all(any(row) for row in found)
    assert 25 < sum(row[0] for row in found) < 55


def test_voxels_of_a_union_are_those_of_its_parts(
    store: Store, finetuning: FinetuneConfig, fixed_box: list[NDArray[np.int32]]
) -> None:
    case = select_cases(store, "train")[0]
    places = store.foreground(case.case, "labels")
    both = np.concatenate([places[v] for v in store.label_sets["labels"].values(("liver", "spleen"))])
    for number in range(20):
        read_labelled(store, [case], replace(finetuning, structures=ORGANS[:1]), number)
    assert any(np.array_equal(given, both) for given in fixed_box)
