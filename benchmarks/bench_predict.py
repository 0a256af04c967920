"""Predicting a scan: time against MONAI's sliding window on the same network, and the memory of a large one.

.venv/bin/python benchmarks/bench_predict.py                        a table
.venv/bin/python benchmarks/bench_predict.py --json                 one JSON object on the last line
.venv/bin/python benchmarks/bench_predict.py --only speed tiny-13   one part of it

Speed: the network of a preset with random weights on a volume of noise (so that no window is the same
everywhere), windows of the preset's crop, overlap 0.5, Gaussian weights. Theirs is `sliding_window_inference`
with 1 and with 4 windows at once, and an argmax; ours what `mim3d predict` does after reading. Both take the
same network, have windows at the same places, and the label maps are compared. The floor is the network alone
on as many windows, the way each side calls it. All sides take turns.
Where other programs run, least and processor seconds of one thread (`--threads 1`) say more than medians.

Memory: `mim3d predict` on a NIfTI of 512 x 512 x 600 voxels at its own spacing, 104 structures, the preset
`tiny`, from reading to the written label map, in a process of its own. All logits would take 66 GB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import matmul_rate, peak_gb
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from turns import in_turns

from mim3d.config import FinetuneConfig
from mim3d.config_file import write_config
from mim3d.data.volume import Volume, write_nifti
from mim3d.downstream.segmenter import Segmenter
from mim3d.geometry import Triple
from mim3d.inference.crops import infer
from mim3d.inference.segment import Model, Preprocessing, Sweep, segment
from mim3d.inference.window import Windows
from mim3d.presets import finetune_preset
from mim3d.recipes.predict import predict
from mim3d.train.allocator import keep_freed_memory
from mim3d.train.checkpoint import save_weights

SHAPE: Triple = (512, 512, 600)
OVERLAP = 0.0
"""Of the large scan's windows: as many planes are held at any overlap, and without there are 640 windows."""
SIDES = (1, 4)
"""Windows at once, theirs."""


@dataclass(frozen=True, slots=True)
class Task:
    """A network and a volume to predict."""

    preset: str
    structures: int
    shape: Triple


TASKS = {
    "tiny-13": Task("tiny", 13, (128, 96, 96)),
    "tiny-104": Task("tiny", 104, (128, 96, 96)),
    "base-13": Task("base", 13, (192, 96, 96)),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", nargs="+", default=["memory", "speed"], metavar="PART")
    parser.add_argument("--threads", type=int, help="of the speed's sides; default: all cores")
    parser.add_argument("--rounds", type=int, default=3, help="of what is measured in turns")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        memory_alone(arguments.memory_of)
        return
    result: dict[str, Any] = {}
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if "speed" in arguments.only:
        named = [name for name in TASKS if name in arguments.only] or list(TASKS)
        result = {name: speed(TASKS[name], arguments.rounds) for name in named}
    if "memory" in arguments.only:
        result["memory"] = memory()
    print(json.dumps(result) if arguments.json else table(result))


def network_of(task: Task) -> tuple[Segmenter, FinetuneConfig]:
    """The preset's network with random weights, of which every output wins somewhere."""
    names = tuple(f"structure{number}" for number in range(1, 1 + task.structures))
    config = replace(finetune_preset(task.preset), structures=names)
    torch.manual_seed(0)
    network = Segmenter(config).eval()
    nn.init.zeros_(network.head.bias)
    return network, config


def speed(task: Task, rounds: int) -> dict[str, Any]:
    """Seconds of both sides and of their floors, in turns."""
    keep_freed_memory()
    network, config = network_of(task)
    hu = np.random.default_rng(0).integers(-1000, 1000, task.shape).astype(np.int16)
    volume = Volume(hu, np.eye(4))
    prepared = Preprocessing(modality="CT", window=config.window, spacing=None)
    model = Model(networks=(network,), preprocessing=prepared, crop=config.crop)
    dense = torch.from_numpy((hu.astype(np.float32) + 1000) / 2000)[None, None]
    found: dict[str, Any] = {}

    def ours() -> None:
        found["ours"] = segment(model, volume, Sweep(overlap=0.5))

    def theirs(at_once: int) -> Callable[[], None]:
        def step() -> None:
            found["theirs"] = monai_way(network, dense, config.crop, at_once)

        return step

    windows = Windows(shape=task.shape, crop=config.crop)
    count = int(np.prod([len(windows.starts(axis)) for axis in range(3)]))
    crop = torch.rand(1, *config.crop)
    steps = {"ours": ours, "network by thread": floor(network, crop, count)}
    for at_once in SIDES:
        steps[f"theirs, {at_once} at once"] = theirs(at_once)
        steps[f"network, {at_once} at once"] = shared_floor(network, crop, count, at_once)
    spent: dict[str, list[float]] = {name: [] for name in steps}
    times = in_turns({name: counted(step, spent[name]) for name, step in steps.items()}, rounds)
    seconds = {name: one.median for name, one in times.items()}
    best = min(seconds[f"theirs, {at_once} at once"] for at_once in SIDES)
    return {
        "speedup": best / seconds["ours"],
        "share_of_floor": seconds["network by thread"] / seconds["ours"],
        "seconds": seconds,
        "least": {name: one.least for name, one in times.items()},
        "processor_seconds": {name: min(values) for name, values in spent.items()},
        "windows": count,
        "voxels_that_differ": float((found["ours"] != found["theirs"]).mean()),
        "threads": torch.get_num_threads(),
        "matmul_gflop_per_second": matmul_rate() / 1e9,
    }


def counted(step: Callable[[], None], spent: list[float]) -> Callable[[], None]:
    """The step, noting the seconds of processor time that it takes: other programs add little to them."""

    def noting() -> None:
        begin = time.process_time()
        step()
        spent.append(time.process_time() - begin)

    return noting


def monai_way(network: nn.Module, dense: Tensor, crop: Triple, at_once: int) -> np.ndarray[Any, Any]:
    """The label map (X, Y, Z) of a volume (1, 1, X, Y, Z)."""
    with torch.inference_mode():
        logits = sliding_window_inference(
            dense, crop, at_once, network, overlap=0.5, mode="gaussian", padding_mode="constant"
        )
        assert isinstance(logits, Tensor)
        return logits.argmax(dim=1)[0].numpy().astype(np.uint8)


def floor(network: nn.Module, crop: Tensor, count: int) -> Callable[[], None]:
    """The network alone on so many windows, one a thread."""
    through = infer(network, 1, "cpu")

    def step() -> None:
        for begin in range(0, count, through.at_once):
            through([crop] * min(through.at_once, count - begin))

    return step


def shared_floor(network: nn.Module, crop: Tensor, count: int, at_once: int) -> Callable[[], None]:
    """The network alone on so many windows, `at_once` of them, all threads sharing each operation."""

    def step() -> None:
        with torch.inference_mode():
            for begin in range(0, count, at_once):
                network(crop.expand(min(at_once, count - begin), *crop.shape))

    return step


def memory() -> dict[str, float]:
    """Peak memory, GB, and time of predicting the large scan, by a process that does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        network, config = network_of(Task("tiny", 104, SHAPE))
        (made / "run").mkdir()
        write_config(config, made / "run" / "config.json")
        save_weights(network, made / "run" / "weights.safetensors")
        said = {"modality": "CT", "window": {"low": -1000, "high": 1000}, "spacing": None}
        (made / "run" / "preprocessing.json").write_text(json.dumps(said))
        hu = np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)
        write_nifti(made / "scan.nii", hu, np.diag([0.7, 0.7, 1.0, 1.0]))
        del hu
        done = subprocess.run(
            [sys.executable, __file__, "--memory-of", folder], check=True, stdout=subprocess.PIPE, text=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def memory_alone(folder: Path) -> None:
    """What `memory` runs: prints its own peak."""
    begin = time.perf_counter()
    predict(folder / "run", folder / "scan.nii", folder / "labels.nii.gz", overlap=OVERLAP)
    seconds = time.perf_counter() - begin
    voxels = SHAPE[0] * SHAPE[1] * SHAPE[2]
    print(json.dumps({"peak_gb": peak_gb(), "seconds": seconds, "all_logits_gb": 4 * 105 * voxels / 1e9}))


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = []
    for name, values in result.items():
        lines.append(name)
        for key, value in values.items():
            shown = (
                ", ".join(f"{which} {each:.3g}" for which, each in value.items())
                if isinstance(value, dict)
                else f"{value:.4g}"
            )
            lines.append(f"  {key:24}{shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
