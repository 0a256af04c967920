"""`mim3d probe classification`: what frozen features of whole volumes tell about classes."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mim3d.config import ClassifyConfig
from mim3d.config.classify import Intensity
from mim3d.config.structures import listed
from mim3d.data.catalog import Case, column_of
from mim3d.data.place import Place
from mim3d.data.sources import Split
from mim3d.data.store import open_store
from mim3d.downstream.frozen import Frozen
from mim3d.downstream.frozen_classes import Told, logistic_probe, neighbour_probe
from mim3d.geometry import Triple, Vector
from mim3d.inference.probes import whole_features
from mim3d.metrics.classification import ClassEvaluation, evaluate_classes
from mim3d.presets import classify_preset
from mim3d.recipes.probe import encoders, note_test, require_asked, row_of, table_row, write_result
from mim3d.recipes.progress import shown_progress
from mim3d.recipes.run import require_channels
from mim3d.reporting.text_table import TextTable, print_table
from mim3d.sampling.classified import classified_cases, truth_of, with_classes
from mim3d.settings import sized

HEADINGS = ("encoder", "step", "logistic AUROC", "balanced accuracy", "kNN AUROC", "balanced accuracy", "s")


def probe_classification(  # noqa: PLR0913  one argument a flag of the command
    store: Place | str,
    run: str | Path,
    out: Path,
    /,
    *more: str | Path,
    target: str,
    classes: str | tuple[str, ...] = "",
    multi_label: bool = False,
    crop: Triple | None = None,
    extent: Vector | None = None,
    intensity: Intensity = "window",
    split: Split = "val",
    every_checkpoint: bool = False,
    preset: str = "tiny",
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Classify whole volumes by frozen features: logistic regression, and nearest neighbours by cosine.

    Args:
        store: A prepared store with targets; learns from its `train` cases.
        run: Run folder, a checkpoint within one (RUN/checkpoints/step-N), a file in the layout of MONAI's
            SwinUNETR weights (model_swinvit.pt), `org/name` of a hub, or `none` for random weights.
        out: JSON to write: scores of every encoder, and of each case the probabilities.
        more: Further encoders, to compare.
        target: What is classified: a target of the store.
        classes: Classes to tell apart, as they are or joined by commas; by default all that occur.
        multi_label: Whether a case may have any number of the classes.
        crop: What the encoder sees of a volume, voxels; by default as in fine-tuning with its preset.
        extent: Sides of the box about the body's centre that is looked at, mm; by default the whole volume.
        intensity: `window`, as the encoder learnt, or `min_max`.
        split: Whose cases are scored: `val`, or `test`.
        every_checkpoint: Take a run's kept checkpoints too, for a table by step.
        preset: Sizes of random weights where no run is named beside them.
        seed: Of random weights.
        device: Where encoders run, e.g. `cpu` or `cuda:0`.

    Returns:
        What is written.

    Raises:
        MimError: If the store, an encoder, the output or a setting cannot be used.
    """
    require_asked(out, split)
    opened = open_store(store)
    named = listed((classes,) if isinstance(classes, str) else classes)
    asked = with_classes(
        opened,
        ClassifyConfig(
            target=target, classes=named, multi_label=multi_label, extent=extent, intensity=intensity
        ),
    )
    train, scored = classified_cases(opened, asked, "train"), classified_cases(opened, asked, split)
    rows, shown = list[dict[str, Any]](), list[tuple[str, ...]]()
    places = [str(place) for place in (run, *more)]
    for frozen in encoders(places, opened, every_checkpoint=every_checkpoint, preset=preset, seed=seed):
        began = time.monotonic()
        config = _config(asked, frozen, crop)
        require_channels(config, opened, (*train, *scored))
        note_test(frozen, opened, split, scored)
        with shown_progress("probe", f"{frozen.name}: case") as on_case:
            features = whole_features(
                frozen.encoder, opened, [*train, *scored], config, device=device, on_case=on_case
            )
        told = _told(features, train, config)
        found = {name: _evaluated(one, scored, config, split) for name, one in told.items()}
        seconds = time.monotonic() - began
        rows.append(row_of(frozen, config.crop, seconds, _measured(told, found)))
        scores = (value for one in found.values() for value in (one.auroc, one.balanced_accuracy))
        shown.append(table_row(frozen, scores, seconds))
    title = f"Probes of {target} on {split}: {len(train)} cases to learn from, {len(scored)} scored"
    print_table(TextTable(title=title, headings=HEADINGS, rows=tuple(shown)))
    settings = {
        "task": "probe classification", "split": split, "target": target, "classes": list(asked.classes),
        "multi_label": multi_label, "extent": extent, "intensity": intensity, "seed": seed,
        "training_cases": len(train),
    }  # fmt: skip
    write_result(out, opened, settings, rows)
    return {**settings, "encoders": rows}


def _config(asked: ClassifyConfig, frozen: Frozen, crop: Triple | None) -> ClassifyConfig:
    """What is asked, of volumes as this encoder takes them."""
    theirs = frozen.config
    usual = theirs.crop if isinstance(theirs, ClassifyConfig) else classify_preset(theirs.preset).crop
    return replace(sized(asked, theirs), crop=usual if crop is None else crop)


def _told(features: Tensor, train: Sequence[Case], config: ClassifyConfig) -> dict[str, Told]:
    """What both probes say of the cases after those to learn from."""
    truth = torch.from_numpy(truth_of(train, config)).double()
    patients = column_of(train, "patient")
    known, others = features[: len(train)], features[len(train) :]
    return {
        "logistic": logistic_probe(known, truth, patients, others, multi_label=config.multi_label),
        "knn": neighbour_probe(known, truth, patients, others),
    }


def _evaluated(told: Told, cases: Sequence[Case], config: ClassifyConfig, split: Split) -> ClassEvaluation:
    return evaluate_classes(
        told.probabilities.numpy(),
        truth_of(cases, config),
        config.classes,
        column_of(cases, "case"),
        multi_label=config.multi_label,
        target=config.target,
        split=split,
    )


def _measured(told: dict[str, Told], found: dict[str, ClassEvaluation]) -> dict[str, Any]:
    """What is written of each way to classify: what it chose on the training cases, and scores."""
    chosen = {"logistic": "l2", "knn": "neighbours"}
    return {
        name: {chosen[name]: told[name].chosen, **evaluation.to_json()} for name, evaluation in found.items()
    }
