"""`mim3d score`: finished runs on a split of a store, meant for the one that chose nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.config.structures import names
from mim3d.config_file import RunConfig, read_run_config
from mim3d.data.catalog import Case, column_of
from mim3d.data.place import Place, name_at
from mim3d.data.sources import SPLITS, Split
from mim3d.data.store import Store, open_store
from mim3d.downstream.backbone import compare_preprocessing
from mim3d.downstream.classifier import load_classifier
from mim3d.downstream.expectation import told
from mim3d.downstream.segmenter import load_segmenter
from mim3d.errors import CheckpointError, ConfigError, StoreError
from mim3d.inference.classify import classify_cases
from mim3d.inference.members import runs_of
from mim3d.inference.validate import Segmented, evaluate_all, segment_together
from mim3d.metrics.classification import TITLES, evaluate_classes, of_patients
from mim3d.metrics.rules import Rules, read_rules
from mim3d.recipes.crossval_scores import Files, pool_classes, pool_structures
from mim3d.recipes.evaluate import table
from mim3d.recipes.looks import note_look, refuse_seen, warn_of_other_keys
from mim3d.recipes.pictures import keeping_worst, write_pictures
from mim3d.recipes.progress import shown_progress
from mim3d.recipes.run import preprocessing, require_channels
from mim3d.reporting.text_table import TextTable, counted, number_text, print_table
from mim3d.run_files import PREPROCESSING
from mim3d.sampling.annotated import annotated_cases
from mim3d.sampling.classified import classified_cases, truth_of
from mim3d.train.crossval_folder import finished_members, is_crossval
from mim3d.train.run_folder import is_unfinished, read_json, write_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """On what runs are scored, and how."""

    store: Store
    split: Split
    rules: Rules
    device: str


def score(  # noqa: PLR0913  one argument a flag of the command
    run: Path,
    store: Place | str,
    /,
    *,
    split: Split = "test",
    each: bool = False,
    tolerance: str | float = "2",
    lesions: str | None = None,
    smallest_lesion: float = 0.0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Score a fine-tuned run on a split of a store, and note with the run that it looked at it.

    Args:
        run: A run folder of fine-tuning; or a folder of `crossval`, whose runs' probabilities are averaged.
        store: A prepared store with the same labels or targets.
        split: Of the store; `test` is what no run trains on or chooses by.
        each: Of a folder of `crossval`, score each run by itself.
        tolerance: Of NSD, mm: `2` for all structures, `liver=3,tumour=2`, or both, `2,liver=3`; raised to the
            largest spacing of the working grid where that is larger.
        lesions: Structures whose lesions are counted one by one, joined by commas.
        smallest_lesion: Volume of the smallest lesion that counts, mm^3.
        device: Where the networks run, e.g. `cpu` or `cuda:0`.

    Returns:
        What RUN/evaluation-SPLIT.json holds; where each run is scored by itself, evaluation-SPLIT-each.json.

    Raises:
        MimError: If the run is unfinished, the store's scans or labels are of another kind, or its cases
            taught the run.
    """
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if each and not is_crossval(run):
        raise ConfigError(f"{run}: is one run; `each` is for a folder of several, as `crossval` makes it")
    rules = read_rules(tolerance, lesions, smallest_lesion)
    asked = Asked(store=open_store(store), split=split, rules=rules, device=device)
    if not each:
        return _score(run, asked)
    members = finished_members(run)
    for one in members:
        _score(one.run, asked)
    _note(run, asked, len(members))
    files = Files(
        source=f"evaluation-{split}.json",
        pooled=f"evaluation-{split}-each.json",
        summary=f"summary-{split}.json",
    )
    segmentation = isinstance(read_run_config(members[0].run), FinetuneConfig)
    (pool_structures if segmentation else pool_classes)(run, members, files)
    return read_json(run / files.pooled)


def _score(run: Path, asked: Asked) -> dict[str, Any]:
    """Score one run, or several by their mean probability."""
    runs = runs_of(run)
    config = read_run_config(runs[0])
    if not isinstance(config, PretrainConfig) and is_unfinished(run):
        raise CheckpointError(f"{run}: not finished; go on with the same command and --resume, then score it")
    if isinstance(config, FinetuneConfig):
        content, shown = _segmentation(run, runs, config, asked)
    elif isinstance(config, ClassifyConfig):
        content, shown = _classification(runs, config, asked)
    else:
        raise CheckpointError(f"{run}: a pre-training run has nothing to score; fine-tune it first")
    content |= _note(run, asked, len(runs))
    write_json(run / f"evaluation-{asked.split}.json", content)
    print_table(shown)
    return content


def _segmentation(
    run: Path, runs: Sequence[Path], config: FinetuneConfig, asked: Asked
) -> tuple[dict[str, Any], TextTable]:
    asked.rules.require_known(names(config.structures))
    cases = annotated_cases(asked.store, config, asked.split)
    _require_usable(runs, config, cases, asked)
    networks = [load_segmenter(one, asked.device)[0] for one in runs]
    worst: list[Segmented] = []

    def segmented() -> Iterator[Segmented]:
        with shown_progress("score", "case") as on_case:
            for number, case in enumerate(cases, start=1):
                yield segment_together(networks, asked.store, case, config, asked.device)
                on_case(number, len(cases))

    kept = keeping_worst(segmented(), config, worst)
    evaluation = evaluate_all(kept, config, asked.split, asked.rules)
    (run / "pictures").mkdir(exist_ok=True)
    write_pictures(run / "pictures" / f"segmentation-{asked.split}.safetensors", asked.store, worst, config)
    return evaluation.to_json(), table(evaluation)


def _classification(
    runs: Sequence[Path], config: ClassifyConfig, asked: Asked
) -> tuple[dict[str, Any], TextTable]:
    cases = classified_cases(asked.store, config, asked.split)
    _require_usable(runs, config, cases, asked)
    found = []
    for one in runs:
        network, _ = load_classifier(one, asked.device)
        found.append(classify_cases(network, asked.store, cases, config, device=asked.device))
    evaluation = evaluate_classes(
        np.mean(found, axis=0),
        truth_of(cases, config),
        config.classes,
        column_of(cases, "case"),
        multi_label=config.multi_label,
        target=config.target,
        split=asked.split,
    )
    content = of_patients(evaluation, column_of(cases, "patient")).to_json()
    shown = TextTable(
        title=f"{config.target}, {counted(len(cases), 'case')}",
        headings=("measure", "value"),
        rows=tuple((title, number_text(content[name])) for name, title in TITLES.items()),
        notes=() if content["auroc"] is not None else ("AUROC needs cases of two classes.",),
    )
    return content, shown


def _require_usable(runs: Sequence[Path], config: RunConfig, cases: Sequence[Case], asked: Asked) -> None:
    """Refuse scans of another kind than the runs', and patients that they have seen.

    Raises:
        MimError: If there are such.
    """
    require_channels(config, asked.store, cases)
    ours = preprocessing(config, asked.store)
    warn_of_other_keys(runs[0], asked.store)
    for one in runs:
        compare_preprocessing(one, ours)
        theirs = read_json(one / PREPROCESSING).get("spacing")
        if theirs != ours["spacing"]:
            raise StoreError(
                f"{one}: learnt from spacing {told('spacing', theirs)}, {name_at(asked.store.path)} is at "
                f"{told('spacing', ours['spacing'])}; prepare a store at the run's spacing"
            )
        refuse_seen(one, asked.split, cases)


def _note(run: Path, asked: Asked, networks: int) -> dict[str, Any]:
    """Note the look; what the scores say of it."""
    looks = note_look(run, asked.split, asked.store)
    name = name_at(asked.store.path)
    return {"store": name, "catalog": asked.store.hash, "networks": networks, "looks": looks}
