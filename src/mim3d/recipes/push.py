"""`mim3d push`: the encoder of a run into a repository of a hub."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mim3d.downstream.hub import NAME, weights_folder
from mim3d.elsewhere.aside import written_aside
from mim3d.elsewhere.folder import write_folder
from mim3d.elsewhere.repository import upload
from mim3d.errors import ConfigError


def push(
    run: Path | str,
    repository: str,
    /,
    *,
    to_folder: Path | None = None,
    with_decoder: bool = False,
    public: bool = False,
) -> str:
    """Put the encoder of a run into a repository of a Hugging Face hub, with a model card.

    Args:
        run: Folder of a finished run.
        repository: `org/name`; made if it is not there.
        to_folder: Write what would be pushed into this folder, and push nothing.
        with_decoder: Include what is not the encoder's. A decoder may remember training patients.
        public: Make a new repository for everybody to see; by default it is private.

    Returns:
        Where it is: the commit's address, or the folder.

    Raises:
        MimError: If the run cannot be used, or the hub cannot be reached or refuses.
    """
    asked = NAME.fullmatch(repository)
    if asked is None or asked["revision"]:
        raise ConfigError(f"repository must be `org/name`, got {repository!r}")
    run = weights_folder(run)
    if to_folder is not None:
        with written_aside(to_folder) as folder:
            write_folder(run, folder, repository, with_decoder=with_decoder)
        return str(to_folder)
    with TemporaryDirectory() as name:
        write_folder(run, Path(name), repository, with_decoder=with_decoder)
        return upload(Path(name), repository, public=public)
