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
    volumes: Mapping[str, float] = field(default_factory=dict)
    """Of each structure, ml; none if it failed."""
    reason: str = ""
    """Why it failed; empty if it did not."""


def write_summary(folder: Path, results: Iterable[Result], structures: Sequence[str]) -> None:
    """A row a scan into summary.csv of a folder, whole or not at all; names of scans, volumes, reasons."""
    aside = folder / f".{SUMMARY}.partial"
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "status", *(f"{name} ml" for name in structures), "reason", "notice"))
        for one in sorted(results, key=lambda result: result.name):
            volumes = (f"{one.volumes[name]:.4f}" if name in one.volumes else "" for name in structures)
            writer.writerow((one.name, "failed" if one.reason else "done", *volumes, one.reason, NOTICE))
    aside.rename(folder / SUMMARY)
