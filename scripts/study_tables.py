"""Where the study on phantoms keeps what, and the tables that come of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from mim3d.metrics.comparison import Side, compare_sides
from mim3d.metrics.evaluation import Evaluation
from mim3d.metrics.pooled import joined
from mim3d.recipes.evaluations import read_side
from mim3d.reporting.class_sides import class_side, classified_alike, compare_class_sides
from mim3d.reporting.comparison_tables import interval_text, p_text
from mim3d.reporting.text_table import NOTHING, TextTable, in_markdown
from mim3d.train.run_folder import read_json

SEEDS = (0, 1, 2)
BUDGETS = (50, 100, 200, 400)
"""Steps of fine-tuning after which runs are scored."""
STRUCTURES = ("lungs", "liver", "spleen", "kidneys", "stomach")
WITHOUT, MAE, UNALIGNED, MIM = "scratch", "MAE", "MiM without alignment", "MiM"
PRETRAINED = (MAE, UNALIGNED, MIM)
ARMS = (WITHOUT, *PRETRAINED)
PROBES, WAYS = ("segmentation", "disease"), ("logistic", "knn")


def place(folder: Path, kind: str, arm: str, seed: int) -> Path:
    """Run folder of a job."""
    return folder / kind / f"{arm.lower().replace(' ', '-')}-{seed}"


def scored(budget: int) -> str:
    """Name of the scores after so many steps."""
    return f"scores-{budget}.json"


def files_of(folder: Path, arm: str, budget: int) -> list[Path]:
    """Scores of an arm, seed by seed."""
    return [place(folder, "finetune", arm, seed) / scored(budget) for seed in SEEDS]


def dice_tables(folder: Path) -> Iterator[str]:
    """Mean Dice of every seed at every budget, then paired differences from scratch and from MAE."""
    rows = []
    for arm in ARMS:
        for number, seed in enumerate(SEEDS):
            means = [read_side(arm, [files_of(folder, arm, one)[number]]).evaluation.dice for one in BUDGETS]
            rows.append((arm, str(seed), *(f"{mean:.3f}" for mean in means)))
        pooled = [read_side(arm, files_of(folder, arm, one)).evaluation.dice for one in BUDGETS]
        rows.append((arm, "mean", *(f"{mean:.3f}" for mean in pooled)))
    headings = ("encoder", "seed", *(f"{one} steps" for one in BUDGETS))
    yield in_markdown(TextTable(title="Dice on the test split", headings=headings, rows=tuple(rows)))
    yield in_markdown(paired(folder, WITHOUT, PRETRAINED))
    yield in_markdown(paired(folder, MAE, (UNALIGNED, MIM)))


def paired(folder: Path, reference: str, others: Sequence[str]) -> TextTable:
    """Differences in mean Dice, case by case, of seeds averaged, with bootstrap intervals over patients."""
    rows = []
    for budget in BUDGETS:
        found = compared(
            [
                (arm, [read_side(arm, [file]) for file in files_of(folder, arm, budget)])
                for arm in (reference, *others)
            ]
        )
        rows += [(f"{row[0]}, {budget} steps", *row[1:]) for row in found]
    headings = ("encoder", "difference", "95 % interval", "by seed", "p", "patients")
    return TextTable(title=f"Dice less that of {reference}, paired", headings=headings, rows=tuple(rows))


def compared(arms: Sequence[tuple[str, Sequence[Side]]]) -> list[tuple[str, ...]]:
    """Rows about each arm but the first: difference from it, interval, by seed, p, patients."""
    sides = [pooled(name, some) for name, some in arms]
    cases = sorted({case.case for case in sides[0].evaluation.cases})
    rows: list[tuple[str, ...]] = []
    for found, (name, some) in zip(
        compare_sides(sides, "dice", STRUCTURES, cases, seed=0), arms[1:], strict=True
    ):
        row = found.rows[-1]  # of all structures together
        each = [dice_of(one) - dice_of(other) for one, other in zip(some, arms[0][1], strict=True)]
        by_seed = ", ".join(f"{value:+.3f}" for value in each)
        interval = interval_text(row.interval, 3)
        rows.append(
            (name, f"{row.difference:+.3f}", interval, by_seed, p_text(row.p_sign_flip), str(row.patients))
        )
    return rows


def dice_of(side: Side) -> float:
    """Mean Dice over the structures, which some case has."""
    dice = side.evaluation.dice
    assert dice is not None
    return dice


def pooled(name: str, sides: Sequence[Side]) -> Side:
    """The seeds of an arm as one side: scores are averaged case by case."""
    return Side(name=name, evaluation=joined([side.evaluation for side in sides]), runs=len(sides))


def probe_tables(folder: Path) -> Iterator[str]:
    """What frozen encoders know: of every seed, and less what random weights do."""
    seen = {kind: [read_json(folder / "probes" / f"{kind}-{seed}.json") for seed in SEEDS] for kind in PROBES}
    names = ("random weights", *PRETRAINED)
    rows: list[tuple[str, ...]] = []
    for number, name in enumerate(names):
        dice = [one["encoders"][number]["dice"] for one in seen["segmentation"]]
        auroc = [one["encoders"][number][way]["auroc"] for way in WAYS for one in seen["disease"]]
        for seed in SEEDS:
            values = (dice[seed], *auroc[seed :: len(SEEDS)])
            rows.append((name, str(seed), *(f"{value:.3f}" for value in values)))
        means = (
            fmean(dice),
            *(fmean(auroc[n * len(SEEDS) : (n + 1) * len(SEEDS)]) for n in range(len(WAYS))),
        )
        rows.append((name, "mean", *(f"{value:.3f}" for value in means)))
    headings = ("encoder", "seed", "Dice, linear", "AUROC, logistic", "AUROC, kNN")
    yield in_markdown(TextTable(title="Probes of frozen encoders", headings=headings, rows=tuple(rows)))
    sides = [
        (
            name,
            [
                Side(name=name, evaluation=Evaluation.from_json(one["encoders"][number], name))
                for one in seen["segmentation"]
            ],
        )
        for number, name in enumerate(names)
    ]
    columns = ("encoder", "difference", "95 % interval", "by seed", "p", "patients")
    for first in (0, 1):
        title = f"Linear probe: Dice less that of {names[first]}, paired"
        yield in_markdown(TextTable(title=title, headings=columns, rows=tuple(compared(sides[first:]))))
    yield auroc_table(names, seen["disease"])


def auroc_table(names: Sequence[str], seen: Sequence[dict[str, Any]]) -> str:
    """Paired differences in AUROC of the logistic probe, of seeds averaged."""
    sides = [
        class_side(name, [one["encoders"][number]["logistic"] for one in seen], name)
        for number, name in enumerate(names)
    ]
    rows = []
    for first in (0, 1):
        alike = classified_alike(sides[first:], shared=False)
        for name, differences in compare_class_sides(sides[first:], alike, seed=0).items():
            (row,) = (one for one in differences if one.measure == "auroc")
            p = NOTHING if row.p_swap is None else p_text(row.p_swap)
            interval = interval_text(row.interval, 3)
            rows.append(
                (f"{name} less {names[first]}", f"{row.difference:+.3f}", interval, p, str(row.patients))
            )
    headings = ("encoders", "difference", "95 % interval", "p", "patients")
    title = "Logistic probe: AUROC of disease, paired"
    return in_markdown(TextTable(title=title, headings=headings, rows=tuple(rows)))
