"""Ways to fine-tune, on the phantoms of the other study: the released recipe and our default.

.venv/bin/python scripts/study_recipes.py FOLDER

Takes the labelled patients of scripts/study_phantoms.py in FOLDER, or makes them. Every way starts from
scratch with 4 labelled patients. The released recipe has 8 crops a step and ours has 2: it is run for as many
crops as ours sees, and for as many steps as ours takes. Scored on patients that chose nothing. Writes
FOLDER/recipes.md.
"""

import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from study_phantoms import finetuning, labelled_cohort, side_by_side
from study_tables import SEEDS, compared, dice_of

import mim3d
from mim3d.config import FinetuneConfig
from mim3d.presets import released
from mim3d.recipes.evaluations import read_side
from mim3d.reporting.text_table import TextTable, in_markdown

OURS = "default, 400 steps of 2 crops"
STEPS = {OURS: 400, "released, 100 steps of 8 crops": 100, "released, 400 steps of 8 crops": 400}


def main(folder: Path) -> None:
    """Run what is missing, and write the page."""
    labelled_cohort(folder)
    side_by_side(finetuned, folder, [(way, seed) for seed in SEEDS for way in STEPS])
    page = "\n".join(tables(folder))
    (folder / "recipes.md").write_text(page, encoding="utf-8")
    print(page)


def settings(way: str, seed: int) -> FinetuneConfig:
    """Of a way to fine-tune, with the schedule of presets: half a cosine."""
    usual = finetuning(seed)
    if way != OURS:
        usual = released(usual)
    steps = STEPS[way]
    optimisation = replace(usual.optimisation, steps=steps, warmup_steps=steps // 20, schedule="cosine")
    return replace(usual, optimisation=optimisation, validate_every=steps // 4)


def place(folder: Path, way: str, seed: int) -> Path:
    """Run folder."""
    return folder / "recipes" / f"{way.replace(' ', '-')}-{seed}"


def finetuned(folder: Path, way: str, seed: int) -> None:
    """Fine-tune in one way, and score on the test split."""
    store, run = folder / "labelled" / "store", place(folder, way, seed)
    if not (run / "evaluation-test.json").exists():
        mim3d.finetune_segmentation(store, run, init=None, config=settings(way, seed), resume=True)
        mim3d.score(run, store)


def tables(folder: Path) -> list[str]:
    """Dice by seed, and paired differences from our default."""
    found = {
        way: [read_side(way, [place(folder, way, seed) / "evaluation-test.json"]) for seed in SEEDS]
        for way in STEPS
    }
    rows = []
    for way, sides in found.items():
        dice = [dice_of(side) for side in sides]
        rows.append((way, *(f"{value:.3f}" for value in (*dice, fmean(dice)))))
    headings = ("recipe", *(f"seed {seed}" for seed in SEEDS), "mean")
    return [
        in_markdown(TextTable(title="Dice on the test split", headings=headings, rows=tuple(rows))),
        in_markdown(
            TextTable(
                title="Dice less that of the default, paired",
                headings=("recipe", "difference", "95 % interval", "by seed", "p", "patients"),
                rows=tuple(compared(list(found.items()))),
            )
        ),
    ]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
