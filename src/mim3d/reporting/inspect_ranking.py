"""The cases of a store, worst suspects first."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from mim3d.data.store import Store
from mim3d.errors import StoreError
from mim3d.reporting.inspect_cohort import cohort_of, missing, unusual
from mim3d.reporting.inspect_findings import KINDS, RULES, Finding, Subject
from mim3d.reporting.inspect_measures import measure
from mim3d.reporting.inspect_places import turned

Progress = Callable[[int, int], None]
"""Called with how many cases are done, and of how many."""
MOST_OF_A_KIND = 2
"""Findings that are told of one case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A case with what speaks against it."""

    subject: Subject
    score: float
    """Sum over the kinds of findings of the worst of each; 0 if nothing was found."""
    nearest: float
    """Largest score of anything, even below a finding's: in this order cases without findings are shown."""
    findings: tuple[Finding, ...]
    """The first of each kind, in the order of KINDS, then the second of each."""
    num_more: int
    """Findings beyond those."""


def examine(
    store: Store, label_sets: tuple[str, ...], on_case: Progress, *, quick: bool
) -> tuple[Subject, ...]:
    """What is known of each case of a store, one after another; with `quick` from the catalog alone.

    Args:
        store: To look into.
        label_sets: Names of the label sets to look at.
        on_case: Called after each case with the number done and of all.
        quick: Leave the voxels alone.
    """
    subjects = []
    for case in store.catalog.cases:
        if quick:
            subjects.append(Subject(case=case))
            continue
        try:
            subjects.append(Subject(case=case, measures=measure(store, case, label_sets)))
        except StoreError as error:
            subjects.append(Subject(case=case, damage=str(error)))
        on_case(len(subjects), len(store.catalog.cases))
    return tuple(subjects)


def ranked(
    subjects: Sequence[Subject], values: Mapping[str, Mapping[str, int]], on_case: Progress
) -> tuple[Suspect, ...]:
    """All cases, worst first.

    Args:
        subjects: The cases, and what is known of them.
        values: Label set -> structure -> its value in label maps.
        on_case: Called after each case with the number done and of all.
    """
    cohort = cohort_of(subjects, values)
    suspects = []
    for one in subjects:
        explained = chain(chain.from_iterable(rule(one) for rule in RULES), turned(one), missing(one, cohort))
        suspects.append(suspect(one, explained, unusual(one, cohort)))
        on_case(len(suspects), len(subjects))
    return tuple(sorted(suspects, key=lambda one: (-one.score, -one.nearest, one.subject.case.case)))


def suspect(subject: Subject, explained: Iterable[Finding], unusual: Iterable[Finding]) -> Suspect:
    """A case with those of its graded findings that count; of a kind, `explained` ones are told first."""
    graded = [*_sorted(explained), *_sorted(unusual)]
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in graded:
        if finding.score >= 1:
            kinds[finding.kind].append(finding)
    scores = {kind: max(finding.score for finding in alike) for kind, alike in kinds.items()}
    ordered = [kind for kind in KINDS if kind in kinds]
    told = [
        one for place in range(MOST_OF_A_KIND) for kind in ordered for one in kinds[kind][place : place + 1]
    ]
    return Suspect(
        subject=subject,
        score=sum(scores.values()),
        nearest=max((finding.score for finding in graded), default=0.0),
        findings=tuple(told),
        num_more=sum(map(len, kinds.values())) - len(told),
    )


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: -one.score)
