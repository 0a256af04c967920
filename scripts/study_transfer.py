"""Does it help to spare the weights of an encoder in fine-tuning? On the encoders of the study on phantoms.

.venv/bin/python scripts/study_transfer.py FOLDER

FOLDER is that of scripts/study_phantoms.py, which must have ended: its encoders are fine-tuned again with all
settings the same, but with smaller learning rates for the lower layers of the encoder, and with the encoder
frozen. From scratch too: what helps there is no merit of pre-training. Writes FOLDER/transfer.md.
"""

import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from study_phantoms import encoder, finetuning, learn_and_score, side_by_side
from study_tables import MAE, MIM, SEEDS, WITHOUT, compared, dice_of, place, scored

from mim3d.config import Transfer
from mim3d.config.downstream import NUM_STAGES
from mim3d.metrics.comparison import Side
from mim3d.recipes.evaluations import read_side
from mim3d.reporting.text_table import TextTable, in_markdown

ENCODERS = (WITHOUT, MAE, MIM)
STEPS = (100, 400)
"""Of fine-tuning after which runs are scored."""
FULL = "finetune"
"""The runs of the other study: the encoder learns at the full rate."""
DECAYED, FROZEN = "layer-decay-0.6", "frozen"
SPARED = {DECAYED: Transfer(layer_decay=0.6), FROZEN: Transfer(frozen_stages=NUM_STAGES)}


def main(folder: Path) -> None:
    """Run what is missing, and write the page."""
    jobs = [(f"{arm}, {way}", seed) for seed in SEEDS for way in SPARED for arm in ENCODERS]
    side_by_side(finetuned, folder, jobs)
    page = "\n".join(tables(folder))
    (folder / "transfer.md").write_text(page, encoding="utf-8")
    print(page)


def finetuned(folder: Path, name: str, seed: int) -> None:
    """Fine-tune one encoder in one way, and score it."""
    arm, way = name.split(", ")
    config = replace(finetuning(seed), transfer=SPARED[way])
    learn_and_score(folder, place(folder, way, arm, seed), encoder(folder, arm, seed), config, STEPS)


def sides(folder: Path, way: str, arm: str, steps: int) -> list[Side]:
    """Scores of an encoder, seed by seed."""
    return [read_side(arm, [place(folder, way, arm, seed) / scored(steps)]) for seed in SEEDS]


def tables(folder: Path) -> list[str]:
    """Dice by seed, and paired differences from scratch at the full rate."""
    rows: list[tuple[str, ...]] = []
    differences: list[tuple[str, ...]] = []
    for steps in STEPS:
        scratch = sides(folder, FULL, WITHOUT, steps)
        for way in (FULL, *SPARED):
            named = "full rate" if way == FULL else way
            arms = [(arm, sides(folder, way, arm, steps)) for arm in ENCODERS]
            for arm, some in arms:
                dice = [dice_of(side) for side in some]
                rows.append((named, arm, str(steps), *(f"{value:.3f}" for value in (*dice, fmean(dice)))))
            of_full = arms if way != FULL else arms[1:]
            found = compared([("scratch, full rate", scratch), *of_full])
            differences += [(named, row[0], str(steps), *row[1:]) for row in found]
    run = ("encoder learns", "encoder", "steps")
    headings = (*run, *(f"seed {seed}" for seed in SEEDS), "mean")
    columns = (*run, "difference", "95 % interval", "by seed", "p", "patients")
    title = "Dice less that of scratch at the full rate, paired"
    return [
        in_markdown(TextTable(title="Dice on the test split", headings=headings, rows=tuple(rows))),
        in_markdown(TextTable(title=title, headings=columns, rows=tuple(differences))),
    ]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
