"""Damaged data are never trained on: the run stops, or a substitute comes that the number alone decides."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mim3d import cli
from mim3d.config import FinetuneConfig, PretrainConfig, Runtime
from mim3d.config_file import write_config
from mim3d.data.layout import case_folder
from mim3d.data.store import Store, open_store
from mim3d.errors import ConfigError, DamageError
from mim3d.sampling.crops import read_region, select_cases
from mim3d.sampling.labelled import read_labelled
from mim3d.sampling.loader import labelled_batches, region_batches
from mim3d.sampling.turns import MOST_SUBSTITUTES, substitutes, turn_of


def spoil(store: Path, case: str, array: str = "0") -> None:
    """Flip a bit of every chunk."""
    shard = case_folder(store, case) / array / "c" / "0" / "0" / "0"
    shard.write_bytes(bytes(byte ^ 1 for byte in shard.read_bytes()))


@pytest.fixture
def spoilt(store_path: Path, tmp_path: Path) -> Store:
    """A store whose first training case is damaged."""
    copy = Path(shutil.copytree(store_path, tmp_path / "store"))
    spoil(copy, select_cases(open_store(copy), "train")[0].case)
    return open_store(copy)


@pytest.fixture
def substituting(pretraining: PretrainConfig) -> PretrainConfig:
    return replace(pretraining, runtime=replace(pretraining.runtime, damaged_cases="substitute"))


def numbers_of_first(store: Store, config: PretrainConfig) -> list[int]:
    count = len(select_cases(store, "train"))
    return [number for number in range(12) if turn_of(config.seed, number, count) == 0]


def test_by_default_a_damaged_case_stops(spoilt: Store, pretraining: PretrainConfig) -> None:
    cases = select_cases(spoilt, "train")
    number = numbers_of_first(spoilt, pretraining)[0]
    with pytest.raises(
        DamageError, match=rf"case {cases[0].case}: a chunk of its array 0 is damaged; .*substit"
    ):
        read_region(spoilt, cases, pretraining, number)


def test_a_substitute_is_a_function_of_the_number(spoilt: Store, substituting: PretrainConfig) -> None:
    cases, heard = select_cases(spoilt, "train"), Counter[str]()
    for number in range(12):
        case, levels = read_region(spoilt, cases, substituting, number, lambda name, _: heard.update([name]))
        again, same = read_region(open_store(spoilt.path), cases, substituting, number)
        assert case == again != cases[0]
        assert all((a.crops == b.crops).all() for a, b in zip(levels, same, strict=True))
        if number in numbers_of_first(spoilt, substituting):
            drawn = [cases[place] for place in substitutes(substituting.seed, number, len(cases))]
            assert case == next(one for one in drawn if one != cases[0])
    assert set(heard) == {cases[0].case}


def test_other_samples_are_as_they_were(spoilt: Store, store: Store, substituting: PretrainConfig) -> None:
    cases = select_cases(store, "train")
    for number in set(range(6)) - set(numbers_of_first(store, substituting)):
        _, found = read_region(spoilt, cases, substituting, number)
        _, expected = read_region(store, cases, substituting, number)
        assert all((a.crops == b.crops).all() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_ranks_and_workers_take_the_same_substitutes_and_say_so_once(
    spoilt: Store, substituting: PretrainConfig, num_workers: int
) -> None:
    cases, heard = select_cases(spoilt, "train"), list[str]()
    config = replace(substituting, runtime=replace(substituting.runtime, num_workers=num_workers))
    found = list(region_batches(spoilt, cases, config, 0, 0, 1, on_damage=lambda name, _: heard.append(name)))
    shares = [list(region_batches(spoilt, cases, substituting, 0, rank, 2)) for rank in range(2)]
    assert [batch.cases for batch in found] == [a.cases + b.cases for a, b in zip(*shares, strict=True)]
    for batch, a, b in zip(found, *shares, strict=True):
        crops = torch.cat([a.levels[0].crops, b.levels[0].crops])
        assert torch.equal(batch.levels[0].crops, crops)
    assert heard == [cases[0].case]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_comes_out_of_a_worker_as_it_is(
    spoilt: Store, pretraining: PretrainConfig, num_workers: int
) -> None:
    config = replace(pretraining, runtime=replace(pretraining.runtime, num_workers=num_workers))
    with pytest.raises(DamageError) as caught:
        list(region_batches(spoilt, select_cases(spoilt, "train"), config, 0, 0, 1))
    assert "\n" not in str(caught.value)


def test_labelled_crops_take_substitutes_too(spoilt: Store, finetuning: FinetuneConfig) -> None:
    cases, heard = select_cases(spoilt, "train"), list[str]()
    spoil(spoilt.path, cases[1].case, "labels/labels/0")
    config = replace(finetuning, runtime=Runtime(damaged_cases="substitute"))
    list(labelled_batches(spoilt, cases, config, 0, 0, 1, on_damage=lambda name, _: heard.append(name)))
    assert sorted(heard) == [cases[0].case, cases[1].case]
    with pytest.raises(DamageError, match=r"case .* is damaged"):
        [read_labelled(spoilt, cases, finetuning, number) for number in range(3)]


def test_a_store_without_a_good_case_stops(spoilt: Store, substituting: PretrainConfig) -> None:
    cases, heard = select_cases(spoilt, "train")[:1], list[str]()
    with pytest.raises(DamageError, match=r"its case and 8 drawn in its place are damaged.*mim3d verify"):
        read_region(spoilt, cases, substituting, 0, lambda name, _: heard.append(name))
    assert len(heard) == 1 + MOST_SUBSTITUTES


def test_a_run_stops_in_one_line_and_goes_on_with_substitutes(
    spoilt: Store, pretraining: PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = replace(pretraining, optimisation=replace(pretraining.optimisation, steps=2))
    write_config(few, tmp_path / "config.json")
    line = ["pretrain", str(spoilt.path), str(tmp_path / "run")]
    assert cli.main([*line, "--config", str(tmp_path / "config.json")]) == 2
    assert capsys.readouterr().err.count("is damaged; delete its folder") == 1
    assert cli.main([*line, "--resume", "--runtime.damaged-cases", "substitute"]) == 0
    said = capsys.readouterr().err
    assert said.count("is damaged; delete its folder and run `mim3d prepare` again") == 1
    assert "until then others take its place" in said


def test_no_other_policy() -> None:
    with pytest.raises(ConfigError, match="damaged_cases must be one of stop, substitute, got 'skip'"):
        Runtime(damaged_cases="skip")  # type: ignore[arg-type]
