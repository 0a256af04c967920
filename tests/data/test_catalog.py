"""The catalog: to a table and back, and what its hash hangs on."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from mim3d.data.catalog import (
    Case,
    Catalog,
    Rejected,
    chosen,
    read_index,
    read_rejected,
    write_index,
    write_rejected,
)
from mim3d.data.sources import Split
from mim3d.errors import StoreError


def case(name: str, split: Split = "train", **labels: tuple[int, ...]) -> Case:
    return Case(
        case=name,
        patient=f"patient of {name}",
        split=split,
        shape=(40, 50, 60),
        spacing=(1.5, 1.5, 1.5),
        source_spacing=(0.7, 0.7, 2.5),
        hash=f"hash of {name}",
        statistics={"mean": 12.5, "std": 3.0},
        labels=labels,
    )


CASES = (case("a", organs=(1, 5)), case("b", "val"), replace(case("c"), native=(0.7, 0.7, 2.5), block=True))


def test_index_gives_back_what_was_written(tmp_path: Path) -> None:
    write_index(tmp_path, reversed(CASES))
    assert read_index(tmp_path) == Catalog(CASES)
    assert [path.name for path in tmp_path.iterdir()] == ["index.parquet"]


def test_an_empty_index(tmp_path: Path) -> None:
    write_index(tmp_path, [])
    assert read_index(tmp_path) == Catalog(())


def test_folds_are_kept_and_change_the_hash(tmp_path: Path) -> None:
    dealt = tuple(replace(one, fold=number % 2) for number, one in enumerate(CASES))
    write_index(tmp_path, dealt)
    assert read_index(tmp_path) == Catalog(dealt)
    assert read_index(tmp_path).column("fold") == [0, 1, 0]
    assert Catalog(dealt).hash == read_index(tmp_path).hash != Catalog(CASES).hash


def test_attributes_give_back_the_case() -> None:
    for one in CASES:
        assert Case.from_attributes({**one.attributes(), "affine": [[1]]}) == one


def test_select() -> None:
    catalog = Catalog(CASES)
    assert [c.case for c in catalog.select("train").cases] == ["a", "c"]
    assert [c.case for c in catalog.select(labels="organs").cases] == ["a"]
    assert catalog.select("val", "organs").cases == ()
    assert catalog.by_name["b"] is CASES[1]


def test_hash_is_of_content_not_of_order() -> None:
    assert Catalog(CASES).hash == Catalog(CASES[::-1]).hash
    assert Catalog(CASES).hash != Catalog(CASES[:2]).hash
    for other in (replace(CASES[0], hash="x"), replace(CASES[0], split="test"), replace(CASES[0], labels={})):
        assert Catalog((other, *CASES[1:])).hash != Catalog(CASES).hash


def test_hash_is_that_of_the_same_cases_however_kept(tmp_path: Path) -> None:
    """And the one that runs have written into their provenance ever since."""
    lines = [[c.case, c.split, c.hash, sorted(c.labels.items())] for c in CASES]
    expected = hashlib.sha256(json.dumps(sorted(lines)).encode()).hexdigest()
    write_index(tmp_path, CASES)
    assert Catalog(CASES).hash == read_index(tmp_path).hash == expected


def test_cases_of_an_index_are_made_when_looked_at(tmp_path: Path) -> None:
    write_index(tmp_path, CASES)
    catalog = read_index(tmp_path)
    assert catalog.cases[1] == CASES[1]
    assert catalog.cases[-1] == CASES[-1]
    assert catalog.cases[::2] == CASES[::2]
    assert tuple(catalog.cases) == CASES
    assert (len(catalog.cases), len(catalog.by_name), list(catalog.by_name)) == (3, 3, ["a", "b", "c"])
    assert catalog.by_name["b"] == CASES[1]
    assert catalog.by_name.get("d") is None
    assert catalog.select("train") == Catalog(CASES[::2])
    assert catalog.select("train", "organs").column("labels") == [{"organs": (1, 5)}]
    assert catalog.column("split") == ["train", "val", "train"]
    assert chosen(catalog.cases, [2, 0]) == chosen(CASES, [2, 0]) == (CASES[2], CASES[0])
    assert catalog.cases != CASES[:2]
    with pytest.raises(IndexError):
        catalog.cases[3]
    with pytest.raises(KeyError):
        catalog.by_name["d"]


def test_an_index_from_before_a_column_was_there(tmp_path: Path) -> None:
    write_index(tmp_path, CASES)
    table = parquet.read_table(tmp_path / "index.parquet").drop_columns(["note", "padding"])
    table = table.replace_schema_metadata(None)
    parquet.write_table(table, tmp_path / "index.parquet")
    assert read_index(tmp_path) == Catalog(CASES)
    assert read_index(tmp_path).column("padding") == [-1024.0] * 3


def test_rejected_give_back_what_was_written(tmp_path: Path) -> None:
    assert read_rejected(tmp_path) == ()
    scans = (Rejected(key="1", reason="broken"), Rejected(key="2", reason="one slice"))
    write_rejected(tmp_path, reversed(scans))
    assert read_rejected(tmp_path) == scans
    write_rejected(tmp_path, [])
    assert read_rejected(tmp_path) == ()


def test_a_damaged_index_is_said(tmp_path: Path) -> None:
    (tmp_path / "index.parquet").write_bytes(b"not a table")
    with pytest.raises(StoreError, match=r"index\.parquet: not a readable table .*delete it and run"):
        read_index(tmp_path)


def test_an_index_with_a_flipped_bit_is_said(tmp_path: Path) -> None:
    write_index(tmp_path, CASES)
    data = bytearray((tmp_path / "index.parquet").read_bytes())
    data[data.index(b"hash of a")] ^= 1
    (tmp_path / "index.parquet").write_bytes(data)
    with pytest.raises(StoreError, match=r"index\.parquet: not what was written \(seal\); delete it and run"):
        read_index(tmp_path)


def test_an_index_without_a_column_is_said(tmp_path: Path) -> None:
    write_index(tmp_path, CASES)
    table = (
        parquet.read_table(tmp_path / "index.parquet").drop_columns(["hash"]).replace_schema_metadata(None)
    )
    parquet.write_table(table, tmp_path / "index.parquet")
    with pytest.raises(StoreError, match="column hash is missing; delete it and run"):
        read_index(tmp_path)


def test_an_index_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Version 1 wrote none of these columns, neither into the index nor into the cases."""
    later = [
        "study",
        "manufacturer",
        "scanner",
        "thickness",
        "kernel",
        "contrast",
        "phase",
        "age",
        "sex",
        "targets",
    ]
    write_index(tmp_path, CASES)
    table = parquet.read_table(tmp_path / "index.parquet").drop_columns(later).replace_schema_metadata(None)
    parquet.write_table(table, tmp_path / "index.parquet")
    assert read_index(tmp_path) == Catalog(CASES)
    older = {name: value for name, value in CASES[0].attributes().items() if name not in later}
    assert Case.from_attributes(older) == CASES[0]


def test_what_studies_need_is_kept(tmp_path: Path) -> None:
    told = replace(
        CASES[0],
        study="s1",
        manufacturer="GE",
        scanner="LightSpeed VCT",
        thickness=0.62,
        kernel="BONE",
        contrast="yes",
        phase="portal",
        age=60,
        sex="F",
    )
    write_index(tmp_path, [told, CASES[1]])
    assert read_index(tmp_path).cases == (told, CASES[1])
    assert Case.from_attributes(told.attributes()) == told
