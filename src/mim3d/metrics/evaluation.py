"""The table of an evaluation: every structure of every case scored by one set of conventions, and the means.

Conventions (docs/metrics.md): a structure in neither map is left out and counted; one in the truth only has
Dice 0, NSD 0 and the diagonal of the image as HD95; one in the prediction only has Dice 0 and its volume as
false positive; one that was not annotated in a case is not scored there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from statistics import fmean
from typing import Any, Literal

from mim3d.config_file import build
from mim3d.metrics.lesions import Lesions

Outcome = Literal["both", "truth only", "prediction only", "neither"]
Grid = Literal["", "own", "working"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureScore:
    """One structure of one case."""

    name: str
    """Of the structure."""
    outcome: Outcome
    """Which of the two label maps hold the structure."""
    dice: float | None
    """0 to 1; None where neither holds it."""
    hd95_mm: float | None
    """mm; None where the truth does not hold it."""
    nsd: float | None
    """0 to 1; None where the truth does not hold it."""
    tolerance_mm: float
    """Of NSD, mm."""
    truth_ml: float
    """Volume in the truth, ml."""
    predicted_ml: float
    """Volume in the prediction, ml; false positive where the outcome is `prediction only`."""
    lesions: Lesions | None = None
    """Where they were asked for."""

    @property
    def volume_difference_ml(self) -> float:
        """Predicted minus true volume, ml."""
        return self.predicted_ml - self.truth_ml


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseScore:
    """One case: a row for each annotated structure."""

    case: str
    """Name."""
    scores: tuple[StructureScore, ...]
    """In the order of the structures asked for."""
    patient: str = ""
    """Keyed hash of the patient's identifier; empty if not known: the case then stands for the patient."""
    truth: str = ""
    """Hash of what it was compared with: only what has the same can be compared with one another."""
    seed: int | None = None
    """Of the run that made the prediction, where runs of several seeds are pooled."""

    @property
    def unit(self) -> str:
        """What is independent of other cases: the patient, as far as it is known."""
        return self.patient or self.case


@dataclass(frozen=True, kw_only=True, slots=True)
class LesionSummary:
    """Lesions of one structure over all cases."""

    truth: int
    """Lesions in the truth."""
    found: int
    """Those that were found."""
    false_positives: int
    """Predicted lesions that are none."""
    cases: int
    """Predictions of annotated cases."""
    sensitivity: float | None
    """Share of the true lesions that were found; None if there are none."""
    false_positives_per_case: float
    """Mean over `cases`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureSummary:
    """One structure over all cases; each mean is over the predictions it is defined for.

    A case has one prediction; or one of each seed, where runs of several seeds are pooled.
    """

    name: str
    """Of the structure."""
    dice: float | None
    """Mean over `cases`; None if there are none."""
    hd95_mm: float | None
    """Mean over `truth_cases`, mm."""
    nsd: float | None
    """Mean over `truth_cases`."""
    tolerance_mm: float | None
    """Largest tolerance of NSD among the cases, mm."""
    cases: int
    """Cases whose truth or prediction holds the structure."""
    truth_cases: int
    """Cases whose truth holds it."""
    missed: int
    """Predictions without it where the truth holds it."""
    invented: int
    """Predictions with it where the truth does not hold it."""
    absent: int
    """Predictions without it where the truth, though annotated, does not hold it: left out of every mean."""
    not_annotated: int
    """Predictions where it was not annotated: not scored."""
    false_positive_ml: float
    """Volume of the `invented`, ml, all together."""
    volume_difference_ml: float | None
    """Mean of predicted minus true volume over `cases`, ml."""
    lesions: LesionSummary | None = None
    """Where they were asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What is written as JSON, shown as a table, and read by the report."""

    split: str
    """Of the store, e.g. `val`; empty where files were compared."""
    structures: tuple[StructureSummary, ...]
    """One row a structure."""
    cases: tuple[CaseScore, ...]
    """What the means rest on."""
    grid: Grid = ""
    """Of the voxels that were compared: the scan's `own`, or the `working` grid of a store."""
    labels: dict[str, str] = field(default_factory=dict)
    """Structure to what it is in the truth: a label set's name and structures, or values of a file."""

    @property
    def dice(self) -> float | None:
        """Mean of the structures' mean Dice, without those absent everywhere."""
        return _mean(row.dice for row in self.structures)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and names; what is not defined is None."""
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any], where: str) -> "Evaluation":
        """The evaluation whose `to_json` this is; what else is beside it is left alone.

        Raises:
            ConfigError: If something is missing or of another type; `where` names the file.
        """
        known = {one.name: content[one.name] for one in fields(Evaluation) if one.name in content}
        evaluation: Evaluation = build(Evaluation, known, where)
        return evaluation


def summarise(
    cases: Iterable[CaseScore],
    structures: Iterable[str],
    split: str = "",
    *,
    grid: Grid = "",
    labels: Mapping[str, str] | None = None,
) -> Evaluation:
    """Means for each structure, and how many cases they rest on."""
    cases = tuple(cases)
    found = [{score.name: score for score in case.scores} for case in cases]
    rows = (
        _summary(name, [(case.case, scores.get(name)) for case, scores in zip(cases, found, strict=True)])
        for name in structures
    )
    return Evaluation(split=split, structures=tuple(rows), cases=cases, grid=grid, labels=dict(labels or {}))


def _summary(name: str, rows: list[tuple[str, StructureScore | None]]) -> StructureSummary:
    annotated = [(case, row) for case, row in rows if row is not None]
    scores = [row for _, row in annotated]
    present = [row for row in scores if row.outcome != "neither"]
    invented = [row for row in scores if row.outcome == "prediction only"]
    return StructureSummary(
        name=name,
        dice=_mean(row.dice for row in present),
        hd95_mm=_mean(row.hd95_mm for row in present),
        nsd=_mean(row.nsd for row in present),
        tolerance_mm=max((row.tolerance_mm for row in scores), default=None),
        cases=len({case for case, row in annotated if row.outcome != "neither"}),
        truth_cases=len({case for case, row in annotated if row.outcome in ("both", "truth only")}),
        missed=sum(row.outcome == "truth only" for row in scores),
        invented=len(invented),
        absent=len(scores) - len(present),
        not_annotated=len(rows) - len(scores),
        false_positive_ml=sum(row.predicted_ml for row in invented),
        volume_difference_ml=_mean(row.volume_difference_ml for row in present),
        lesions=_lesions([row.lesions for row in scores if row.lesions is not None]),
    )


def _lesions(counts: list[Lesions]) -> LesionSummary | None:
    if not counts:
        return None
    truth, found = sum(one.truth for one in counts), sum(one.found for one in counts)
    invented = sum(one.false_positives for one in counts)
    return LesionSummary(
        truth=truth,
        found=found,
        false_positives=invented,
        cases=len(counts),
        sensitivity=found / truth if truth else None,
        false_positives_per_case=invented / len(counts),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
