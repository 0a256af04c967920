"""Phantoms with planted mistakes: they come first, each with its reason."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.data.catalog import Catalog, Rejected, write_rejected
from mim3d.data.layout import case_folder
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.store import Store, open_store
from mim3d.reporting.inspect_measures import label_counts, measure
from mim3d.reporting.inspect_page import render_store
from mim3d.reporting.inspect_pictures import outlines, sheet, window_of
from mim3d.reporting.inspect_ranking import Suspect, examine, ranked

Array = NDArray[Any]
NUM_CASES = 9
WRONG = {
    "phantom_0000": "the darkest hundredth of the voxels reaches",
    "phantom_0001": "32 mm along z, 40 to 2200 are expected: is the spacing right?",
    "phantom_0002": "left and right are swapped, in the labels or in the whole case",
    "phantom_0003": "the label map labels is empty",
    "phantom_0004": "head and foot are swapped",
    "phantom_0005": "left and right are swapped, in the labels or in the whole case",
}
"""What is planted, and how it is told."""


def edit(path: Path, change: Callable[[Array], Array], scale: float = 1.0) -> None:
    scan = nibabel.load(path)
    array = np.ascontiguousarray(change(np.asanyarray(scan.dataobj)))
    affine = scan.affine @ np.diag([scale, scale, scale, 1.0])
    nibabel.Nifti1Image(array, affine).to_filename(path)


def plant(raw: Path) -> None:
    """HU shifted, spacing a tenth, labels mirrored, labels empty, upside down, a whole case mirrored."""
    images, labels = (
        [raw / folder / f"phantom_{case:04d}{end}.nii.gz" for case in range(6)]
        for folder, end in (("imagesTr", "_0000"), ("labelsTr", ""))
    )
    edit(images[0], lambda hu: (hu + 1024).astype(np.int16))
    for file in (images[1], labels[1]):
        edit(file, lambda array: array, scale=0.1)
    edit(labels[2], lambda array: array[::-1])
    edit(labels[3], np.zeros_like)
    for file in (images[4], labels[4]):
        edit(file, lambda array: array[:, :, ::-1])
    for file in (images[5], labels[5]):
        edit(file, lambda array: array[::-1])


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Nine phantoms of 40 x 36 x 32 voxels of 10 mm, six of them with a mistake."""
    folder = tmp_path_factory.mktemp("planted")
    options = PhantomOptions(shape=(40, 36, 32), spacing=10.0, separate_kidneys=True)
    make_phantoms(folder / "raw", options, cases=NUM_CASES)
    plant(folder / "raw")
    prepare_store(folder / "raw", folder / "store", spacing="native", workers=1)
    write_rejected(folder / "store", [Rejected(key=str(n), reason="no voxels <&>") for n in range(3)])
    return open_store(folder / "store")


def unseen(done: int, total: int) -> None:
    """Progress that nobody looks at."""
    assert done <= total


def rank(store: Store, *, quick: bool = False) -> tuple[Suspect, ...]:
    sets = tuple(store.label_sets)
    subjects = examine(store, sets, unseen, quick=quick)
    return ranked(subjects, {name: store.label_sets[name].structures for name in sets}, unseen)


@pytest.fixture(scope="module")
def suspects(planted: Store) -> tuple[Suspect, ...]:
    return rank(planted)


def test_planted_mistakes_come_first(suspects: tuple[Suspect, ...]) -> None:
    first = {one.subject.case.case: one for one in suspects[: len(WRONG)]}
    assert first.keys() == WRONG.keys()
    for name, words in WRONG.items():
        assert any(words in finding.words for finding in first[name].findings), first[name].findings
    assert [one.findings for one in suspects[len(WRONG) :]] == [()] * (NUM_CASES - len(WRONG))


def test_mirrored_labels_name_the_kidneys(suspects: tuple[Suspect, ...]) -> None:
    (mirrored,) = (one for one in suspects if one.subject.case.case == "phantom_0002")
    assert re.search(r": left_kidney lies \d+ mm to the right of right_kidney ", mirrored.findings[0].words)


def test_the_catalog_alone_tells_some(planted: Store) -> None:
    first, second, *others = rank(planted, quick=True)
    assert {one.subject.case.case for one in (first, second)} == {"phantom_0000", "phantom_0001"}
    assert [one for one in others if one.findings] == []


def test_what_is_measured_is_what_is_there(planted: Store) -> None:
    case = planted.case("phantom_0007")
    structures = measure(planted, case, ("labels",)).structures["labels"]
    labels = np.asanyarray(
        nibabel.load(planted.path.parent / "raw" / "labelsTr" / "phantom_0007.nii.gz").dataobj
    )
    voxels = labels == planted.label_sets["labels"].structures["liver"]
    assert structures["liver"].volume == pytest.approx(voxels.sum(), rel=0.02)  # a voxel is 1 ml
    middle = np.argwhere(voxels).mean(axis=0) * 10 + [-195, -175, -155]
    np.testing.assert_allclose(structures["liver"].centre, middle, atol=5)
    assert voxels[structures["liver"].voxel]
    assert 20 < structures["liver"].median < 160
    assert structures["liver"].outside < 0.05
    assert structures["lungs"].outside < 0.05
    assert structures["lungs"].cut != structures["liver"].cut


def test_labels_are_counted_alike_whole_and_in_slabs(planted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    case = planted.case("phantom_0007")
    whole = label_counts(planted, case, "labels")
    monkeypatch.setattr("mim3d.reporting.inspect_measures.LAYER", 5)
    monkeypatch.setattr("mim3d.reporting.inspect_measures.MOST_LABELS", 1)
    assert label_counts(planted, case, "labels") == whole


def test_the_page_needs_nothing_but_itself(planted: Store, suspects: tuple[Suspect, ...]) -> None:
    page = render_store(planted, suspects, None, num_shown=8, quick=False, on_case=unseen)
    assert "6 of 9 cases are suspect." in page
    assert "8 of 9 cases are shown." in page
    assert page.count("<svg viewBox") == 8 * 3
    assert len(set(re.findall(r'<image id="([^"]*)"', page))) == 8 * 3
    assert "no voxels &lt;&amp;&gt;</th><td>3</td>" in page
    assert not re.search(r"<script|@import|<link|url\((?!#)|(?:href|src)=\"(?!data:image/png;base64,)", page)
    places = [page.index(f"{one.subject.case.case}</h4>") for one in suspects[:8]]
    assert places == sorted(places)


def test_the_page_names_cases_and_no_patients(planted: Store, suspects: tuple[Suspect, ...]) -> None:
    page = render_store(planted, suspects, None, num_shown=NUM_CASES, quick=False, on_case=unseen)
    for one in suspects:
        assert one.subject.case.case in page
        assert one.subject.case.patient not in page
        assert one.subject.case.fingerprint not in page


def test_further_suspects_are_listed(planted: Store, suspects: tuple[Suspect, ...]) -> None:
    page = render_store(planted, suspects, None, num_shown=4, quick=False, on_case=unseen)
    further = page[page.index("Further suspects") :]
    assert [one.subject.case.case in further for one in suspects] == [False] * 4 + [True] * 2 + [False] * 3


def test_planes_go_through_what_is_odd_and_keep_mm(planted: Store, suspects: tuple[Suspect, ...]) -> None:
    (mirrored,) = (one for one in suspects if one.subject.case.case == "phantom_0002")
    block = sheet(planted, mirrored, None, "c")
    assert block.facts[0].endswith("planes through left_kidney")
    axial, coronal, sagittal = block.rows
    assert [row.panels[0].size for row in (axial, coronal, sagittal)] == [(36, 40), (32, 40), (32, 36)]
    assert {row.panels[0].scale for row in block.rows} == {(10.0, 10.0)}
    assert axial.letters == ("A", "P", "R", "L")
    colour = planted.label_sets["labels"].colour("left_kidney")
    assert all(colour in {shape.stroke for shape in row.panels[0].shapes} for row in block.rows)


def test_outlines_are_in_the_colours_of_the_set(planted: Store) -> None:
    labels = planted.label_sets["labels"]
    plane = np.zeros((4, 4), np.uint16)
    plane[1, 1] = labels.structures["liver"]
    (shape,) = outlines(plane, labels)
    assert (shape.name, shape.stroke, shape.fill) == ("liver", labels.colour("liver"), "none")


def test_a_damaged_case_is_told_and_does_not_stop_the_others(planted: Store, tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert isinstance(planted.path, Path)
    shutil.copytree(planted.path, path)
    shutil.rmtree(case_folder(path, "phantom_0008") / "0")
    damaged = open_store(path)
    worst, second, *_ = rank(damaged)
    assert worst.subject.case.case == "phantom_0008"
    assert second.subject.case.case in WRONG
    page = render_store(damaged, (worst,), None, num_shown=1, quick=False, on_case=unseen)
    assert "cannot be read: case phantom_0008: its array " in page
    assert "<svg viewBox" not in page


def test_causes_are_told_before_what_follows_from_them(suspects: tuple[Suspect, ...]) -> None:
    (small,) = (one for one in suspects if one.subject.case.case == "phantom_0001")
    assert [finding.kind for finding in small.findings] == ["size", "labels", "size", "labels"]
    assert small.num_more > 0
    assert small.score == pytest.approx(
        max(one.score for one in small.findings if one.kind == "size")
        + max(one.score for one in small.findings if one.kind == "labels")
    )


def test_a_store_without_cases_has_a_page_too(planted: Store) -> None:
    empty = replace(planted, catalog=Catalog(()))
    page = render_store(empty, rank(empty), None, num_shown=8, quick=False, on_case=unseen)
    assert "The store holds no cases." in page


def test_a_case_without_the_labels_asked_for_is_drawn_without(
    planted: Store, suspects: tuple[Suspect, ...]
) -> None:
    block = sheet(planted, suspects[-1], "tumours", "c")
    assert "no labels" in block.facts[0]
    assert all(row.panels[0].shapes == () for row in block.rows)


def test_other_modalities_have_a_window_of_their_own(suspects: tuple[Suspect, ...]) -> None:
    case = replace(suspects[-1].subject.case, modality="MR")
    assert window_of(case) == (case.statistics["p005"], case.statistics["p995"])
    assert window_of(suspects[-1].subject.case) == (-150, 250)
