"""What became of each scan of a batch, as a table."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mim3d.inference.outputs import NOTICE

SUMMARY = "summary.csv"


@dataclass(frozen=True, slots=True)
class Result:
    """One scan."""

    name: str
    found: Mapping[str, float] = field(default_factory=dict)
    """Of each structure its volume, ml, or of each class its probability; none if it failed."""
    reason: str = ""
    """Why it failed; empty if it did not."""


def write_summary(folder: Path, results: Iterable[Result], columns: Sequence[str], unit: str) -> None:
    """A row a scan into summary.csv of a folder, whole or not at all: name, what was found, or the reason."""
    aside = folder / f".{SUMMARY}.partial"
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ("case", "status", *(f"{name} {unit}".strip() for name in columns), "reason", "notice")
        )
        for one in sorted(results, key=lambda result: result.name):
            found = (f"{one.found[name]:.4f}" if name in one.found else "" for name in columns)
            writer.writerow((one.name, "failed" if one.reason else "done", *found, one.reason, NOTICE))
    aside.rename(folder / SUMMARY)
