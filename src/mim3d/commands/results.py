"""Commands that show what came out."""

from pathlib import Path

import tyro

from mim3d.commands.places import Predicted, Run, Truth


def evaluate(
    predicted: Predicted,
    truth: Truth,
    /,
    *,
    out: Path | None = None,
    structures: str | None = None,
    tolerance: float = 2.0,
    truth_labels: Path | None = None,
) -> None:
    """Score label maps against the truth: Dice, HD95 and NSD per structure.

    Args:
        predicted: Label map, or a folder of them; names come from the .json beside each.
        truth: Label map on the same grid, or a folder of them, matched by file name.
        out: JSON to write, e.g. RUN/evaluation.json, which `mim3d report RUN` shows.
        structures: Names to score, joined by commas; by default all that both sides know.
        tolerance: Of NSD, mm; raised to the largest spacing of a scan where that is larger.
        truth_labels: What the values of the truth mean: label_sets.json, dataset.json, cases.csv, or a folder
            with one; `:SET` at its end names the label set. By default its values are the prediction's.
    """
    from mim3d.recipes.evaluate import evaluate

    evaluate(
        predicted,
        truth,
        out=out,
        structures=structures,
        tolerance=tolerance,
        truth_labels=truth_labels,
    )


def report(
    run: Run, /, *more: tyro.conf.Positional[Path], out: Path | None = None, note: str | None = None
) -> None:
    """Write one self-contained HTML page about a run, or about several side by side.

    Args:
        run: Run folder of `pretrain` or `finetune`.
        more: Further run folders to show on the same page; fine-tuned ones are compared.
        out: HTML file to write; `report.html` in the first run folder if not given.
        note: Plain text shown on top, e.g. what the data can and cannot show; blank lines part paragraphs.
    """
    from mim3d.recipes.report import report

    print(report(run, *more, out=out, note=note))
