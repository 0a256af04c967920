"""A small study on phantoms: does pre-training help, and does MiM help more than MAE?

.venv/bin/python scripts/study_phantoms.py FOLDER

Scratch, MAE (one level), MiM without and MiM with alignment: the same encoder, crops and steps of
pre-training on patients without labels, three seeds each; then fine-tuning on 4 labelled patients, scored on
patients that chose nothing after 50, 100, 200 and 400 steps, and probes of the frozen encoders. Writes
FOLDER/study.md. What is there already is kept; what was stopped goes on. Two jobs run side by side, each on
one thread.
"""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from study_tables import (
    ARMS,
    BUDGETS,
    MAE,
    MIM,
    PRETRAINED,
    PROBES,
    SEEDS,
    STRUCTURES,
    WITHOUT,
    dice_tables,
    place,
    probe_tables,
    scored,
)

import mim3d
from mim3d.config import (
    Alignment,
    Architecture,
    FinetuneConfig,
    Level,
    Nesting,
    Optimisation,
    PretrainConfig,
    Runtime,
)
from mim3d.recipes.job_process import Job
from mim3d.recipes.side_by_side import run_side_by_side
from mim3d.run_files import BEST

UNLABELLED, LABELLED, FEW = 40, 40, 4
"""Patients to pre-train on; patients with labels; of them for fine-tuning."""
PRETRAIN_STEPS, CROPS = 150, 14
"""Of each method; crops a step: two regions of MiM, or fourteen of MAE."""
SPACING = 4.5
"""Of patients that are cubes of 64 voxels, mm."""
CROP, PATCH, EXTENT = (32, 32, 32), (8, 8, 8), (64, 64, 64)
"""The nesting of the preset `tiny` at half its size: 64^3, 32^3 and 8^3 voxels, each seen as 32^3."""
NETWORK = Architecture(
    dims=(8, 16, 32, 60), depths=(2, 2, 2, 3), num_heads=2, decoder_dim=60, decoder_depth=2, decoder_heads=2
)
"""About two thirds of the channels of `tiny`."""
LEVELS = (
    Level(cell=(2, 2, 2), masked_ratio=0.5, children=2),
    Level(masked_ratio=0.6, children=2),
    Level(masked_ratio=0.5, children=0),
)


def main(folder: Path) -> None:
    """Run what is missing of the study, and write its page."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with step("patients"):
        cohort(folder / "unlabelled", UNLABELLED, seed=11, val_share=0.0, test_share=0.0)
        labelled_cohort(folder)
    with step("pre-training"):
        side_by_side(pretrained, folder, [(arm, seed) for seed in SEEDS for arm in PRETRAINED])
    with step("fine-tuning"):
        side_by_side(finetuned, folder, [(arm, seed) for seed in SEEDS for arm in ARMS])
    with step("probes"):
        side_by_side(probed, folder, [(kind, seed) for kind in PROBES for seed in SEEDS])
    minutes = (time.monotonic() - began) / 60
    page = "\n".join(
        [*dice_tables(folder), *probe_tables(folder), f"All of it took {minutes:.0f} minutes.\n"]
    )
    (folder / "study.md").write_text(page, encoding="utf-8")
    print(page)


def cohort(folder: Path, cases: int, *, seed: int, val_share: float, test_share: float) -> None:
    """A store of phantoms; no patient is in two cohorts."""
    if (folder / "done").exists():
        return
    mim3d.phantom(folder / "raw", cases=cases, seed=seed, shape=EXTENT, spacing=SPACING)
    mim3d.prepare(
        folder / "raw", folder / "store", spacing=(SPACING,), val_share=val_share, test_share=test_share
    )
    (folder / "done").touch()


def labelled_cohort(folder: Path) -> None:
    """The patients with labels: 22 to learn from, 2 to validate on, 16 that are scored."""
    cohort(folder / "labelled", LABELLED, seed=12, val_share=0.05, test_share=0.4)


def pretraining(arm: str) -> PretrainConfig:
    """Settings of a method: they differ in levels and alignment alone."""
    single = Nesting(extent=CROP, crop=CROP, patch=PATCH, levels=(Level(masked_ratio=0.6, children=0),))
    nested = Nesting(extent=EXTENT, crop=CROP, patch=PATCH, levels=LEVELS)
    regions = CROPS if arm == MAE else CROPS // sum(nested.num_crops(number) for number in range(len(LEVELS)))
    return PretrainConfig(
        preset="tiny",
        nesting=single if arm == MAE else nested,
        alignment=Alignment(weight=Alignment().weight if arm == MIM else 0.0),
        architecture=NETWORK,
        optimisation=Optimisation(steps=PRETRAIN_STEPS, batch_size=regions, lr=1e-3, warmup_steps=30),
        runtime=Runtime(checkpoint_every=50),
    )


def pretrained(folder: Path, arm: str, seed: int) -> None:
    """Pre-train one encoder."""
    store, run = folder / "unlabelled" / "store", place(folder, "pretrain", arm, seed)
    mim3d.pretrain(store, run, config=replace(pretraining(arm), seed=seed), resume=True)


def finetuning(seed: int) -> FinetuneConfig:
    """Settings of fine-tuning, the same for all: each seed draws its own few patients."""
    usual = FinetuneConfig()
    return replace(
        usual,
        preset="tiny",
        seed=seed,
        labels="labels",
        structures=STRUCTURES,
        crop=CROP,
        patch=PATCH,
        architecture=NETWORK,
        feature_size=8,
        selection=replace(usual.selection, cases=FEW, seed=seed),
        optimisation=replace(
            usual.optimisation, steps=BUDGETS[-1], lr=3e-3, warmup_steps=20, schedule="constant"
        ),
        overlap=0.0,
        validate_every=BUDGETS[-1],
        runtime=Runtime(checkpoint_every=50),
    )


def finetuned(folder: Path, arm: str, seed: int) -> None:
    """Fine-tune from one encoder, and score it."""
    run = place(folder, "finetune", arm, seed)
    learn_and_score(folder, run, encoder(folder, arm, seed), finetuning(seed), BUDGETS)


def encoder(folder: Path, arm: str, seed: int) -> Path | None:
    """What fine-tuning begins with; None: from scratch."""
    return None if arm == WITHOUT else place(folder, "pretrain", arm, seed)


def learn_and_score(
    folder: Path, run: Path, init: Path | None, config: FinetuneConfig, budgets: Sequence[int]
) -> None:
    """Fine-tune; score the weights on the test split at each number of steps."""
    store = folder / "labelled" / "store"
    for budget in budgets:
        scores = run / scored(budget)
        if scores.exists():
            continue
        (run / BEST).unlink(missing_ok=True)  # so that the weights are those after the last step, best or not
        mim3d.finetune_segmentation(store, run, init=init, config=config, steps=budget, resume=run.exists())
        mim3d.score(run, store)
        shutil.copyfile(run / "evaluation-test.json", run / f".{scores.name}")
        (run / f".{scores.name}").replace(scores)


def probed(folder: Path, kind: str, seed: int) -> None:
    """What frozen encoders of one seed know, and one of random weights."""
    out = folder / "probes" / f"{kind}-{seed}.json"
    if out.exists():
        return
    out.parent.mkdir(exist_ok=True)
    store = folder / "labelled" / "store"
    runs = [str(place(folder, "pretrain", arm, seed)) for arm in PRETRAINED]
    if kind == "segmentation":
        mim3d.probe_segmentation(
            store, "none", out, *runs, structures=STRUCTURES, crop=CROP, split="test", seed=seed
        )
    else:
        mim3d.probe_classification(
            store, "none", out, *runs, target="disease", crop=EXTENT, split="test", seed=seed
        )


def side_by_side(
    work: Callable[[Path, str, int], None], folder: Path, jobs: Sequence[tuple[str, int]]
) -> None:
    """Do all jobs, two at a time; what they say goes into a file each."""
    began = time.monotonic()
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    named = {f"{work.__name__}-{name.replace(' ', '-')}-{seed}": (name, seed) for name, seed in jobs}
    waiting = [
        Job(name=name, log=logs / f"{name}.log", work=partial(work, folder, *one))
        for name, one in named.items()
    ]
    for done, job in enumerate(run_side_by_side(waiting, 2), start=1):
        left = (time.monotonic() - began) / done * (len(jobs) - done) / 60
        tell(f"  {done}/{len(jobs)} {job.name}, about {left:.0f} min left")


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Say how long a part took."""
    began = time.monotonic()
    tell(f"{name} ...")
    yield
    tell(f"{name}: {(time.monotonic() - began) / 60:.1f} min")


def tell(line: str) -> None:
    """Progress goes to standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
