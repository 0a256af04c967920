"""Run folders to one HTML page."""

from pathlib import Path

from tyro.conf import Positional

from mim3d.errors import ConfigError
from mim3d.reporting.page import render
from mim3d.reporting.run import read_run
from mim3d.reporting.template import write_whole


def report(run: Path, /, *more: Positional[Path], out: Path | None = None, note: str | None = None) -> Path:
    """Write one self-contained HTML page about a run, or about several side by side.

    Args:
        run: Run folder of `pretrain` or `finetune`, or a folder of `crossval`.
        more: Further ones to show on the same page; fine-tuned ones are compared.
        out: HTML file to write; `report.html` in the first run folder if not given.
        note: Plain text shown on top, e.g. what the data can and cannot show; blank lines part paragraphs.

    Returns:
        The page written.

    Raises:
        CheckpointError: If a folder is no run folder, or a file in one cannot be read.
        ConfigError: If `out` is a folder.
    """
    target = run / "report.html" if out is None else out
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder, but out must be a file; try {target / 'report.html'}")
    page = render(tuple(read_run(folder) for folder in (run, *more)), note)
    write_whole(target, page)
    return target
