"""`mim3d phantom`: a cohort of random labelled CT-like patients."""

from pathlib import Path

from mim3d.data.limits import cores
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.geometry import Triple
from mim3d.recipes.messages import say
from mim3d.recipes.progress import shown_progress
from mim3d.reporting.text_table import counted


def phantom(  # noqa: PLR0913  one argument a flag of the command
    folder: Path,
    /,
    *,
    cases: int = 10,
    seed: int = 0,
    shape: Triple = (96, 96, 96),
    spacing: float = 3.0,
    lesions: bool = True,
    separate_kidneys: bool = False,
    workers: int | None = None,
) -> list[Path]:
    """Write random labelled CT-like patients in nnU-Net's folder layout, ready for `mim3d prepare`.

    A patient depends on its number and the options only, not on how many there are. Run again with the same
    options, it draws what is missing; with more cases, it adds them.

    Args:
        folder: Where to write; new, empty, or begun with the same options.
        cases: How many patients the folder shall hold.
        seed: Of everything that is random, 0 or more.
        shape: Voxels along X, Y and Z, at least 32 each; the torso fills them.
        spacing: Side of a voxel, mm.
        lesions: Draw lesions in liver, lung or kidney of three in four patients; else everybody is healthy.
        separate_kidneys: Label right and left kidney apart.
        workers: Processes that draw; by default one per core.

    Returns:
        The images, in the order of the patients' numbers.

    Raises:
        DataError: If a value cannot be, or the folder holds anything else than the beginning of this cohort.
    """
    options = PhantomOptions(
        seed=seed, shape=shape, spacing=spacing, lesions=lesions, separate_kidneys=separate_kidneys
    )
    num_workers = cores() if workers is None else workers
    with shown_progress("phantom", "patient") as on_patient:
        images = make_phantoms(folder, options, cases=cases, workers=num_workers, on_progress=on_patient)
    say(f"{folder}: {counted(len(images), 'labelled patient')}; next: mim3d prepare {folder} STORE")
    return images
