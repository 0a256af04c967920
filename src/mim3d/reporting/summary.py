"""A run in words: what it was, on what data, how long, what came out."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mim3d.metrics.evaluation import Evaluation
from mim3d.reporting.run import Classified, Run, number, read_timings
from mim3d.reporting.tables import NOTHING, mean_score, show
from mim3d.reporting.text_table import counted
from mim3d.run_files import SCORES, TIMINGS
from mim3d.train.timings import share_waited

KINDS = {"pretrain": "pre-training", "finetune": "fine-tuning", "classify": "classification"}
"""Kinds of runs in words."""
SPLITS = {"val": "validation", "test": "test", "train": "training", "": "files compared"}
"""Splits of a store in words; no split where files were compared."""


def table_title(evaluation: Evaluation) -> str:
    """What an evaluation is over, in words."""
    split = SPLITS.get(evaluation.split, evaluation.split).capitalize()
    rows, cases = len(evaluation.cases), len({row.case for row in evaluation.cases})
    several = f", {rows} scores of them" if rows > cases else ""  # a score each seed
    return f"{split}, {counted(cases, 'case')}{several}" if cases else split


def of_split(splits: Iterable[str]) -> str:
    """The split of all scores in brackets, e.g. ` (test)`; nothing where there are several."""
    known = set(splits)
    return f" ({SPLITS.get(one, one)})" if len(known) == 1 and (one := min(known)) else ""


def run_facts(run: Run) -> Iterator[tuple[str, str]]:
    """The few things one asks first: preset, start, data, steps, time, machine; as far as the run says."""
    provenance, config = run.provenance, run.config
    steps = run.metrics.get("step")
    optimisation = config.get("optimisation")
    planned = optimisation.get("steps") if isinstance(optimisation, dict) else None
    yield from _kind_facts(run)
    if config.get("preset"):
        yield "preset", str(config["preset"])
    if start := provenance.get("init", config.get("init")):
        yield "weights from", "scratch" if str(start) == "none" else Path(str(start)).name
    if store := provenance.get("store"):
        yield "data", Path(str(store)).name + cases_text(provenance.get("cases"))
    if steps is not None:
        yield "steps", f"{steps[-1]:.0f}" + (f" of {planned}" if planned else "")
    yield from time_facts(run)
    if threads := provenance.get("threads"):
        yield "threads", str(threads)
    if "seed" in config and not run.members:
        yield "seed", str(config["seed"])


def _kind_facts(run: Run) -> Iterator[tuple[str, str]]:
    """What the run is; of a cross-validation also of how many; and how often it was tested."""
    yield "kind", KINDS[run.kind] + (", cross-validation" if run.members else "")
    if run.members:
        yield "runs", str(len(run.members))
        yield "finished", str(sum(bool(one.evaluations or one.classifications) for one in run.members))
    if run.looks:
        yield "looks at test", str(run.looks)


def cases_text(cases: object) -> str:
    """Numbers of cases by split in words, e.g. ": 4 train, 1 val"."""
    if isinstance(cases, dict):
        return ": " + ", ".join(f"{count} {split}" for split, count in cases.items() if count)
    return f": {cases} cases" if isinstance(cases, int) else ""


def time_facts(run: Run) -> Iterator[tuple[str, str]]:
    """How long the steps took and how much of it was waiting; of how many, where not all were timed."""
    if not run.timings:
        return
    seconds, count = run.timings["seconds"].sum(), len(run.timings["step"])
    all_timed = count == len(run.metrics.get("step", ()))
    yield "time", duration(seconds) + ("" if all_timed else f", of {counted(count, 'step')}")
    yield "waiting for data", share_waited(run.timings["waiting"].sum(), seconds)


def closing_line(folder: Path) -> str:
    """What is said of a run when the last file of its folder is written."""
    timings = read_timings(folder / TIMINGS)
    if not timings:
        return f"{folder}: done"
    seconds, steps = timings["seconds"].sum(), counted(len(timings["step"]), "step")
    share = share_waited(timings["waiting"].sum(), seconds)
    return f"{folder}: done, {steps} in {duration(seconds)}; {share} of the time was spent waiting for data"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def imported(run: Run) -> bool:
    """Whether the run is a folder made of somebody else's checkpoint."""
    return "sha256" in run.provenance


def decisive(run: Run) -> Evaluation | None:
    """The evaluation that counts: a test before a validation; None if there is neither."""
    tests = [one for one in run.evaluations if one.evaluation.split == "test"]
    others = [one for one in run.evaluations if one.file != SCORES]
    return next((one.evaluation for one in (*tests, *others, *run.evaluations)), None)


def decisive_classes(run: Run) -> Classified | None:
    """The same of a classifier."""
    tests = [one for one in run.classifications if one.split == "test"]
    return next(iter((*tests, *run.classifications)), None)


def outcome(run: Run) -> str:
    """What came out, in one line."""
    if run.kind == "finetune":
        evaluation = decisive(run)
        if evaluation is None:
            return "Not evaluated yet."
        split = SPLITS.get(evaluation.split, evaluation.split)
        return f"Mean Dice {show(mean_score(evaluation, 'dice'), 'dice')} ({split})."
    if run.kind == "classify":
        return _class_outcome(run)
    if imported(run):
        return "Weights that were imported; nothing was trained here."
    terms = {name: run.metrics[name] for name in run.metrics if name.startswith("r2_mean/")}
    if not terms:
        return "No step recorded yet."
    ends = (f"level {name.split('/')[1]} {first_and_last(values)}" for name, values in terms.items())
    return "Share of the hidden detail that is predicted (R²), start → end: " + ", ".join(ends) + "."


def _class_outcome(run: Run) -> str:
    """AUROC of a classifier."""
    counts = decisive_classes(run)
    if counts is None:
        return "Not evaluated yet."
    split = SPLITS.get(counts.split, counts.split)
    return f"AUROC {show(number(counts.content.get('auroc')), 'auroc')} ({split})."


def first_and_last(values: NDArray[np.float64]) -> str:
    """Means over the first and the last twentieth of the known values (N,), as text."""
    known = values[np.isfinite(values)]
    part = max(len(known) // 20, 1)
    return f"{known[:part].mean():.3f} → {known[-part:].mean():.3f}" if len(known) else NOTHING
