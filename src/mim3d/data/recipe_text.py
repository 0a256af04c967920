"""Recipes as text: all in a table, or one in full with what to do to get the data set."""

from collections.abc import Iterator, Sequence

from mim3d.data.arrangement import arrangements
from mim3d.data.recipe import Layout, Part, Recipe, Splits, Structures
from mim3d.geometry import Triple
from mim3d.presets import released_base

UNVERIFIED = "(not verified)"
HEADINGS = ("name", "scans", "labels", "task", "modality", "for", "licence")


def listing(recipes: Sequence[Recipe]) -> str:
    """A table of data sets as text, a line each."""
    rows = [HEADINGS, *(_row(recipe) for recipe in recipes)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    ending = "`mim3d datasets NAME` tells all about one and how to get it. ?: not looked up, or not known."
    return "\n".join([*lines, "", ending])


def _row(recipe: Recipe) -> tuple[str, ...]:
    mark = "" if recipe.layouts[0].verified else "?"
    return (
        recipe.name,
        "?" if recipe.num_scans is None else f"{recipe.num_scans}{mark}",
        _labels(recipe),
        recipe.task,
        recipe.modality,
        ", ".join(recipe.stages),
        recipe.licence.text.split(";")[0] + ("" if recipe.licence.verified else "?"),
    )


def _labels(recipe: Recipe) -> str:
    if recipe.labels is not None:
        count = len(recipe.labels.structures)
        return f"{count} structure{'s' if count > 1 else ''}"
    return f"{len(recipe.classes)} classes" if recipe.classes else "none"


def page(recipe: Recipe) -> str:
    """Everything that is known of a data set, as text."""
    return "\n".join([f"{recipe.name}: {recipe.title}", *_about(recipe), *_how_to_get(recipe)])


def _about(recipe: Recipe) -> Iterator[str]:
    channels = f", channels {', '.join(recipe.channels)}" if recipe.channels else ""
    yield f"  what         {recipe.modality} of {recipe.body}, {recipe.task}{channels}"
    yield f"  used for     {', '.join(recipe.stages)}; {_counts(recipe)}"
    yield f"  licence      {recipe.licence.text}{_proof(recipe.licence.verified, recipe.licence.source)}"
    yield from _settings(recipe)
    yield from _structures(recipe)
    if recipe.splits is not None:
        yield from _splits(recipe.splits)
    yield from (f"  overlaps     {line}" for line in recipe.overlaps)
    yield from (f"  note         {line}" for line in recipe.notes)


def _counts(recipe: Recipe) -> str:
    lists = {"pre-training": recipe.scans.pretraining, "downstream": recipe.scans.downstream}
    listed = ", ".join(f"{count} for {stage}" for stage, count in lists.items() if count is not None)
    given = "an unknown number of" if recipe.num_scans is None else str(recipe.num_scans)
    return f"{given} scans to prepare; {recipe.scans.source}: {listed}"


def _settings(recipe: Recipe) -> Iterator[str]:
    if recipe.spacing is not None:
        yield f"  spacing      {' x '.join(f'{side:g}' for side in recipe.spacing)} mm"
    window = "" if recipe.window is None else f" {recipe.window[0]:g} to {recipe.window[1]:g} HU"
    if recipe.window is not None or recipe.scaling != "window":
        yield f"  intensity    {recipe.scaling}{window}"
    if recipe.crop is not None:
        yield f"  crop         {' x '.join(map(str, recipe.crop))} voxels"
    if recipe.augmentation:
        odds = ", ".join(f"{name} {odd:g}" for name, odd in recipe.augmentation.items())
        yield f"  augmentation probabilities in the paper's release: {odds}"


def _structures(recipe: Recipe) -> Iterator[str]:
    labels = recipe.labels
    if labels is not None:
        named = ", ".join(f"{value} {name}" for name, value in labels.structures.items())
        yield f"  labels       set {labels.set}: {named}{_proof(labels.verified, labels.source)}"
    if recipe.classes:
        yield f"  classes      {', '.join(recipe.classes)}"


def _splits(splits: Splits) -> Iterator[str]:
    if splits.table is not None:
        yield f"  splits       as {splits.table.file} states them, column {splits.table.split}"
    else:
        sealed = ", ".join(splits.test_cases) or f"{splits.test} patients"
        test = f"sealed test: {sealed}" if splits.test or splits.test_cases else "test: as the layout says"
        yield f"  splits       seed {splits.seed}; {test}; {', '.join(arrangements(splits))}"
    if splits.note:
        yield f"               {splits.note}"


def _how_to_get(recipe: Recipe) -> Iterator[str]:
    archive = recipe.archive
    yield f"how to get it: {archive.place}{_proof(archive.verified, archive.source)}"
    yield f"  {archive.address}"
    yield from (f"  {number}. {step}" for number, step in enumerate(archive.steps, start=1))
    yield from (line for layout in recipe.layouts for line in _layout(layout))
    yield f"then: mim3d prepare --recipe {recipe.name} RAW STORE"
    if recipe.labels is not None and recipe.window is not None and recipe.crop is not None:
        yield f"  and: {_finetune(recipe.labels, recipe.window, recipe.crop)}"
        if recipe.augmentation:
            released = _released(recipe.augmentation)
            yield f"  by the release's recipe, as far as it is known (docs/finetuning.md): add {released}"
    if recipe.classes and recipe.crop is not None:
        yield f"  and: {_classify(recipe, recipe.crop)}"


def _finetune(labels: Structures, window: tuple[float, float], crop: Triple) -> str:
    """The command that fine-tunes with the recipe's structures, window and crop."""
    return (
        f"mim3d finetune segmentation STORE RUN --init MIM --labels {labels.set} --structures "
        f"{','.join(labels.structures)} --crop {','.join(map(str, crop))} --window.low {window[0]:g} "
        f"--window.high {window[1]:g}"
    )


def _released(augmentation: dict[str, float]) -> str:
    """Flags of the release's recipe, with the chances of the data set where they are not the preset's."""
    usual = released_base().augmentation
    chances = {name: augmentation.get(name, 0.0) for name in ("flip", "rotate", "affine", "shift", "noise")}
    other = [f"--augmentation.{name} {odd:g}" for name, odd in chances.items() if odd != getattr(usual, name)]
    return " ".join(["--preset released-base", *other])


def _classify(recipe: Recipe, crop: Triple) -> str:
    """The command that fine-tunes with the recipe's classes and crop."""
    parts = (part for layout in recipe.layouts for part in layout.parts)
    targets = dict.fromkeys(target for part in parts for target in part.targets)
    intensity = " --intensity min_max" if recipe.scaling == "min-max" else ""
    return (
        f"mim3d finetune classification STORE RUN --init MIM --target {','.join(targets)} --classes "
        f"{','.join(recipe.classes)} --crop {','.join(map(str, crop))}{intensity}"
    )


def _layout(layout: Layout) -> Iterator[str]:
    roots = f", or its folder {' or '.join(layout.roots)}," if layout.roots else ""
    yield f"what RAW{roots} must hold ({layout.name}){_proof(layout.verified, layout.source)}:"
    yield from (f"  {_part(part)}" for part in layout.parts)
    if layout.not_prepared is not None:
        yield f"  not prepared: {layout.not_prepared}"


def _part(part: Part) -> str:
    counts = [f"{part.scans} scans"] if part.scans is not None else []
    counts += [f"{part.patients} patients"] if part.patients is not None else []
    labels = f" with {part.labels}" if part.labels else ""
    only = f", only those like {part.only}" if part.only else ""
    left = "" if part.prepared else ", left alone"
    classes = "".join(f", {target} {found}" for target, found in part.targets.items())
    return f"{part.images}{labels}{classes}: {' of '.join(counts) or 'number not known'}{only}{left}"


def _proof(verified: bool, source: str) -> str:
    return f" [{source}]" if verified else f" {UNVERIFIED}"
