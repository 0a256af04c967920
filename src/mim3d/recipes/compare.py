"""`mim3d compare`: runs that were scored on the same cases, pair by pair, and what so many cases can tell."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from mim3d.data.place import Place
from mim3d.errors import ConfigError, DataError
from mim3d.recipes.compare_classes import compare_classes
from mim3d.recipes.compare_structures import compare_structures
from mim3d.recipes.comparison import Asked, Outcome
from mim3d.recipes.evaluations import find_files
from mim3d.recipes.messages import say
from mim3d.reporting.class_sides import is_classification
from mim3d.reporting.template import write_whole
from mim3d.reporting.text_table import in_markdown, print_table
from mim3d.train.run_folder import write_json


def compare(  # noqa: PLR0913  one argument a flag of the command
    run: Path,
    /,
    *more: Positional[Path],
    file: str | None = None,
    measures: str | None = None,
    structures: str | None = None,
    shared: bool = False,
    by: str | None = None,
    store: Place | str | None = None,
    out: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare runs case by case: paired differences, intervals, tests, and on how many cases they rest.

    Args:
        run: The reference: a run folder, a folder of `crossval`, or a JSON of `evaluate`; runs that differ in
            their seed alone, joined by commas, are averaged case by case.
        more: What is compared with it, each likewise.
        file: Which scores of the folders, e.g. validation.json; by default the first that all have of
            evaluation-test.json, evaluation.json and validation.json.
        measures: Joined by commas: dice, nsd, hd95_mm, volume_error_ml, lesions_found, false_lesions; by
            default the first three, and the last two where lesions were counted.
        structures: Joined by commas; by default all.
        shared: Leave out cases and structures that were not scored alike in all of them.
        by: What to group cases by, joined by commas: columns of the store's catalog, or its targets, e.g.
            scanner,thickness,disease.
        store: The store of the cases, its folder or URL, for `by`.
        out: Folder to write: comparison.md, comparison.csv, comparison.json.
        seed: Of resampling and random flips.

    Returns:
        What comparison.json holds.

    Raises:
        MimError: If a run is not scored, or they were scored on different things.
    """
    _require_enough(more, by, store)
    called, files = find_files((run, *more), file)
    say(f"scores of {', '.join(files)}: {called}")
    asked = Asked(
        called=called,
        files=files,
        measures=measures,
        structures=structures,
        shared=shared,
        by=by,
        store=store,
        seed=seed,
    )
    found = compare_classes(asked) if _classify(files) else compare_structures(asked)
    for table in found.tables:
        print_table(table)
    for note in found.content["notes"]:
        say(note)
    if out is not None:
        write_whole(out / "comparison.md", _page(found))
        write_whole(out / "comparison.csv", found.csv)
        write_json(out / "comparison.json", found.content)
    return found.content


def _classify(files: dict[str, list[Path]]) -> bool:
    """Whether the runs classify; scores of both kinds cannot be compared.

    Raises:
        DataError: If some do and others segment.
    """
    kinds = {name: {is_classification(one) for one in side} for name, side in files.items()}
    if len(set().union(*kinds.values())) > 1:
        told = (f"{name} {'classifies' if True in kind else 'segments'}" for name, kind in kinds.items())
        raise DataError(f"{', '.join(told)}: scores of both cannot be compared; name runs of one kind")
    return any(True in kind for kind in kinds.values())


def _require_enough(more: Sequence[Path], by: str | None, store: Place | str | None) -> None:
    if not more and by is None:
        raise ConfigError(
            "one run alone cannot be compared; name another, or columns to group its cases by (--by)"
        )
    if (by is None) != (store is None):
        raise ConfigError("cases are grouped by columns (--by) of a store (--store); name both, or neither")


def _page(found: Outcome) -> str:
    notes = (f"- {note}" for note in found.content["notes"])
    return "\n".join([*map(in_markdown, found.tables), *notes]) + "\n"
