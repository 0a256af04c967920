"""What came of a cross-validation: all cases pooled, and how much folds and seeds differ.

OUT/evaluation.json holds the rows of every case, OUT/summary.json the means and their spread.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mim3d.metrics.classification import TITLES
from mim3d.metrics.pooled import Spread, pooled, spread, spreads
from mim3d.recipes.evaluations import read_evaluation
from mim3d.recipes.messages import say
from mim3d.reporting.text_table import TextTable, counted, number_text, print_table
from mim3d.run_files import SCORES
from mim3d.train.crossval_folder import Member
from mim3d.train.run_folder import read_json, write_json

NOTE = "folds, seeds: standard deviations. Of folds it is no standard error: they share training cases."


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """What is pooled, and where to."""

    source: str = SCORES
    """In each run's folder."""
    pooled: str = "evaluation.json"
    """In the folder of all of them."""
    summary: str = "summary.json"


OF_VALIDATION = Files()


def pool_structures(out: Path, members: Sequence[Member], files: Files = OF_VALIDATION) -> None:
    """Pool the rows of all runs of segmentation, write them and show their means."""
    found = {(one.fold, one.seed): read_evaluation(one.run / files.source) for one in members}
    whole = pooled(found)
    write_json(out / files.pooled, whole.to_json())
    rows = spreads(found)
    runs = [_run(one, found[one.fold, one.seed].dice, "dice") for one in members]
    _write_summary(out / files.summary, runs, {"structures": _plain(rows)})
    cases = {row.name: row.cases for row in whole.structures}
    number = len({case.case for case in whole.cases})
    print_table(
        TextTable(
            title=f"{_counts(members)}, {counted(number, 'case')}",
            headings=("structure", "Dice", "folds", "seeds", "NSD", "HD95 mm", "cases"),
            rows=tuple(
                (
                    name,
                    *_texts(measures["dice"], 3),
                    _texts(measures.get("nsd"), 3)[0],
                    _texts(measures.get("hd95_mm"), 1)[0],
                    str(cases.get(name, "")),
                )
                for name, measures in rows.items()
            ),
            notes=(NOTE,),
        )
    )
    say(f"{out}: {files.pooled} and {files.summary} written")


def pool_classes(out: Path, members: Sequence[Member], files: Files = OF_VALIDATION) -> None:
    """Pool the rows of all runs of classification, write them and show their means."""
    found = {(one.fold, one.seed): read_json(one.run / files.source) for one in members}
    first = next(iter(found.values()))
    cases = [{**row, "seed": seed} for (_, seed), one in found.items() for row in one["cases"]]
    rows = {name: spread({place: one.get(name) for place, one in found.items()}) for name in TITLES}
    means = {name: None if row is None else row.mean for name, row in rows.items()}
    kept: dict[str, Any] = {
        name: first[name] for name in ("task", "split", "target", "multi_label") if name in first
    }
    write_json(out / files.pooled, kept | means | {"cases": cases})
    runs = [_run(one, found[one.fold, one.seed].get("auroc"), "auroc") for one in members]
    _write_summary(out / files.summary, runs, {"measures": _plain({"all": rows})["all"]})
    number = len({row["case"] for row in cases})
    print_table(
        TextTable(
            title=f"{_counts(members)}, {counted(number, 'case')}",
            headings=("measure", "mean", "folds", "seeds"),
            rows=tuple((TITLES[name], *_texts(row, 3)) for name, row in rows.items()),
            notes=(NOTE,),
        )
    )
    say(f"{out}: {files.pooled} and {files.summary} written")


def _run(member: Member, score: float | None, measure: str) -> dict[str, Any]:
    return {"run": member.run.name, "fold": member.fold, "seed": member.seed, measure: score}


def _write_summary(file: Path, runs: Sequence[dict[str, Any]], content: dict[str, Any]) -> None:
    write_json(file, {"runs": list(runs), **content})


def _plain(rows: dict[str, dict[str, Spread | None]]) -> dict[str, dict[str, Any]]:
    return {
        name: {measure: None if one is None else asdict(one) for measure, one in measures.items()}
        for name, measures in rows.items()
    }


def _counts(members: Sequence[Member]) -> str:
    folds, seeds = (len({getattr(one, name) for one in members}) for name in ("fold", "seed"))
    return f"{counted(folds, 'fold')} x {counted(seeds, 'seed')}"


def _texts(row: Spread | None, digits: int) -> tuple[str, str, str]:
    mean, folds, seeds = (None, None, None) if row is None else (row.mean, row.folds, row.seeds)
    return (number_text(mean, digits), number_text(folds, digits), number_text(seeds, digits))
