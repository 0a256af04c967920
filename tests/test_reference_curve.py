"""The first steps of `tiny`, through store, sampler and loop, cost what they cost when the curve was kept."""

import csv
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOLERANCE = 1e-5
"""Relative. Another number of threads, other chunks and float64 change a loss by 2e-7 at most; 1 % of the
learning rate by 2e-3, a fifth of the weight decay by 6e-5, a norm that learns nothing by 1e-4."""


def test_the_first_steps_of_tiny_cost_what_they_did(tmp_path: Path) -> None:
    reference = runpy.run_path(str(ROOT / "scripts" / "write_reference_curve.py"))
    store = reference["make_store"](tmp_path)
    found = reference["losses"](store, tmp_path / "run", reference["reference_config"]())
    with (ROOT / "tests" / "reference_curve_tiny.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert len(found) == len(kept)
    for step, (row, expected) in enumerate(zip(found, kept, strict=True), start=1):
        assert list(expected) == ["step", *row]
        for name, value in row.items():
            assert value == pytest.approx(float(expected[name]), rel=TOLERANCE), f"step {step}, {name}"
