"""Commands that show what came out."""

from pathlib import Path

import tyro

from mim3d.commands.places import Predicted, Run, Truth


def evaluate(  # noqa: PLR0913  one argument a flag
    predicted: Predicted,
    truth: Truth,
    /,
    *,
    out: Path | None = None,
    structures: str | None = None,
    tolerance: str = "2",
    lesions: str | None = None,
    smallest_lesion: float = 0.0,
    truth_labels: Path | None = None,
) -> None:
    """Score label maps against the truth: Dice, HD95 and NSD per structure.

    Args:
        predicted: Label map, or a folder of them; names come from the .json beside each.
        truth: Label map on the same grid, or a folder of them, matched by file name.
        out: JSON to write, e.g. RUN/evaluation.json, which `mim3d report RUN` shows.
        structures: Names to score, joined by commas, unions written whole=edema+core; by default all that
            both sides name.
        tolerance: Of NSD, mm: `2` for all structures, `liver=3,tumour=2`, or both, `2,liver=3`; raised to the
            largest spacing of a scan where that is larger.
        lesions: Structures whose lesions are counted one by one, joined by commas.
        smallest_lesion: Volume of the smallest lesion that counts, mm^3.
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
        lesions=lesions,
        smallest_lesion=smallest_lesion,
        truth_labels=truth_labels,
    )


def report(
    run: Run, /, *more: tyro.conf.Positional[Path], out: Path | None = None, note: str | None = None
) -> None:
    """Write one self-contained HTML page about a run, or about several side by side.

    Args:
        run: Run folder of `pretrain` or `finetune`, or a folder of `crossval`.
        more: Further ones to show on the same page; fine-tuned ones are compared.
        out: HTML file to write; `report.html` in the first run folder if not given.
        note: Plain text shown on top, e.g. what the data can and cannot show; blank lines part paragraphs.
    """
    from mim3d.recipes.report import report

    print(report(run, *more, out=out, note=note))
