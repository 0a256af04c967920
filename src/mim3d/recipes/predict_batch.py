"""Scans predicted one after the other: what is done is skipped, what cannot be done is put on record."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mim3d.data.case_channels import notes_of, read_as
from mim3d.data.dicom_seg import cautions
from mim3d.data.inputs import Input, read_inputs, read_names, write_names
from mim3d.data.prepare_case import anonymous
from mim3d.data.volume import Volume
from mim3d.errors import DataError, MimError, ScansFailed
from mim3d.inference.outputs import Outputs, Stamp, State
from mim3d.inference.predictor import Predictor
from mim3d.inference.summary import SUMMARY, Result, write_summary
from mim3d.recipes.messages import say
from mim3d.recipes.progress import Progress, shown_progress

SECONDS_BETWEEN_SUMMARIES = 10.0
OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "not enough memory")
"""How PyTorch says so."""
AIR = -200.0
"""HU: air and lungs are below, and some are in nearly every CT."""
LEAST_ELSEWHERE = -500.0
"""Intensities below are those of a CT."""


@dataclass(frozen=True, slots=True)
class Job:
    """One scan, and what is to be written about it."""

    scan: Input
    outputs: Outputs
    stamp: Stamp | None
    """What the outputs follow from; None if the scan cannot be read."""

    @property
    def state(self) -> State:
        """Of the outputs. Those of a scan that cannot be read stay: reading it says what is wrong."""
        return "missing" if self.stamp is None else self.outputs.state(self.stamp)


def predict_alone(predictor: Predictor, job: Job) -> dict[str, dict[str, float]]:
    """The only scan; what is wrong with it is raised.

    Raises:
        DataError: If it cannot be used.
    """
    scan, outputs = job.scan, job.outputs
    if job.state == "done":
        say(f"{outputs.main}: done already, of the same scan, with the same weights and settings")
        return {scan.name: predictor.found(outputs)}
    with shown_progress() as on_windows:
        channels = read_as(scan.source, predictor.modalities)
        _say_read(scan.source.image.name, channels)
        try:
            volumes = _written(predictor, job, channels, on_windows)
        except DataError as error:
            raise DataError(f"{scan.source.image.name}: {error}") from error
    say(f"{outputs.main}: {_told(volumes, predictor.unit)}")
    return {scan.name: volumes}


def predict_all(
    predictor: Predictor, jobs: Sequence[Job], folder: Path, left_out: Sequence[str]
) -> dict[str, dict[str, float]]:
    """All scans, into a folder, with a summary.

    Raises:
        ScansFailed: If some could not be predicted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_names(folder, [job.scan for job in jobs], read_names(folder))
    done = {job.scan.name: job for job in jobs if job.state == "done"}
    results = [Result(name, predictor.found(job.outputs)) for name, job in done.items()]
    todo = {job.scan.name: job for job in jobs if job.scan.name not in done}
    _say_plan(len(todo), len(done), left_out)
    with shown_progress("predict", "scan") as progress:
        table = _Table(folder, predictor, results)
        if todo:
            for number, (scan, channels) in enumerate(
                read_inputs([job.scan for job in todo.values()], predictor.modalities)
            ):
                told = _within(progress, number, len(todo))
                table.add(_predicted(predictor, todo[scan.name], channels, told))
                progress(number + 1, len(todo))
    table.write()
    return _concluded(folder, results)


@dataclass(slots=True)
class _Table:
    """The summary as far as it goes."""

    folder: Path
    predictor: Predictor
    results: list[Result]
    written: float = 0.0

    def add(self, result: Result) -> None:
        """Say what became of a scan; now and then, write."""
        self.results.append(result)
        told = _told(result.found, self.predictor.unit)
        say(f"{result.name}: {f'failed: {result.reason}' if result.reason else told}")
        if time.monotonic() - self.written > SECONDS_BETWEEN_SUMMARIES:
            self.write()

    def write(self) -> None:
        """Write all there is."""
        write_summary(self.folder, self.results, self.predictor.columns, self.predictor.unit)
        self.written = time.monotonic()


def _predicted(
    predictor: Predictor, job: Job, channels: tuple[Volume, ...] | str, on_windows: Callable[[int, int], None]
) -> Result:
    """What became of a scan that was read, or could not be."""
    name = job.scan.name
    if isinstance(channels, str):
        return Result(name, reason=channels)
    _say_read(name, channels)
    try:
        return Result(name, _written(predictor, job, channels, on_windows))
    except MimError as error:
        return Result(name, reason=anonymous(str(error), job.scan.source))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        return Result(name, reason="needs more memory than there is")


def _written(
    predictor: Predictor, job: Job, channels: tuple[Volume, ...], on_windows: Callable[[int, int], None]
) -> dict[str, float]:
    """What was found in a scan that was read."""
    if job.stamp is None:
        raise DataError("its files could not be read at first, but now; leave them alone, and predict again")
    found = predictor(channels, job.scan.source, job.outputs, job.stamp, on_windows)
    for caution in cautions(job.outputs.seg) if job.outputs.seg is not None else ():
        say(f"warning: {job.outputs.seg}: {caution} (docs/prediction.md, DICOM SEG)")
    return found


def _say_read(name: str, channels: Sequence[Volume]) -> None:
    """Warn of what had to be decided to read a scan, and of intensities that its modality does not have."""
    notes = [said for said in (notes_of(channels),) if said]
    for volume in channels:
        least = float(volume.array.min())
        if volume.modality == "CT" and least > AIR:
            notes.append(f"no voxel is below {least:.0f}: no HU of a CT, it seems, and no good result then")
        if volume.modality != "CT" and least < LEAST_ELSEWHERE:
            notes.append(
                f"taken for {volume.modality}, but voxels go down to {least:.0f}, as those of a CT do"
            )
    for note in notes:
        say(f"warning: {name}: {note}")


def _within(progress: Progress, number: int, total: int) -> Callable[[int, int], None]:
    """Progress of one scan as that of all."""
    return lambda done, windows: progress(number, total, f", window {done}/{windows}", done / windows)


def _say_plan(todo: int, done: int, left_out: Sequence[str]) -> None:
    kinds = ", ".join(f"{number} x {what}" for what, number in sorted(Counter(left_out).items()))
    left = f"; left out, as no scans: {kinds}" if left_out else ""
    say(f"scans to predict: {todo}, done already: {done}{left}")


def _concluded(folder: Path, results: Sequence[Result]) -> dict[str, dict[str, float]]:
    failed = [one for one in results if one.reason]
    say(f"{folder}: predicted {len(results) - len(failed)}, failed {len(failed)}; {SUMMARY} says more")
    if failed:
        raise ScansFailed(
            f"{folder}: {len(failed)} of {len(results)} scans could not be predicted, the first "
            f"{failed[0].name}: {failed[0].reason}"
        )
    return {one.name: dict(one.found) for one in results}


def _told(found: Mapping[str, float], unit: str) -> str:
    shown = (f"{name} {value:.1f} {unit}" if unit else f"{name} {value:.3f}" for name, value in found.items())
    return ", ".join(shown)
