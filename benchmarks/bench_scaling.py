"""What a crop and a region cost, against what they are made of: our side alone, forward and backward.

.venv/bin/python benchmarks/bench_scaling.py                               all parts
.venv/bin/python benchmarks/bench_scaling.py share --picture FILE          one part, and its picture as PNG
.venv/bin/python benchmarks/bench_scaling.py levels children --json FILE   two, and all numbers of them

share      seconds a crop against the share of its tokens that is visible, with the straight line through it
crop       the same, and memory, against the size of the crop
levels     seconds a region, and memory, against the number of levels
children   the same against the number of children
precision  float32, float32 with compiled blocks, and bfloat16

What one table compares is timed in turns. Seconds are the median and the least over the rounds. Crops go
one at a time where memory is measured, in a process of its own for every row.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from machine import matmul_rate
from matplotlib.figure import Figure
from region import region_of, with_children
from turns import Times, encoder_step, in_processes, in_turns, region_step

from mim3d.config import Level, Nesting, PretrainConfig
from mim3d.geometry import Triple
from mim3d.model.compiled import compile_blocks
from mim3d.model.cost import flops_of_region, plan_step
from mim3d.model.mim import Mim
from mim3d.model.patches import index_of
from mim3d.presets import PRETRAIN
from mim3d.reporting.curves import COLOURS, INK, STYLE
from mim3d.sampling.batch import RegionBatch
from mim3d.train.fit import launch

Row = dict[str, float | str | None]
"""Of a table, by the heads of its columns."""

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of tokens visible, nearly: how many is a whole number. 1 is for the encoder alone: nothing is hidden then,
so that there is nothing to reconstruct."""
CROPS = 2
"""Crops that go at once in `share`."""
MASKED_RATIO = 0.6
"""At every level of the other parts, in cells of one token."""
WIDE: Triple = (4096, 4096, 4096)
"""Region of level 0, voxels: wide enough for any number of levels; it has no bearing on the cost."""
CURVES = {"step": "encoder, decoder and loss", "encoder": "encoder alone"}
"""What is timed in `share`."""


def main() -> None:
    """Measure the parts asked for, one after the other."""
    arguments = parse()
    config, parts = PRETRAIN[arguments.preset](), arguments.parts or list(PARTS)
    result: dict[str, Any] = {
        "preset": arguments.preset,
        "threads": torch.get_num_threads(),
        "matmul_gflop_per_second": matmul_rate() / 1e9,
    }
    print(
        f"{arguments.preset}, {result['threads']} threads; large matrix products reach "
        f"{result['matmul_gflop_per_second']:.0f} GFLOP/s"
    )
    for part in parts:
        result[part] = PARTS[part](config, arguments.repeats)
        print(f"\n{part}\n{table(result[part]['rows'])}", flush=True)
        for name, line in result[part].get("lines", {}).items():
            print(f"{name.replace('_', ' ')}: {described(line)}")
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")
        if arguments.picture and part == "share":
            draw(result["share"], arguments.picture)


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--preset", choices=list(PRETRAIN), default="base")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, after one that warms up")
    parser.add_argument("--json", type=Path, help="file to write all numbers to")
    parser.add_argument("--picture", type=Path, help="file to draw `share` into, PNG")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if arguments.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {arguments.repeats}")
    if arguments.picture and arguments.parts and "share" not in arguments.parts:
        parser.error("--picture draws the part share, which is not among those asked for")
    return arguments


def nested(preset: PretrainConfig, crop: Triple, levels: int, children: int) -> PretrainConfig:
    """The preset with levels that are all alike."""
    level = Level(masked_ratio=MASKED_RATIO, children=children)
    outer = (level,) * (levels - 1)
    nesting = Nesting(
        extent=WIDE, crop=crop, patch=preset.nesting.patch, levels=(*outer, replace(level, children=0))
    )
    return replace(preset, nesting=nesting)


def with_shown(preset: PretrainConfig, visible: float) -> PretrainConfig:
    """The preset with one level, of which this share of the tokens is visible."""
    nesting = replace(preset.nesting, levels=(Level(masked_ratio=1 - visible, children=0),))
    return replace(preset, nesting=nesting)


def share(preset: PretrainConfig, repeats: int) -> dict[str, Any]:
    """Seconds a crop at every share of tokens visible: of a whole step, and of the encoder alone."""
    torch.manual_seed(0)
    nesting = with_shown(preset, SHARES[0]).nesting
    model, tokens = Mim(nesting, preset.architecture), math.prod(nesting.grid)
    steps: dict[tuple[str, int], Callable[[], object]] = {}
    for wanted in SHARES:
        config = with_shown(preset, wanted)
        batch = crops_of(config.nesting)
        visible = index_of(~batch.levels[0].masked)  # (CROPS, K)
        steps["step", visible.shape[1]] = region_step(model, batch, config, (CROPS,))
        steps["encoder", visible.shape[1]] = encoder_step(model.encoder, batch.levels[0].crops, visible)
    everything = torch.arange(tokens).expand(CROPS, -1)  # (CROPS, L)
    steps["encoder", tokens] = encoder_step(model.encoder, crops_of(nesting).levels[0].crops, everything)
    times = in_turns(steps, repeats)
    rows = [share_row(times, count, tokens) for count in sorted({count for _, count in steps})]
    return {"rows": rows, "lines": {name: line_of(rows, name) for name in rows[0] if name != "visible"}}


def share_row(times: dict[tuple[str, int], Times], count: int, tokens: int) -> Row:
    """Seconds a crop with so many of its tokens visible."""
    row: Row = {"visible": count / tokens}
    for curve in CURVES:
        found = times.get((curve, count))
        row[f"{curve}_seconds"] = found.median / CROPS if found else None
        row[f"{curve}_least"] = found.least / CROPS if found else None
    return row


def crops_of(nesting: Nesting) -> RegionBatch:
    """`CROPS` regions of one level with the same mask, as one batch."""
    batch = region_of(nesting)
    level = batch.levels[0]
    crops, masked, padded = (
        torch.cat([tensor] * CROPS) for tensor in (level.crops, level.masked, level.padded)
    )
    return RegionBatch((replace(level, crops=crops, masked=masked, padded=padded),), batch.cases * CROPS)


def line_of(rows: list[Row], name: str) -> dict[str, float]:
    """The straight line through a column (least squares), s a crop, and the largest distance from it."""
    known = [(row["visible"], row[name]) for row in rows if row[name] is not None]
    shares, seconds = np.array(known, dtype=float).T
    slope, intercept = np.polyfit(shares, seconds, 1)
    line = intercept + slope * shares
    away = np.abs(seconds - line)
    return {
        "intercept": float(intercept),
        "slope": float(slope),
        "largest_deviation": float(away.max()),
        "largest_relative_deviation": float((away / line).max()),
    }


def described(line: dict[str, float]) -> str:
    """A line in words."""
    return (
        f"{line['intercept']:.3g} s + {line['slope']:.3g} s x share visible, "
        f"off by at most {line['largest_deviation']:.2g} s ({100 * line['largest_relative_deviation']:.1f} %)"
    )


SWEEPS: dict[str, tuple[tuple[int, ...], Callable[[PretrainConfig, int], PretrainConfig]]] = {
    "crop": ((64, 96, 128), lambda preset, side: nested(preset, (side, side, side), 1, 0)),
    "levels": ((1, 2, 3, 4), lambda preset, levels: nested(preset, preset.nesting.crop, levels, 2)),
    "children": ((1, 2, 4, 8), lambda preset, children: nested(preset, preset.nesting.crop, 2, children)),
}
"""What a part varies, and the configuration that follows: one level, 2 children a level, two levels."""


def sweep(part: str, preset: PretrainConfig, repeats: int) -> dict[str, Any]:
    """Seconds, operations and peak memory of a region at every value, each in a process of its own."""
    values, configure = SWEEPS[part]
    configs = {value: configure(preset, value) for value in values}
    found = in_processes(configs, repeats)
    return {"rows": [{part: v, **sweep_row(config, *found[v])} for v, config in configs.items()]}


def sweep_row(config: PretrainConfig, times: Times, peak: float) -> Row:
    """What one region cost; `voxels_gb` is the part of the memory that its crops take themselves."""
    nesting, gflop = config.nesting, flops_of_region(config) / 1e9
    crops = sum(nesting.num_crops(number) for number in range(len(nesting.levels)))
    return {
        "tokens": math.prod(nesting.grid),
        "crops": crops,
        "seconds": times.median,
        "least": times.least,
        "seconds_a_crop": times.median / crops,
        "gflop": gflop,
        "gflop_per_second": gflop / times.median,
        "voxels_gb": 4 * crops * config.architecture.channels * math.prod(nesting.crop) / 1e9,
        "peak_gb": peak,
    }


def precision(preset: PretrainConfig, repeats: int) -> dict[str, Any]:
    """One region with 2 children a level, chunks as the preset has them, float32, compiled, bf16-mixed."""
    config = with_children(preset, 2)
    batch, gflop = region_of(config.nesting), flops_of_region(config) / 1e9
    at_once = plan_step(config, num_weights=0, threads=1).at_once
    steps = {}
    for name, words, compiled in (
        ("32-true", "32-true", False),
        ("32-true, compiled", "32-true", True),
        ("bf16-mixed", "bf16-mixed", False),
    ):
        torch.manual_seed(0)
        model = Mim(config.nesting, config.architecture, config.alignment)
        if compiled and not compile_blocks(model):
            print("precision: there is no C++ compiler, so compiled blocks are left out")
            continue
        fabric = launch(replace(config.runtime, accelerator="cpu", devices=1, precision=words), 1)
        prepared = fabric.setup_module(model)
        steps[name] = region_step(prepared, batch, config, at_once, fabric.backward)
    times = in_turns(steps, repeats)
    rows: list[Row] = [
        {
            "precision": name,
            "first_step": found.first,
            "seconds": found.median,
            "least": found.least,
            "gflop_per_second": gflop / found.median,
            "times_as_fast": times["32-true"].median / found.median,
        }
        for name, found in times.items()
    ]
    return {"rows": rows}


PARTS: dict[str, Callable[[PretrainConfig, int], dict[str, Any]]] = {
    "share": share,
    **{part: partial(sweep, part) for part in SWEEPS},
    "precision": precision,
}


def table(rows: list[Row]) -> str:
    """Rows under the heads of their columns, for people."""
    heads = list(rows[0])
    cells = [[head.replace("_", " ") for head in heads], *[[shown(row[h]) for h in heads] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells)


def shown(value: float | str | None) -> str:
    """Whole numbers and words as they are, others to three decimals; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def draw(found: dict[str, Any], path: Path) -> None:
    """Seconds a crop against the share visible, with the straight lines, as PNG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.4), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for (curve, label), colour in zip(CURVES.items(), COLOURS, strict=False):
            name = f"{curve}_seconds"
            line, known = found["lines"][name], [row for row in found["rows"] if row[name] is not None]
            axes.plot((0, 1), (line["intercept"], line["intercept"] + line["slope"]), color=colour, alpha=0.5)
            shares, seconds = [row["visible"] for row in known], [row[name] for row in known]
            axes.plot(shares, seconds, "o", color=colour, markersize=4, label=label)
        axes.set_xlabel("share of tokens visible")
        axes.set_ylabel("seconds a crop, forward and backward")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
        axes.legend(loc="upper left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


if __name__ == "__main__":
    main()
