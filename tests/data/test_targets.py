"""What scans are classified by: where it is said, what passes for a class, and what a change makes anew."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mim3d.data.catalog import Catalog, read_index
from mim3d.data.datasets import discover
from mim3d.data.prepare import prepare_store
from mim3d.data.sources import DataSet, Source
from mim3d.data.store import open_store, rebuild_catalog
from mim3d.data.targets import (
    classes_of,
    findings,
    require_classes,
    targets_of_row,
    targets_of_text,
    targets_text,
    with_targets,
)
from mim3d.data.verify import verify_store
from mim3d.errors import DataError
from mim3d.reporting.inspect_summary import store_facts

SOURCES = (
    Source(image=Path("a"), key="ann/1/a.nii", case="a"),
    Source(image=Path("b"), key="ann/2/b.nii", case="b"),
    Source(image=Path("c"), key="c.nii", case="c_d", targets=(("phase", "portal venous"),)),
)


def read(tmp_path: Path, text: str, sources: tuple[Source, ...] = SOURCES) -> dict[str, dict[str, str]]:
    (tmp_path / "targets.csv").write_text(text)
    data = with_targets(DataSet(sources), tmp_path / "targets.csv")
    return {str(source.case): dict(source.targets) for source in data.sources}


def test_they_are_kept_as_text() -> None:
    text = targets_text((("phase", "native"), ("disease", "yes")))
    assert text == '{"disease": "yes", "phase": "native"}'
    assert targets_of_text(text) == {"disease": "yes", "phase": "native"}
    assert targets_text(()) == ""
    assert targets_of_text("") == {}
    assert classes_of([text, "", '{"disease": "no"}', text], "disease") == {"no": 1, "yes": 2}


def test_several_findings() -> None:
    assert findings("nodule;effusion") == {"nodule", "effusion"}
    assert findings("none") == frozenset()
    assert targets_of_row("row 1", {"target:seen": "nodule; effusion"}) == (("seen", "effusion;nodule"),)


def test_columns_of_a_listing(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).write_text("x")
    (tmp_path / "cases.csv").write_text(
        "image,target:disease,target: phase,disease\na.nii,yes,,x\nb.nii,,native,y\n"
    )
    data = discover(tmp_path)
    assert [source.targets for source in data.sources] == [(("disease", "yes"),), (("phase", "native"),)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("case,disease\na,yes\nc d,no\n", {"a": {"disease": "yes"}, "b": {}, "c_d": {"disease": "no"}}),
        ("image;target:disease\n./ann/1/a.nii;yes\n", {"a": {"disease": "yes"}, "b": {}, "c_d": {}}),
        ("image,disease\nann/,yes\n", {"a": {"disease": "yes"}, "b": {"disease": "yes"}, "c_d": {}}),
        (
            "case,image,disease,size\na,ann,yes,large\n,c.nii,no,\n",
            {"a": {"disease": "yes", "size": "large"}, "b": {}, "c_d": {"disease": "no"}},
        ),
    ],
)
def test_a_table_beside_scans(tmp_path: Path, text: str, expected: dict[str, dict[str, str]]) -> None:
    found = read(tmp_path, text)
    assert found.pop("c_d") == {"phase": "portal venous", **expected.pop("c_d")}
    assert found == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,disease\na,yes\n",
            "targets.csv: columns are name, disease; `case` or `image` is needed, and a",
        ),
        (
            "case,image\na,b\n",
            "targets.csv: columns are case, image; `case` or `image` is needed, and a column",
        ),
        (
            "case,disease,split\na,yes,val\n",
            "targets.csv: column split is no target; a CSV that lists the scans",
        ),
        (
            "case,disease\nx,yes\n",
            "targets.csv, row 1: no scan is case x; the first case is a: mend the row, or",
        ),
        (
            "image,disease\nx.nii,yes\n",
            "targets.csv, row 1: no scan is image x.nii; an `image` is the path below",
        ),
        (
            "case,image,disease\na,c.nii,yes\n",
            "targets.csv, row 1: no scan is case a, image c.nii; the first",
        ),
        ("case,image,disease\n,,yes\n", "targets.csv, row 1: names no scan; give its `case` or its `image`"),
        ("case,disease\na,yes\na,no\n", "targets.csv, row 2: disease is no here, yes before"),
        ("case,phase\nc_d,native\n", "targets.csv: phase of c_d is native, its list says portal venous"),
        (
            "case,site\na,lung;none\n",
            "targets.csv, row 1: site is 'lung;none'; findings or `none` are needed, not both: mend the row",
        ),
        ("case,disease\na,<b>\n", "targets.csv, row 1: '<b>' names a target or a class; up to 40 letters, "),
        (
            "case,dis/ease\na,yes\n",
            "targets.csv, row 1: 'dis/ease' names a target or a class; up to 40 letters",
        ),
    ],
)
def test_a_table_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(message)


def source(number: int, value: str, patient: str | None = None) -> Source:
    return Source(image=Path("x"), key=str(number), patient=patient, targets=(("born", value),))


def test_what_tells_who_it_is_is_no_class() -> None:
    require_classes([source(n, str(n)) for n in range(9)])
    with pytest.raises(
        DataError, match="target born: 10 classes in 10 scans; classes that scans share are need"
    ):
        require_classes([source(n, str(n)) for n in range(10)])
    with pytest.raises(DataError, match="target born: 101 classes in 202 scans"):
        require_classes([source(n, str(n // 2)) for n in range(202)])
    with pytest.raises(
        DataError, match=r"^target born: a scan has its patient for a class; take the target out$"
    ):
        require_classes([source(1, "Doe", patient="Doe")])


def test_scans_with_a_class_alone_are_divided_too(raw: Path, tmp_path: Path) -> None:
    scans = [path.name for path in sorted(raw.glob("scan*.nii"))]
    rows = "".join(f"{name},{'yes' if n % 2 else 'no'}\n" for n, name in enumerate(scans))
    (raw / "list.csv").write_text("image,target:disease\n" + rows)
    catalog = prepare_store(raw / "list.csv", tmp_path / "store", spacing=(3.0, 3.0, 3.0), workers=1).catalog
    assert sorted(case.split for case in catalog.cases) == ["train"] * (len(scans) - 1) + ["val"]
    assert {case.targets for case in catalog.cases} == {'{"disease": "yes"}', '{"disease": "no"}'}


def test_another_class_is_written_and_no_voxel_is(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"

    def prepare(targets: str) -> Catalog:
        (raw / "targets.csv").write_text("case,disease\n" + targets)
        found = prepare_store(raw, path, spacing=(3.0, 3.0, 3.0), workers=1)
        assert found.made == (0 if before else 5)
        assert found.catalog == rebuild_catalog(path) == read_index(path)
        assert verify_store(path, 1).damage == ()
        return found.catalog

    before: dict[Path, int] = {}
    first = prepare("case0,yes\ncase1,no\n")
    before = {file: file.stat().st_mtime_ns for file in (path / "cases").rglob("*") if file.is_file()}
    second = prepare("case0,yes\ncase1,yes\ncase2,no\n")
    touched = {file for file, time in before.items() if file.stat().st_mtime_ns != time}
    assert touched == {path / "cases" / f"case{n}.ome.zarr" / "zarr.json" for n in (1, 2)}
    assert classes_of(second.column("targets"), "disease") == {"no": 1, "yes": 2}
    assert first.hash != second.hash
    assert first.by_name["case1"] == replace(second.by_name["case1"], targets='{"disease": "no"}')


def test_an_older_case_has_none(store_path: Path, tmp_path: Path) -> None:
    case = open_store(store_path).catalog.cases[0]
    plain = case.attributes()
    assert json.loads(plain.pop("targets"))["disease"] in ("yes", "no")
    assert type(case).from_attributes(plain).targets == ""


def test_phantoms_bring_theirs(store_path: Path) -> None:
    texts = open_store(store_path).catalog.column("targets")
    assert sum(classes_of(texts, "disease").values()) == 5
    assert classes_of(texts, "nothing") == {}


def test_the_page_of_a_store_counts_them(store_path: Path) -> None:
    facts = dict(store_facts(open_store(store_path)))
    assert facts["Target disease"] == "1 no, 4 yes"
    assert set(facts) >= {"Target phase", "Target site"}
