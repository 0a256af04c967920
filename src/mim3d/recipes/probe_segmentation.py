"""`mim3d probe segmentation`: what a linear layer on frozen features can segment, encoder by encoder."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mim3d.config import Augmentation, FinetuneConfig
from mim3d.config.structures import listed, names
from mim3d.data.catalog import Case, chosen
from mim3d.data.place import Place
from mim3d.data.sources import Split
from mim3d.data.store import Store, open_store
from mim3d.downstream.frozen import Frozen
from mim3d.downstream.linear_probe import LinearProbe
from mim3d.errors import ConfigError, StoreError
from mim3d.geometry import Triple
from mim3d.inference.probes import L2, Amount, learn_probe
from mim3d.inference.validate import evaluate_all, segment_case
from mim3d.metrics.evaluation import Evaluation
from mim3d.recipes.probe import encoders, note_test, require_asked, row_of, table_row, write_result
from mim3d.recipes.progress import Progress, shown_progress
from mim3d.recipes.run import require_channels
from mim3d.reporting.text_table import TextTable, print_table
from mim3d.sampling.annotated import annotated_cases, annotated_table
from mim3d.settings import crop_of, sized

STILL = Augmentation(flip=0, contrast=0, shift=0, noise=0)


def probe_segmentation(  # noqa: PLR0913  one argument a flag of the command
    store: Place | str,
    run: str | Path,
    out: Path,
    /,
    *more: str | Path,
    structures: str | tuple[str, ...],
    labels: str = "labels",
    crop: Triple | None = None,
    crops: int = 48,
    voxels: int = 4096,
    overlap: float = 0.25,
    split: Split = "val",
    every_checkpoint: bool = False,
    preset: str = "tiny",
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Learn a linear layer on the maps of frozen encoders, and score what it segments.

    Args:
        store: A prepared store with labels; learns from its `train` cases.
        run: Run folder, a checkpoint within one (RUN/checkpoints/step-N), a file in the layout of MONAI's
            SwinUNETR weights (model_swinvit.pt), `org/name` of a hub, or `none` for random weights.
        out: JSON to write: scores of every encoder, case by case.
        more: Further encoders, to compare.
        structures: Names of the structures to segment, as they are or joined by commas.
        labels: Label set of the store.
        crop: What the encoder sees at once, voxels of the working grid; by default what it saw before.
        crops: Training crops, of which features are taken.
        voxels: Of each crop, at most.
        overlap: Share of a window shared with its neighbour when cases are segmented, 0 <= overlap < 1.
        split: Whose cases are scored: `val`, or `test`.
        every_checkpoint: Take a run's kept checkpoints too, for a table by step.
        preset: Sizes of random weights where no run is named beside them.
        seed: Of crops, voxels and random weights.
        device: Where encoders run, e.g. `cpu` or `cuda:0`.

    Returns:
        What is written.

    Raises:
        MimError: If the store, an encoder, the output or a setting cannot be used.
    """
    require_asked(out, split)
    if crops < 1 or voxels < 1:
        raise ConfigError(f"crops and voxels must be at least 1, got {crops} and {voxels}")
    opened = open_store(store)
    named = listed((structures,) if isinstance(structures, str) else structures)
    asked = FinetuneConfig(labels=labels, structures=named, overlap=overlap, seed=seed, augmentation=STILL)
    rows, shown = list[dict[str, Any]](), list[tuple[str, ...]]()
    places = [str(place) for place in (run, *more)]
    for frozen in encoders(places, opened, every_checkpoint=every_checkpoint, preset=preset, seed=seed):
        began = time.monotonic()
        config = _config(asked, frozen, crop)
        train, scored = _fully_annotated(opened, config, "train"), annotated_cases(opened, config, split)
        require_channels(config, opened, (*train, *scored))
        note_test(frozen, opened, split, scored)
        with shown_progress("probe", f"{frozen.name}: crop") as on_crop:
            probe = learn_probe(
                frozen.encoder, opened, train, config, Amount(crops, voxels), device=device, on_crop=on_crop
            )
        with shown_progress("probe", f"{frozen.name}: case") as on_case:
            evaluation = _scored(probe, opened, scored, config, device, split, on_case)
        seconds = time.monotonic() - began
        measured = {"dice": evaluation.dice, **evaluation.to_json()}
        rows.append(row_of(frozen, config.crop, seconds, measured))
        scores = (*(row.dice for row in evaluation.structures), evaluation.dice)
        shown.append(table_row(frozen, scores, seconds))
    headings = ("encoder", "step", *names(named), "mean", "s")
    print_table(TextTable(title=f"Linear probe, Dice on {split}", headings=headings, rows=tuple(shown)))
    settings = {
        "task": "probe segmentation", "split": split, "labels": labels, "structures": list(named),
        "crops": crops, "voxels": voxels, "overlap": overlap, "seed": seed, "l2": L2,
    }  # fmt: skip
    write_result(out, opened, settings, rows)
    return {**settings, "encoders": rows}


def _config(asked: FinetuneConfig, frozen: Frozen, crop: Triple | None) -> FinetuneConfig:
    """What is asked, of crops as this encoder takes them."""
    theirs = frozen.config
    config = replace(sized(asked, theirs), crop=crop_of(theirs) if crop is None else crop)
    if not isinstance(theirs, FinetuneConfig):
        return config
    return replace(config, network=theirs.network, feature_size=theirs.feature_size)


def _fully_annotated(store: Store, config: FinetuneConfig, split: Split) -> Sequence[Case]:
    """Cases in which all structures were annotated: what is not background is known everywhere."""
    cases = annotated_cases(store, config, split)
    whole = np.flatnonzero(annotated_table(store, cases, config).all(axis=1)).tolist()
    if not whole:
        raise StoreError(
            f"{store.path}: no case of the split `{split}` has all of {', '.join(config.structures)} "
            "annotated, which a probe learns from; ask for fewer structures"
        )
    return chosen(cases, whole)


def _scored(
    probe: LinearProbe,
    store: Store,
    cases: Sequence[Case],
    config: FinetuneConfig,
    device: str,
    split: Split,
    on_case: Progress,
) -> Evaluation:
    segmented = []
    for number, case in enumerate(cases, start=1):
        segmented.append(segment_case(probe, store, case, config, device))
        on_case(number, len(cases))
    return evaluate_all(segmented, config, split)
