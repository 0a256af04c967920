"""The command that uses a trained model."""

from pathlib import Path

from mim3d.commands.places import Out, Run, Scans
from mim3d.config.prediction import Blend


def predict(  # noqa: PLR0913  one argument a setting
    run: Run,
    scans: Scans,
    out: Out,
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
) -> None:
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
    """
    from mim3d.recipes.predict import predict

    predict(
        run,
        scans,
        out,
        also=also,
        overlap=overlap,
        blend=blend,
        flips=flips,
        batch_size=batch_size,
        probabilities=probabilities,
        dicom_seg=dicom_seg,
        device=device,
        threads=threads,
        overwrite=overwrite,
    )
