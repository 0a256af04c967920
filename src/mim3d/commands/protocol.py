"""Commands that make a result one that can be believed."""

from pathlib import Path

import tyro

from mim3d.commands.places import Run


def compare(  # noqa: PLR0913  one argument a flag
    run: Run,
    /,
    *more: tyro.conf.Positional[Path],
    file: str | None = None,
    measures: str | None = None,
    structures: str | None = None,
    shared: bool = False,
    by: str | None = None,
    store: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
) -> None:
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
        by: Columns of the store's catalog to group cases by, joined by commas, e.g. scanner,thickness,phase.
        store: The store of the cases, for `--by`.
        out: Folder to write: comparison.md, comparison.csv, comparison.json.
        seed: Of resampling and random flips.
    """
    from mim3d.recipes.compare import compare

    compare(
        run,
        *more,
        file=file,
        measures=measures,
        structures=structures,
        shared=shared,
        by=by,
        store=store,
        out=out,
        seed=seed,
    )
