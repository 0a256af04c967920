"""Forward and backward of one region: ours against the dense reference, each in a process of its own.

.venv/bin/python benchmarks/bench_step.py          a table
.venv/bin/python benchmarks/bench_step.py --json   one JSON object on the last line

The reference (`dense_reference.py`) is written the way the authors' release computes: channels first, all
crops of a level in one batch, every token in every convolution stage, all tokens predicted, one backward
pass over all levels. Both sides begin with the same weights, crops and masks, and must end with the same
losses and gradients. Where the reference's memory does not fit, both take 2 children a level, and the output
says so.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from dense_reference import DenseMim, as_released
from machine import available_gb, end_me_first, matmul_rate, peak_gb, where_it_goes
from region import region_of, with_children
from safetensors.torch import load_file, save_file
from step_sides import HEADS, SIDES, without_heads

from mim3d.config import PretrainConfig
from mim3d.model.cost import flops_of_region
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.released import load_released
from mim3d.presets import PRETRAIN

NEEDED_GB = {4: 22.8, 2: 9.5}
"""Memory that the reference needs at base size, by children per level, with some room."""
REPEATS = {"ours": 3, "compiled": 3, "reference": 1}


def main() -> None:
    """Measure both sides, compare what they computed, print."""
    arguments = parse()
    if arguments.side:
        end_me_first()
        print(json.dumps(measure(arguments)))
    else:
        report(arguments)


def report(arguments: argparse.Namespace) -> None:
    """Both sides, one after the other; with fewer children where the system ended the reference."""
    config, fits = configured(arguments), available_gb()
    wanted = [arguments.children] if arguments.children else [n for n, gb in NEEDED_GB.items() if gb <= fits]
    if not wanted:
        sys.exit(f"the reference needs {min(NEEDED_GB.values())} GB of free memory, there are {fits:.1f} GB")
    for children in wanted:
        try:
            result = compared(arguments, config, children)
        except subprocess.CalledProcessError as error:
            if error.returncode != -signal.SIGKILL or children == wanted[-1]:
                raise
        else:
            break
    if not arguments.children and children != max(NEEDED_GB):
        result["note"] = (
            f"{children} children a level, as the reference with {max(NEEDED_GB)} would not fit in memory"
        )
    print(json.dumps(result) if arguments.json else table(result))


def compared(arguments: argparse.Namespace, config: PretrainConfig, children: int) -> dict[str, Any]:
    """Both sides with so many children a level."""
    sides = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("weights", "reference", *(["compiled"] if arguments.compiled else []), "ours"):
            sides[side] = in_process(side, arguments, children, Path(folder))
        worst = compare(config, Path(folder))
    return {
        "speedup": sides["reference"]["seconds"] / sides["ours"]["seconds"],
        "memory_ratio": sides["reference"]["peak_gb"] / sides["ours"]["peak_gb"],
        "children_per_level": children,
        "reference": sides["reference"],
        **{side: found for side, found in sides.items() if side == "compiled"},
        "ours": sides["ours"],
        "largest_relative_difference": worst,
        **shares(with_children(config, children), sides["ours"]["seconds"]),
    }


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--compiled", action="store_true", help="measure compiled blocks as well")
    parser.add_argument("--preset", choices=list(PRETRAIN), default="base")
    parser.add_argument(
        "--children", type=int, help="per level; default: 4, or 2 where 4 do not fit in memory"
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def configured(arguments: argparse.Namespace) -> PretrainConfig:
    """The preset, with a budget that leaves the weights in charge of the peak."""
    config = PRETRAIN[arguments.preset]()
    return replace(
        config,
        runtime=replace(config.runtime, memory_gb=memory_gb(arguments.children)),
        optimisation=replace(config.optimisation, batch_size=1),
    )


def memory_gb(children: int | None) -> float:
    """Budget of our side for what a forward pass keeps: small beside a reference that is itself small."""
    return 0.25 if children == min(NEEDED_GB) else 1.25


def in_process(side: str, arguments: argparse.Namespace, children: int, folder: Path) -> dict[str, Any]:
    """What one side measured, in a process that does nothing else."""
    command = [sys.executable, __file__, "--side", side, "--children", str(children), "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--preset", arguments.preset], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One side: seconds, peak memory, losses; gradients into a file.

    Our side warms up on the region, as blocks are compiled then; the reference, being slow, on one crop.
    """
    config = with_children(configured(arguments), arguments.children)
    folder, side = arguments.folder, arguments.side
    torch.manual_seed(0)
    if side == "weights":
        save_file(DenseMim(config.nesting, config.architecture).state_dict(), folder / "weights.safetensors")
        return {}
    weights = load_file(folder / "weights.safetensors")
    model, step = SIDES[side](config, weights)
    del weights
    batch, seconds, losses = region_of(config.nesting), [], {}
    if side == "reference":
        step(model, replace(batch, levels=batch.levels[:1]), replace(config, nesting=only_outermost(config)))
    else:
        step(model, batch, config)
    for _ in range(REPEATS[side]):
        model.zero_grad()
        begin = time.perf_counter()
        losses = step(model, batch, config)
        seconds.append(time.perf_counter() - begin)
    peak = peak_gb()
    save_file(
        {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, folder / f"{side}.safetensors"
    )
    kept = {n: v for n, v in losses.items() if n.startswith(("reconstruct/", "align/"))}
    found = {"seconds": statistics.median(seconds), "peak_gb": peak, "losses": kept}
    return found | ({"where": where_it_goes(lambda: step(model, batch, config))} if side == "ours" else {})


def only_outermost(config: PretrainConfig) -> Any:
    """The nesting cut down to its outermost level."""
    return replace(config.nesting, levels=(replace(config.nesting.levels[0], children=0),))


def compare(config: PretrainConfig, folder: Path) -> float:
    """Largest difference of a gradient between the sides, relative to the largest value of that gradient."""
    theirs, ours = load_file(folder / "reference.safetensors"), load_file(folder / "ours.safetensors")
    encoder = Encoder(config.nesting.patch, config.architecture)
    decoder = Decoder(config.nesting.grid, config.nesting.patch, config.architecture)
    codes = {n: t for n, t in load_file(folder / "weights.safetensors").items() if n.endswith("pos_embed")}
    load_released(as_released(codes | without_heads(theirs)), encoder, decoder)
    expected = {f"encoder.{n}": t for n, t in encoder.named_parameters()}
    expected |= {f"decoder.{n}": t for n, t in decoder.named_parameters()}
    expected |= {n: t for n, t in theirs.items() if n.startswith(HEADS)}
    assert expected.keys() == ours.keys()
    return max(
        float((ours[n] - t.detach()).abs().max() / t.detach().abs().max().clamp(min=1e-30))
        for n, t in expected.items()
    )


def shares(config: PretrainConfig, seconds: float) -> dict[str, float]:
    """How near our side comes to what the machine's matrix products allow."""
    flops, rate = flops_of_region(config), matmul_rate()
    return {
        "gflop": flops / 1e9,
        "gflop_per_second": flops / 1e9 / seconds,
        "matmul_gflop_per_second": rate / 1e9,
        "share_of_floor": flops / rate / seconds,
    }


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    reference, ours = result["reference"], result["ours"]
    lines = [
        f"one region, {result['children_per_level']} children a level, {torch.get_num_threads()} threads",
        f"{'':14}{'reference':>12}{'ours':>12}{'ratio':>9}",
        f"{'seconds':14}{reference['seconds']:12.1f}{ours['seconds']:12.1f}{result['speedup']:9.1f}",
        f"{'peak, GB':14}{reference['peak_gb']:12.2f}{ours['peak_gb']:12.2f}{result['memory_ratio']:9.1f}",
    ]
    if "compiled" in result:
        compiled = result["compiled"]
        lines.append(f"with compiled blocks: {compiled['seconds']:.1f} s, {compiled['peak_gb']:.2f} GB")
    for name, value in reference["losses"].items():
        lines.append(f"{name:14}{value:12.5f}{ours['losses'][name]:12.5f}")
    lines += [
        f"gradients differ by at most {result['largest_relative_difference']:.1e} of their largest value",
        f"{result['gflop']:,.0f} GFLOP at {result['gflop_per_second']:.0f} GFLOP/s; "
        f"large matrix products reach {result['matmul_gflop_per_second']:.0f}",
        f"the floor is {100 * result['share_of_floor']:.0f} % of our time; it goes to "
        + ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in ours["where"].items()),
    ]
    return "\n".join([*lines, *([result["note"]] if "note" in result else [])])


if __name__ == "__main__":
    main()
