import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mim3d.config import FinetuneConfig, PretrainConfig, Selection
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.pretrain import pretrain
from mim3d.recipes.run_cases import known_to, say_selection, write_cases
from mim3d.sampling.crops import select_cases
from mim3d.train.run_folder import read_json


def test_cases_that_a_run_was_begun_with_stay_on_record(store: Store, tmp_path: Path) -> None:
    train, val = select_cases(store, "train"), select_cases(store, "val")
    write_cases(tmp_path, keep=False, train=train, val=val)
    begun = read_json(tmp_path / "cases.json")
    assert begun["train"] == {case.case: case.patient for case in train}
    write_cases(tmp_path, keep=True, train=train[1:], val=val)
    assert read_json(tmp_path / "cases.json") == begun
    write_cases(tmp_path, keep=False, train=train[1:], val=val)
    assert list(read_json(tmp_path / "cases.json")["train"]) == [case.case for case in train[1:]]


def test_what_weights_have_learnt_from_goes_on_record(store: Store, tmp_path: Path) -> None:
    train, val = select_cases(store, "train"), select_cases(store, "val")
    assert known_to(None, store) == {}
    assert known_to(tmp_path, store) == {"untold": ()}
    write_cases(tmp_path, keep=False, pretrained=train)
    assert _names(known_to(tmp_path, store)) == {"pretrained": _names_of(train), "earlier": set()}
    write_cases(tmp_path, keep=True, train=val, earlier=train[:1])
    assert _names(known_to(tmp_path, store)) == {
        "pretrained": _names_of(train),
        "earlier": _names_of((*val, train[0])),
    }
    write_cases(tmp_path, keep=True, untold=())  # as by weights that were exported; it stays from run to run
    assert known_to(tmp_path, store)["untold"] == ()


def _names(found: Mapping[str, Sequence[Case]]) -> dict[str, set[str]]:
    return {what: _names_of(cases) for what, cases in found.items()}


def _names_of(cases: Iterable[Case]) -> set[str]:
    return {case.case for case in cases}


def test_how_cases_were_divided_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = select_cases(store, "train"), select_cases(store, "val")
    known = (*train, *val)
    say_selection(known, train, val, Selection())
    assert capsys.readouterr().err == ""
    say_selection(known, train[:2], val, Selection(cases=2))
    assert capsys.readouterr().err == "2 cases train, 1 choose the best step\n"
    say_selection(known, train, val, Selection(folds=4, fold=1))
    assert capsys.readouterr().err.startswith("fold 1 of 4, dealt by patient: 3 cases train, 1 choose")
    stated = [replace(case, fold=number) for number, case in enumerate(known)]
    say_selection(stated, train, val, Selection(folds=4, fold=3))
    assert capsys.readouterr().err.startswith("fold 3 of 4, as the store states them: 3 cases train")


def test_cases_that_choose_and_that_the_encoder_knows_are_told(
    store_path: Path,
    store: Store,
    pretraining: PretrainConfig,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mim = pretrain(store_path, tmp_path / "mim", config=pretraining, steps=1)
    said = "warning: 1 of 1 cases are of patients from whose scans, without labels, the encoder of run learnt"
    config = replace(finetuning, structures=("liver",))
    finetune_segmentation(store_path, tmp_path / "run", init=mim, config=config, steps=1)
    assert said not in capsys.readouterr().err  # the split val taught nobody
    known = read_json(tmp_path / "run" / "cases.json")
    assert set(known["pretrained"]) == {case.case for case in select_cases(store, "train")}
    assert known["earlier"] == {}
    for fold in range(2):  # of four cases, one a fold: one of these two is of the split train
        folded = replace(config, selection=Selection(folds=4, fold=fold))
        finetune_segmentation(store_path, tmp_path / str(fold) / "run", init=mim, config=folded, steps=1)
    assert said in capsys.readouterr().err


def test_a_fold_is_trained_without_and_chosen_by(
    store_path: Path, store: Store, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    folds = [
        replace(finetuning, selection=Selection(folds=2, fold=fold, cases=1), validate_every=1)
        for fold in (0, 1)
    ]
    held = []
    for number, config in enumerate(folds):
        run = finetune_segmentation(store_path, tmp_path / str(number), init=None, config=config, steps=1)
        cases = json.loads((run / "cases.json").read_text())
        validation = json.loads((run / "validation.json").read_text())
        assert sorted(row["case"] for row in validation["cases"]) == sorted(cases["val"])
        assert {row["case"]: row["patient"] for row in validation["cases"]} == cases["val"]
        assert len(cases["train"]) == 1
        assert not cases["train"].keys() & cases["val"].keys()
        held += cases["val"]
    tested = {case.case for case in select_cases(store, "test")}
    assert sorted(held) == sorted(set(store.catalog.column("case")) - tested)
