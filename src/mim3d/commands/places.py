"""What a command line calls the places that it names."""

from pathlib import Path
from typing import Annotated

import tyro

Raw = Annotated[Path, tyro.conf.arg(metavar="RAW")]
Folder = Annotated[Path, tyro.conf.arg(metavar="DIR")]
Store = Annotated[Path, tyro.conf.arg(metavar="STORE")]
Other = Annotated[Path | None, tyro.conf.arg(metavar="OTHER")]
Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]
Released = Annotated[Path, tyro.conf.arg(metavar="RELEASED")]
Scans = Annotated[Path, tyro.conf.arg(metavar="SCANS")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]
Predicted = Annotated[Path, tyro.conf.arg(metavar="PREDICTED")]
Truth = Annotated[Path, tyro.conf.arg(metavar="TRUTH")]
