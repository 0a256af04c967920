"""Where the slices of a DICOM volume are, so that whoever reads it opens its files and no other."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Parts:
    """Files of the slices of one volume, in order along their normal."""

    folder: Path
    """Folder or ZIP archive that all of them lie in."""
    names: tuple[str, ...]
    """Path of the file of each slice, below the folder."""
    frames: tuple[int, ...] = ()
    """Number of each slice in its file, from 0, where files hold several; else none."""

    @property
    def paths(self) -> list[Path]:
        """The file of each slice."""
        return [self.folder / name for name in self.names]

    @property
    def files(self) -> list[Path]:
        """The files on disk, each once."""
        if self.folder.is_file():
            return [self.folder]
        return [self.folder / name for name in dict.fromkeys(self.names)]

    @property
    def ends(self) -> "Parts":
        """The first slice and the last."""
        return Parts(self.folder, self.names[:1] + self.names[-1:], self.frames[:1] + self.frames[-1:])

    def absolute(self) -> "Parts":
        """The same with paths that do not depend on where a process was started."""
        return replace(self, folder=self.folder.absolute())


def parts_at(paths: Sequence[Path], frames: Sequence[int | None], archive: Path | None) -> Parts:
    """Slices that lie in these files, each a whole one or a frame of it; `archive` if they lie in one."""
    folders = {path.parent for path in paths}
    folder = archive or Path(os.path.commonpath(folders))
    if folders == {folder}:
        names = tuple(path.name for path in paths)
    else:
        names = tuple(path.relative_to(folder).as_posix() for path in paths)
    return Parts(folder, names, tuple(frame for frame in frames if frame is not None))
