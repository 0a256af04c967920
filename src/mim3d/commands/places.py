"""What a command line calls the places that it names."""

from pathlib import Path
from typing import Annotated

import tyro

Raw = Annotated[Path, tyro.conf.arg(metavar="RAW")]
Folder = Annotated[Path, tyro.conf.arg(metavar="DIR")]
Store = Annotated[str, tyro.conf.arg(metavar="STORE")]
"""A path or a URL, which a Path would spoil."""
Other = Annotated[str | None, tyro.conf.arg(metavar="OTHER")]
Target = Annotated[str, tyro.conf.arg(metavar="TARGET")]
Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]
Released = Annotated[Path, tyro.conf.arg(metavar="RELEASED")]
Scans = Annotated[Path, tyro.conf.arg(metavar="SCANS")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]
Predicted = Annotated[Path, tyro.conf.arg(metavar="PREDICTED")]
Truth = Annotated[Path, tyro.conf.arg(metavar="TRUTH")]
