"""Recipe files: all of them can be read, and what a recipe does not have is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.arrangement import arrangements
from mim3d.data.recipe import FOLDER, load_recipe, recipe_names
from mim3d.data.recipe_text import UNVERIFIED, listing, page
from mim3d.errors import ConfigError

PRETRAINING = {
    "btcv": 24,
    "tcia-covid19": 722,
    "luna16": 843,
    "stoic2021": 2000,
    "lidc-idri": 589,
    "flare23": 4000,
    "hnscc": 1071,
    "totalsegmentator-v1": 1203,
}
"""Scans in the lists of the paper's release."""
DOWNSTREAM = {
    "btcv": (30, (1.5, 1.5, 2.0), (-175, 250), (96, 96, 96)),
    "mm-whs": (20, (1.5, 1.5, 1.5), (0, 1700), (96, 96, 96)),
    "msd09-spleen": (41, (1.0, 1.0, 1.0), (-57, 175), (96, 96, 96)),
    "amos22": (301, (1.5, 1.5, 2.0), (-175, 250), (96, 96, 96)),
    "flare22": (50, (1.5, 1.5, 2.0), (-175, 250), (96, 96, 96)),
    "msd03-liver": (125, (1.0, 1.0, 1.0), (-21, 189), (96, 96, 96)),
    "msd06-lung": (63, (1.0, 1.0, 1.0), (-1000, 1000), (96, 96, 96)),
    "msd07-pancreas": (281, (1.5, 1.5, 1.5), (-87, 199), (96, 96, 96)),
    "msd08-hepaticvessel": (303, (1.5, 1.5, 1.5), (0, 230), (96, 96, 96)),
    "msd10-colon": (126, (1.5, 1.5, 1.5), (-57, 175), (96, 96, 96)),
    "covid-19-20": (189, (1.25, 1.25, 5.0), (-1000, 500), (192, 192, 32)),
    "msd01-braintumour": (484, (1.0, 1.0, 1.0), None, (224, 224, 120)),
    "cc-ccii": (4178, None, None, (384, 384, 32)),
}
"""Scans, spacing, window and crop in the paper's table."""


def test_every_data_set_of_the_paper_has_a_recipe() -> None:
    assert set(recipe_names()) == {*PRETRAINING, *DOWNSTREAM, "totalsegmentator"}


@pytest.mark.parametrize("name", PRETRAINING)
def test_pretraining_sets(name: str) -> None:
    recipe = load_recipe(name)
    assert "pre-training" in recipe.stages
    assert recipe.scans.pretraining == PRETRAINING[name]


@pytest.mark.parametrize("name", DOWNSTREAM)
def test_downstream_sets(name: str) -> None:
    recipe = load_recipe(name)
    scans, spacing, window, crop = DOWNSTREAM[name]
    assert "downstream" in recipe.stages
    assert (recipe.scans.downstream, recipe.spacing) == (scans, spacing)
    assert (recipe.window, recipe.crop) == (window, crop)
    assert recipe.splits is not None
    assert recipe.splits.folds == 5


@pytest.mark.parametrize(
    ("name", "few"),
    [
        ("btcv", {"3", "6", "12"}),
        ("msd09-spleen", {"8", "16"}),
        ("mm-whs", {"4", "8"}),
        ("amos22", {"25%", "50%"}),
    ],
)
def test_few_shot_subsets(name: str, few: set[str]) -> None:
    splits = load_recipe(name).splits
    assert splits is not None
    assert set(splits.few_shot) == few
    assert {f"few-{count}" for count in few} < set(arrangements(splits))


@pytest.mark.parametrize("name", recipe_names())
def test_what_was_not_looked_up_says_so(name: str) -> None:
    recipe = load_recipe(name)
    facts = [
        (recipe.archive.verified, recipe.archive.source),
        (recipe.licence.verified, recipe.licence.source),
    ]
    facts += [(layout.verified, layout.source) for layout in recipe.layouts]
    facts += [(recipe.labels.verified, recipe.labels.source)] if recipe.labels is not None else []
    assert all(source for verified, source in facts if verified)
    assert recipe.licence.verified or recipe.licence.text.startswith(("not known", "CC BY"))
    assert page(recipe).count(UNVERIFIED) == sum(not verified for verified, _ in facts)


def test_values_of_labels() -> None:
    totalsegmentator, old = load_recipe("totalsegmentator").labels, load_recipe("totalsegmentator-v1").labels
    assert totalsegmentator is not None
    assert old is not None
    assert (len(totalsegmentator.structures), len(old.structures)) == (117, 104)
    assert totalsegmentator.structures["rib_left_1"] == 92
    assert old.structures["pancreas"] == 10
    heart = load_recipe("mm-whs").labels
    assert heart is not None
    assert heart.structures["left_ventricular_myocardium"] == 205


def test_the_table_has_a_line_a_data_set() -> None:
    lines = listing([load_recipe(name) for name in recipe_names()]).splitlines()
    assert len(lines) == 1 + len(recipe_names()) + 2
    line = next(line for line in lines if line.startswith("amos22"))
    assert " ".join(line.split()) == "amos22 300 15 structures segmentation CT downstream CC BY 4.0"
    assert next(line for line in lines if line.startswith("btcv")).endswith("not known?")


def test_the_page_says_what_to_do() -> None:
    shown = page(load_recipe("msd09-spleen"))
    assert "1. Fetch Task09_Spleen.tar from the page" in shown
    assert "what RAW, or its folder Task09_Spleen, must hold (as it comes)" in shown
    assert "imagesTr/{case}.nii.gz with labelsTr/{case}.nii.gz: 41 scans" in shown
    assert "sealed test: 8 patients; fold-0, fold-1, fold-2, fold-3, fold-4, few-8, few-16" in shown
    assert "then: mim3d prepare --recipe msd09-spleen RAW STORE" in shown
    assert "--labels msd09-spleen --structures spleen --crop 96,96,96 --window.low -57" in shown
    usual = "by the release's recipe, as far as it is known (docs/finetuning.md): add --preset released-base"
    assert usual in shown
    lung = page(load_recipe("msd06-lung"))
    assert f"{usual} --augmentation.flip 0.5 --augmentation.rotate 0.3 --augmentation.shift 0.1" in lung
    assert "not prepared: a scan is a folder of single pictures" in page(load_recipe("cc-ccii"))
    assert "--target diagnosis --classes NCP,CP,Normal --crop 384,384,32 --intensity min_max" in page(
        load_recipe("cc-ccii")
    )


def changed(folder: Path, **changes: Any) -> str:
    content = json.loads((FOLDER / "btcv.json").read_text())
    (folder / "mine.json").write_text(json.dumps({**content, "name": "mine", **changes}))
    return str(folder / "mine.json")


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    assert load_recipe(changed(tmp_path, title="My scans")).title == "My scans"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacings": 1}, r"mine\.json has no setting 'spacings'; it has archive, "),
        (
            {"task": "detection"},
            r"mine\.json: task must be one of segmentation, classification, none, got 'd",
        ),
        ({"spacing": [1.5, 1.5]}, r"mine\.json: spacing needs 3 values, got 2"),
        ({"labels": None}, r"parts have labels, so `labels` must say what their values mean and `splits`"),
        ({"layouts": []}, r"name 'mine' and 0 parts; the file's own name, 'mine', and at least one part are"),
        ({"name": "other"}, r"name 'other' and 4 parts; the file's own name, 'mine', and at least"),
        ({"licence": {"text": "CC0"}}, r"mine\.json: licence lacks verified; add it"),
        (
            {"labels": {"set": "a b", "structures": {"liver": 1}, "verified": True}},
            r"label set 'a b': as a folder's name",
        ),
        (
            {
                "layouts": [
                    {"name": "x", "verified": False, "parts": [{"images": "a", "patient": "no group"}]}
                ]
            },
            r"'no group' is no regular expression with 1 groups; mend it",
        ),
        (
            {"layouts": [{"name": "x", "verified": False, "parts": [{"images": "a", "only": "("}]}]},
            r"'\(' is no regular expression with 0 groups; mend it",
        ),
    ],
)
def test_what_a_recipe_does_not_have_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(changed(tmp_path, **changes))


def test_capitals_do_not_matter() -> None:
    assert load_recipe("BTCV") == load_recipe("btcv")


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^recipe btvc: no such recipe; there are amos22, btcv, .* your own$"
    ):
        load_recipe("btvc")
    with pytest.raises(ConfigError, match=r"^recipe mine\.json: no such file; there are"):
        load_recipe("mine.json")
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(ConfigError, match=r"^mine\.json: not readable as JSON"):
        load_recipe(str(tmp_path / "mine.json"))


def test_the_documentation_has_a_row_a_recipe() -> None:
    text = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
    for name in recipe_names():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        recipe = load_recipe(name)
        assert recipe.archive.address in row
        assert recipe.licence.text.split(";")[0] in row
        assert ("not verified" in row) is not recipe.licence.verified
        assert (f"{recipe.num_scans:,}" if recipe.num_scans else "not known") in row
