"""`mim3d predict`: fine-tuned runs and scans in, label maps on the scans' own grids or classes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from mim3d.config.prediction import Blend
from mim3d.data.dicom_seg import require_highdicom
from mim3d.data.inputs import Inputs, find_inputs, read_names
from mim3d.data.nifti import is_nifti
from mim3d.errors import ConfigError, DataError
from mim3d.inference.classification import SUFFIX
from mim3d.inference.outputs import Outputs, stamp_of
from mim3d.inference.predictor import Predictor, load_predictor
from mim3d.inference.segment import Sweep
from mim3d.recipes.messages import say
from mim3d.recipes.predict_batch import Job, predict_all, predict_alone
from mim3d.train.allocator import keep_freed_memory
from mim3d.train.run_folder import is_unfinished


def predict(  # noqa: PLR0913  one argument a setting
    run: Path,
    scans: Path,
    out: Path,
    /,
    *,
    also: tuple[Path, ...] = (),
    overlap: float | None = None,
    blend: Blend = "gaussian",
    flips: bool = False,
    batch_size: int = 1,
    probabilities: Path | None = None,
    dicom_seg: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, dict[str, float]]:
    """Segment scans and write label maps on their own grids, or classify them, as the run has learnt it.

    Args:
        run: Run folder of a fine-tuned model, or a folder of runs on several folds: the mean of their
            probabilities.
        scans: NIfTI, NRRD or MetaImage file, or DICOM series (its folder, or a ZIP archive), any spacing and
            orientation; or many: a folder with scans at any depth, an archive with several series, or a CSV
            with a column `image`. Of a run on several channels: files with all of them, or joined by `;`.
        out: Of one scan the label map to write, .nii or .nii.gz, or a .json for the probabilities of a run
            that classifies; of many a folder. Names, colours and volumes go into a .json beside each label
            map, what became of all into summary.csv. What is done is left as it is.
        also: Further runs, whose probabilities are averaged with the first one's.
        overlap: Share of a window shared with its neighbour, 0 <= overlap < 1; by default the run's own.
        blend: What a window's voxels weigh where windows overlap: `gaussian`, or `constant`.
        flips: Mirror what the network sees too, along the axes that the run was mirrored along, and take the
            mean.
        batch_size: Windows that go through the network at once, on a CPU in each thread.
        probabilities: Folder for the probability of each structure, a NIfTI each; a folder for each of many.
        dicom_seg: Write a DICOM SEG beside each label map of a DICOM series.
        device: Where the network runs, e.g. `cpu` or `cuda:0`.
        threads: Of the CPU; by default as many as it has cores.
        overwrite: Replace what is there already and was made of another scan or otherwise.

    Returns:
        By name of the scan, the volume of each structure in ml, or the probability of each class.

    Raises:
        ScansFailed: If some scans of many could not be predicted; the others are.
        MimError: If a run, a single scan, the output or a setting cannot be used.
    """
    how = Sweep(blend=blend, batch_size=batch_size, device=device)
    _require_device(device)
    asked = _of_label_maps(how, overlap, seg=dicom_seg, probabilities=probabilities is not None)
    with _threads(threads):
        predictor = load_predictor(run, also, how, overlap=overlap, flips=flips, of_label_maps=asked)
        for one in (run, *also):
            if is_unfinished(one):
                say(f"warning: {one}: not finished; its best weights so far predict")
        if dicom_seg:
            require_highdicom()
        found = find_inputs(scans, len(predictor.modalities), read_names(out))
        jobs = _jobs(found, out, predictor, seg=dicom_seg, probabilities=probabilities)
        _require_free(jobs, overwrite=overwrite)
        if torch.device(device).type == "cpu":
            keep_freed_memory()
        if found.alone:
            return predict_alone(predictor, jobs[0])
        return predict_all(predictor, jobs, out, found.left_out)


def _of_label_maps(how: Sweep, overlap: float | None, *, seg: bool, probabilities: bool) -> list[str]:
    """Options given that have a meaning for label maps alone."""
    plain = Sweep()
    asked = {
        "--overlap": overlap is not None,
        "--blend": how.blend != plain.blend,
        "--batch-size": how.batch_size != plain.batch_size,
        "--probabilities": probabilities,
        "--dicom-seg": seg,
    }
    return [name for name, given in asked.items() if given]


def _jobs(
    found: Inputs, out: Path, predictor: Predictor, *, seg: bool, probabilities: Path | None
) -> list[Job]:
    """Each scan with the files that are to be written about it."""
    if found.alone:
        (scan,) = found.scans
        if seg and not scan.dicom:
            raise DataError(
                f"{scan.source.image.name}: no DICOM, and a SEG lies on the slices of a DICOM series; "
                "leave --dicom-seg out"
            )
        outputs = predictor.outputs(out, named=True, seg=seg, probabilities=probabilities)
        return [Job(scan, outputs, predictor.stamp(scan.source))]
    if out.is_file() or is_nifti(out) or out.suffix.lower() == SUFFIX:
        raise DataError(f"{out}: a folder is needed, {len(found.scans)} scans are to be predicted; name one")
    if seg and not any(scan.dicom for scan in found.scans):
        say("warning: none of the scans is a DICOM series, so no SEG is written")
    jobs = []
    for scan in found.scans:
        folder = None if probabilities is None else probabilities / scan.name
        wanted = seg and scan.dicom
        outputs = predictor.outputs(out / scan.name, named=False, seg=wanted, probabilities=folder)
        jobs.append(Job(scan, outputs, predictor.stamp(scan.source)))
    return jobs


def _require_free(jobs: list[Job], *, overwrite: bool) -> None:
    """Refuse to replace what was made otherwise.

    Raises:
        DataError: If something is there, and it was not asked for.
    """
    taken = [job for job in jobs if job.state == "foreign"]
    if taken and not overwrite:
        several = f", and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise DataError(
            f"{_first_there(taken[0].outputs)}{several}: there already, {_difference(taken[0])}; add "
            "--overwrite, or name another place"
        )


def _difference(job: Job) -> str:
    """How what is there was made otherwise."""
    before = stamp_of(job.outputs.names)
    if before is None or job.stamp is None:
        return "and it does not say what it was made with"
    other = [name for name in job.stamp if before.get(name) != job.stamp[name]]
    return f"made with other {', '.join(other)}" if other != ["scan"] else "made of another scan"


def _first_there(outputs: Outputs) -> Path:
    return next(path for path in (outputs.main, *outputs.every()) if path.exists())


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch has no error of its own for a missing device
        reason = str(error).split("\n")[0]
        raise ConfigError(f"device {device!r} cannot be used ({reason}); `cpu` always can") from error


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Compute on so many threads inside."""
    before = torch.get_num_threads()
    if number is not None and number < 1:
        raise ConfigError(f"threads must be at least 1, got {number}")
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
