"""A folder of weights into a repository of a Hugging Face hub."""

from pathlib import Path

from mim3d.downstream.hub import FILES, client
from mim3d.errors import CheckpointError


def upload(folder: Path, repository: str, *, public: bool) -> str:
    """Make the repository if there is none, and put the folder's files into it.

    Args:
        folder: As `write_folder` writes it.
        repository: `org/name`.
        public: Whether a new repository can be seen by everybody.

    Returns:
        The commit's address.

    Raises:
        CheckpointError: If there is no client, no network, or no permission.
    """
    hub = client(repository)
    try:
        api = hub.HfApi()
        api.create_repo(repository, private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message="Weights by mim3d",
        )
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        said = str(error).splitlines()[0]
        raise CheckpointError(
            f"{repository}: not pushed ({said}); mend the name or the network, or `hf auth login`"
        ) from error
    return str(done.commit_url)
