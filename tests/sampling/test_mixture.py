"""Mixtures: drawn store by weight, then case; filtered by the catalog; refused with the reason."""

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d import cli
from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.config_file import write_config
from mim3d.data.catalog import column_of
from mim3d.data.layout import Settings, read_description, write_description
from mim3d.data.mixture import SLOTS
from mim3d.data.store import Store, open_store
from mim3d.errors import DamageError, StoreError
from mim3d.geometry import Box
from mim3d.sampling.annotated import annotated_cases
from mim3d.sampling.crops import read_region, select_cases
from mim3d.sampling.labelled import read_labelled
from mim3d.sampling.loader import region_batches
from mim3d.sampling.turns import Turn, places_of, slots_of

Write = Callable[..., Path]


@pytest.fixture
def write(store_path: Path, tmp_path: Path) -> Write:
    """Writes a mixture of the stores `a` and `b`, of the same five cases each."""
    shutil.copytree(store_path, tmp_path / "a")
    shutil.copytree(store_path, tmp_path / "b")

    def write(*stores: dict[str, Any], **more: Any) -> Path:
        file = tmp_path / "mixture.json"
        file.write_text(json.dumps({"format": "mim3d-mixture", "stores": list(stores), **more}))
        return file

    return write


A, B = {"store": "a", "weight": 3}, {"store": "b", "weight": 1}


def members_of(store: Store, seed: int, numbers: range) -> list[str]:
    cases = select_cases(store, "train")
    turns = (Turn(seed, number, store.members) for number in numbers)
    names = column_of(cases, "case")
    return [names[next(places_of(turn, cases))] for turn in turns]


def test_a_mixture_reads_as_its_stores_do(write: Write, store: Store) -> None:
    mixed = open_store(write(A, B))
    names = [case.case for case in store.catalog.cases]
    assert [case.case for case in mixed.catalog.cases] == [f"{m}/{name}" for m in "ab" for name in names]
    assert mixed.spacing == store.spacing
    assert mixed.label_sets == store.label_sets
    own, case = store.catalog.cases[0], mixed.case(f"b/{names[0]}")
    assert case == replace(own, case=f"b/{names[0]}")
    box = Box((3.0, 2.0, 1.0), (16.0, 16.0, 16.0))
    shape = (16, 16, 16)
    assert np.array_equal(mixed.read(case.case, box, shape), store.read(own.case, box, shape))
    read = mixed.read_labels(case.case, "labels", box, shape)
    assert np.array_equal(read, store.read_labels(own.case, "labels", box, shape))
    assert mixed.attributes(case.case) == store.attributes(own.case)
    assert pickle.loads(pickle.dumps(mixed)).catalog == mixed.catalog
    with pytest.raises(StoreError, match="no case 'nobody' among its 10 cases"):
        mixed.case("nobody")


def test_stores_are_drawn_by_weight_and_every_case_of_each_before_any_again(write: Write) -> None:
    mixed = open_store(write(A, B))
    drawn = members_of(mixed, 0, range(SLOTS))
    assert Counter(name[0] for name in drawn) == {"a": 7500, "b": 2500}
    for member in "ab":
        own = [name for name in drawn if name[0] == member]
        laps = [own[first : first + 3] for first in range(0, len(own) - 3, 3)]
        assert all(len(set(lap)) == 3 for lap in laps)
    later = members_of(mixed, 0, range(SLOTS, SLOTS + 50))
    assert members_of(mixed, 0, range(SLOTS - 10, SLOTS + 50)) == [*drawn[-10:], *later]
    assert later != drawn[:50]
    assert members_of(mixed, 1, range(50)) != drawn[:50]


def test_a_mixture_of_one_store_draws_as_the_store_does(
    write: Write, store: Store, pretraining: PretrainConfig, finetuning: FinetuneConfig
) -> None:
    mixed = open_store(write(A))
    ours, theirs = select_cases(mixed, "train"), select_cases(store, "train")
    for number in range(5):
        case, levels = read_region(mixed, ours, pretraining, number)
        other, expected = read_region(store, theirs, pretraining, number)
        assert case.case == f"a/{other.case}"
        assert all((a.crops == b.crops).all() for a, b in zip(levels, expected, strict=True))
        crop = read_labelled(mixed, ours, finetuning, number)
        assert np.array_equal(crop.crop, read_labelled(store, theirs, finetuning, number).crop)


def test_ranks_and_workers_draw_the_same(write: Write, pretraining: PretrainConfig) -> None:
    mixed = open_store(write(A, B))
    cases = select_cases(mixed, "train")
    whole = list(region_batches(mixed, cases, pretraining, 0, 0, 1))
    shares = [list(region_batches(mixed, cases, pretraining, 0, rank, 2)) for rank in range(2)]
    assert [batch.cases for batch in whole] == [a.cases + b.cases for a, b in zip(*shares, strict=True)]
    read_ahead = replace(pretraining, runtime=replace(pretraining.runtime, num_workers=1))
    assert [batch.cases for batch in region_batches(mixed, cases, read_ahead, 0, 0, 1)] == [
        batch.cases for batch in whole
    ]


@pytest.mark.parametrize(
    ("weights", "slots"),
    [
        ((1.0,), (10_000,)),
        ((1.0, 1.0, 1.0), (3334, 3333, 3333)),
        ((1.0, 9999.0), (1, 9999)),
        ((0.00001, 1.0), (1, 9999)),
    ],
)
def test_slots_are_what_the_weights_say(weights: tuple[float, ...], slots: tuple[int, ...]) -> None:
    assert slots_of(weights) == slots
    assert sum(slots_of((0.1, 0.2, 0.3, 7.77))) == SLOTS


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        (["modality", "==", "CT"], 5),
        (["split", "in", ["val", "test"]], 2),
        (["split", "!=", "train"], 2),
        (["shape", ">=", 26], 5),
        (["shape", "<", [33, 30, 27]], 5),
        (["spacing", "<=", [10.0, 10.0, 10.0]], 5),
        (["labels", "has", "labels"], 5),
        (["statistics.body_share", ">", 0.0], 5),
        (["case", "==", "phantom_0000"], 1),
    ],
)
def test_conditions_leave_the_cases_that_hold(write: Write, condition: list[Any], left: int) -> None:
    mixed = open_store(write({"store": "a", "where": [condition]}))
    assert len(mixed.catalog.cases) == left


def test_all_conditions_must_hold(write: Write) -> None:
    where = [["split", "==", "train"], ["case", ">", "phantom_0002"]]
    mixed = open_store(write({"store": "a", "where": where}))
    assert all(case.split == "train" and case.case > "a/phantom_0002" for case in mixed.catalog.cases)


def test_the_hash_covers_cases_weights_and_conditions(write: Write, store: Store) -> None:
    hashes = {
        open_store(write(*stores)).hash
        for stores in (
            (A, B),
            ({**A, "weight": 2}, B),
            (A, {**B, "where": [["modality", "==", "CT"]]}),
            (A, {**B, "where": [["split", "==", "train"]]}),
            (A, {**B, "name": "c"}),
            (A,),
        )
    }
    assert len(hashes) == 6
    assert open_store(write(B, A)).hash == open_store(write(A, B)).hash
    assert store.hash == store.catalog.hash


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"store": "a", "where": [["modalty", "==", "CT"]]},
            r"a: no column 'modalty'; did you mean 'modality'\?",
        ),
        ({"store": "a", "where": [["xyz", "==", 1]]}, r"a: no column 'xyz'; there are case, patient, split"),
        ({"store": "a", "where": [["statistics.men", ">", 0]]}, r"no 'men'; did you mean 'mean'\?"),
        ({"store": "a", "where": [["modality", "is", "CT"]]}, "no comparison 'is'; there are ==, !=, <"),
        (
            {"store": "a", "where": [["modality", "==", "MR"]]},
            "no case has modality == 'MR'; there is, .* CT",
        ),
        (
            {"store": "a", "where": [["shape", ">", "big"]]},
            "shape cannot be compared by `>` with 'big'; a case",
        ),
        ({"store": "a", "where": [["shape", ">", [1, 2]]]}, r"shape cannot be compared by `>` with \[1, 2\]"),
        ({"store": "a", "where": ["CT"]}, r"must be \[column, comparison, value\], got 'CT'"),
        ({"store": "a", "where": "CT"}, r"`where` of a must be a list of \[column, comparison, value\]"),
        ({"store": "a", "wieght": 2}, r"nothing is known of 'wieght'; did you mean 'weight'\?"),
        ({"store": "a", "weight": 0}, "weight of a must be a number above 0, got 0"),
        ({"store": "a", "name": "a/b"}, "name must be of letters, digits, `_`, `-`, `.`, got 'a/b'"),
        ({"store": "b/../a"}, "two members are named 'a'; give one of them another `name`"),
        ({"store": "gone"}, "gone: no such folder, but a store is needed"),
        ({"store": "mixture.json"}, r"member mixture\.json is a mixture itself"),
        ({"store": "b", "weight": 1e-9}, "weight 1e-09 of b is less than 1 in 10000 of all"),
        ({}, "must name a `store`"),
    ],
)
def test_what_cannot_be_is_refused(write: Write, said: dict[str, Any], message: str) -> None:
    first = [] if said.get("store") == "a" else [{"store": "a"}]
    with pytest.raises(StoreError, match=message):
        open_store(write(*first, said))


def test_what_is_no_mixture_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="`stores` must be a list of one store or more"):
        open_store(write())
    with pytest.raises(StoreError, match=r"nothing is known of 'weights'"):
        open_store(write(A, weights=[1]))
    for text, message in (("{", "neither a store nor a mixture"), ("[]", "not a mixture; it needs")):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(StoreError, match=message):
            open_store(tmp_path / "other.json")


def test_stores_must_be_of_one_spacing(write: Write, tmp_path: Path) -> None:
    _, label_sets = read_description(tmp_path / "b")
    write_description(tmp_path / "b", Settings((2.0, 2.0, 2.0)), label_sets)
    with pytest.raises(StoreError, match="a is at a spacing of 10 x 10 x 10 mm, b of 2 x 2 x 2 mm; prepare"):
        open_store(write(A, B))


def test_label_sets_of_two_meanings_cannot_be_learnt(
    write: Write, tmp_path: Path, finetuning: FinetuneConfig
) -> None:
    settings, label_sets = read_description(tmp_path / "b")
    structures = {**label_sets["labels"].structures, "more": 200}
    write_description(
        tmp_path / "b", settings, {"labels": replace(label_sets["labels"], structures=structures)}
    )
    mixed = open_store(write(A, B))
    assert len(select_cases(mixed, "train")) == 6
    with pytest.raises(StoreError, match=r"no label set 'labels' \(that all of its stores agree on\)"):
        annotated_cases(mixed, finetuning, "train")


def test_damage_names_the_store(write: Write, pretraining: PretrainConfig, tmp_path: Path) -> None:
    mixed = open_store(write(A, B))
    cases = select_cases(mixed, "train")
    for folder in (tmp_path / "b" / "cases").iterdir():
        shutil.rmtree(folder / "0")
    with pytest.raises(DamageError, match=r"^b: case phantom_000\d: its array 0 is missing or damaged"):
        [read_region(mixed, cases, pretraining, number) for number in range(20)]
    config = replace(pretraining, runtime=replace(pretraining.runtime, damaged_cases="substitute"))
    heard: list[str] = []
    with pytest.raises(DamageError, match="8 drawn in its place are damaged, the last b/phantom"):
        [
            read_region(mixed, cases, config, number, lambda name, _: heard.append(name))
            for number in range(20)
        ]
    assert {name[0] for name in heard} == {"b"}


@pytest.mark.parametrize("kind", ["pretrain", "finetune segmentation"])
def test_runs_take_a_mixture_for_a_store(
    write: Write,
    pretraining: PretrainConfig,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    mixture = write(A, {**B, "where": [["split", "!=", "train"]]})
    config = pretraining if kind == "pretrain" else finetuning
    few = replace(config, optimisation=replace(config.optimisation, steps=1))
    write_config(few, tmp_path / "config.json")
    line = [*kind.split(), str(mixture), str(tmp_path / "run"), "--config", str(tmp_path / "config.json")]
    assert cli.main([*line, *([] if kind == "pretrain" else ["--init", "none"])]) == 0
    said = capsys.readouterr().err
    assert "a: 100.0% of the samples, from 3 cases" in said
    assert "warning: b: 0.0% of the samples, from 0 cases" in said
    origin = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert origin["members"] == {"a": 3.0, "b": 1.0}
    assert origin["catalog"] == open_store(mixture).hash
