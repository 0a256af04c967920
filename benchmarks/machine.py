"""What the machine gives: memory, matrix products a second, where the time of a step goes."""

import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import profile

from mim3d.model.linear import linear_forward

KINDS = {
    "attention": ("attention",),
    "matrix products": ("mm", "linear_pointwise"),
    "convolution": ("convolution",),
    "GELU": ("gelu",),
    "normalisation": ("layer_norm",),
    "gathering and copying": ("index", "copy", "cat", "gather", "scatter", "fill", "zero"),
    "adding": ("add", "sum", "mul"),
}
"""Parts of the names of operations, the first that fits."""


def available_gb() -> float:
    """Memory that a new process could have, GB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024 / 1e9
    return 0.0


def peak_gb() -> float:
    """Most memory that this process has held, GB."""
    status = Path("/proc/self/status")
    if status.exists():  # not the parent's, as the kernel's account of a new process may be
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def end_me_first() -> None:
    """Ask Linux to end this process rather than others when memory runs out."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")


def matmul_rate(side: int = 2048) -> float:
    """Floating-point operations a second in large float32 matrix products, the best of either library."""
    a, b, best = torch.randn(side, side), torch.randn(side, side), float("inf")
    for multiply in (torch.mm, linear_forward) * 10:
        begin = time.perf_counter()
        multiply(a, b)
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best


def where_it_goes(step: Callable[[], object]) -> dict[str, float]:
    """Share of the time in each kind of operation, largest first, from one profiled step.

    GELU that is computed within a matrix product counts there. Times of threads add up; what functions of
    our own take themselves, beside the operations in them, is mostly waiting for threads and left out.
    """
    with profile(experimental_config=_ExperimentalConfig(profile_all_threads=True)) as profiler:
        step()
    spent: Counter[str] = Counter()
    for event in profiler.key_averages():
        if "Function" in event.key:
            continue
        name = event.key.removeprefix("aten::")
        spent[next((kind for kind, parts in KINDS.items() if any(p in name for p in parts)), "the rest")] += (
            event.self_cpu_time_total
        )
    return {kind: time / spent.total() for kind, time in spent.most_common()}
