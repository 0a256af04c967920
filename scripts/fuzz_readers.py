"""Mutate small scans of every format, thousands of times, and see that reading them ends well.

    python scripts/fuzz_readers.py [--count 4000] [--seed 0] [--workers 2] [--keep FOLDER]

Ends well: a volume, or a DataError of one line, within 20 s and 1 GB. What does not is printed, kept in
FOLDER, and makes the exit status 1. Each mutant is a function of the seed and its number.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fuzz_seeds import write_seeds

from mim3d.data.case_channels import read_source
from mim3d.data.datasets import discover
from mim3d.data.dicom_labels import is_drawn, read_drawn
from mim3d.data.labels import LabelSet
from mim3d.data.limits import GB, Limits
from mim3d.data.pool import Lost, supervised
from mim3d.data.prepare_within import begin_worker
from mim3d.data.sources import Source
from mim3d.data.volume import Volume, read_volume
from mim3d.errors import DataError

LIMITS = Limits(20.0, GB)
HEADER = 400
"""Bytes at the beginning of a file that half of the mutations fall into."""
ENDINGS = ("volume", "refused")
LIVER = LabelSet("organs", {"Liver": 1})
TOKENS = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\x7f",
    b"\0\x80",
    b"-1 ",
    b"999999999999 ",
    b"nan ",
    b"1e308",
)


@dataclass(frozen=True)
class Mutant:
    """One broken scan to make and read."""

    seed: int
    number: int
    seeds: Path
    keep: Path


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Some of: bytes flipped, a part cut off, left out, doubled or overwritten by something telling."""
    broken = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        size = max(len(broken), 1)
        place = int(rng.integers(min(size, HEADER) if rng.random() < 0.7 else size))
        span = int(rng.integers(1, 9))
        kind = rng.integers(6)
        if kind == 0:
            broken[place : place + 1] = bytes([int(rng.integers(256))])
        elif kind == 1:
            broken[place : place + span] = rng.bytes(span)
        elif kind == 2:
            token = TOKENS[int(rng.integers(len(TOKENS)))]
            broken[place : place + len(token)] = token
        elif kind == 3:
            del broken[place : place + span]
        elif kind == 4:
            broken[place:place] = broken[place : place + span] * int(rng.integers(1, 50))
        elif rng.random() < 0.3:
            del broken[place:]
    return bytes(broken)


def make(mutant: Mutant, folder: Path) -> None:
    """Write a mutant."""
    rng = np.random.default_rng([mutant.seed, mutant.number])
    kinds = sorted(mutant.seeds.iterdir())
    shutil.copytree(kinds[mutant.number % len(kinds)], folder)
    files = sorted(filter(Path.is_file, folder.rglob("*")))
    victim = files[int(rng.integers(len(files)))]
    content = victim.read_bytes()
    inside = victim.suffix == ".gz" and rng.random() < 0.5
    broken = mutate(gzip.decompress(content) if inside else content, rng)
    victim.write_bytes(gzip.compress(broken) if inside else broken)


def volumes_of(source: Source) -> tuple[Volume, ...]:
    """What a preparation would read, and what it would leave out: reading that is refused, or not."""
    return read_source(source) if not source.left_out else (read_volume(source.image),)


def read(mutant: Mutant) -> str:
    """How reading a mutant ended: `volume`, `refused`, or what was wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scan"
        make(mutant, folder)
        try:
            volumes = [volume for source in discover(folder).sources for volume in volumes_of(source)]
            for path in folder.glob("*.dcm"):
                if is_drawn(path):
                    read_drawn(path, volumes[0], LIVER)
        except DataError as error:
            text = str(error)
            return "refused" if "\n" not in text and name not in text.partition(": ")[2] else f"said {text}"
        except MemoryError:
            raise
        except Exception as error:
            shutil.copytree(folder, mutant.keep / str(mutant.number), dirs_exist_ok=True)
            trace = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__} in {Path(trace.filename).name}:{trace.lineno}: {error}"
        return "volume" if all(one.array.ndim == 3 and one.array.size for one in volumes) else "odd volume"


def main() -> int:
    """Read many mutants; 1 if one ended badly."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of scans.")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    given = parser.parse_args()
    started, found = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        write_seeds(Path(name) / "seeds")
        tasks = [Mutant(given.seed, n, Path(name) / "seeds", given.keep) for n in range(given.count)]
        for outcome in supervised(read, tasks, given.workers, LIMITS, begin_worker):
            if isinstance(outcome, Lost):
                make(outcome.task, given.keep / str(outcome.task.number))
            text = f"{outcome.task.number}: {outcome.reason}" if isinstance(outcome, Lost) else outcome
            found[text] += 1
            if text not in ENDINGS and found[text] == 1:
                print(text, flush=True)
    bad = sum(number for text, number in found.items() if text not in ENDINGS)
    seconds = time.monotonic() - started
    counts = f"{found['volume']} volumes, {found['refused']} refused, {bad} bad"
    print(f"{given.count} mutants in {seconds:.0f} s: {counts}")
    return int(bad > 0)


if __name__ == "__main__":
    import fuzz_readers  # by this name workers find it

    sys.exit(fuzz_readers.main())
