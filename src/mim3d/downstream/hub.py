"""Where weights are: a folder on this machine, or a repository of a Hugging Face hub, fetched once and kept.

Of a repository only JSON, text and safetensors are fetched, so nothing in it can be executed.
"""

import re
from pathlib import Path
from typing import Any

from mim3d.errors import CheckpointError
from mim3d.run_files import CONFIG, PREPROCESSING, WEIGHTS

FILES = (CONFIG, PREPROCESSING, WEIGHTS, "README.md")
"""What is fetched of a repository, and what is pushed to one."""
NEEDED = FILES[:3]
NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w.-][\w./-]*))?")
"""`org/name`, or `org/name@revision`: a branch, a tag or a commit."""


def weights_folder(place: Path | str) -> Path:
    """The folder of a run or of exported weights; `org/name` is fetched from the hub if there is none here.

    The hub's client keeps what it fetched, and goes on without network with what it has.

    Raises:
        CheckpointError: If `org/name` cannot be had: no client, no network, no such repository or revision,
            no permission, or files are missing in it.
    """
    folder = Path(place)
    asked = NAME.fullmatch(str(place))
    if folder.exists() or asked is None:
        return folder
    found = _fetched(asked["repository"], asked["revision"])
    if missing := [name for name in NEEDED if not (found / name).is_file()]:
        raise CheckpointError(
            f"{place}: the repository has no {', '.join(missing)}; it needs {', '.join(NEEDED)}, as "
            "`mim3d push` writes them"
        )
    return found


def name_of(folder: Path) -> str:
    """What weights are called in records: the folder's name, or `org/name@commit` of what was fetched."""
    if folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--"):
        repository = folder.parents[1].name.removeprefix("models--").replace("--", "/", 1)
        return f"{repository}@{folder.name}"
    return folder.name


def client(place: str) -> Any:
    """The hub's client.

    Raises:
        CheckpointError: If it is not installed.
    """
    try:
        import huggingface_hub.errors  # noqa: PLC0415  an optional dependency; `errors` does not come by itself
    except ImportError:
        raise CheckpointError(
            f"{place}: to reach a hub, huggingface_hub is needed, which is not installed: "
            "pip install 'mim3d[hub]'"
        ) from None
    return huggingface_hub


def _fetched(repository: str, revision: str | None) -> Path:
    hub = client(repository)
    errors, asked = hub.errors, repository + (f"@{revision}" if revision else "")
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except errors.GatedRepoError:
        wrong = "the repository asks for consent first; give it on its page, then `hf auth login`"
    except errors.RepositoryNotFoundError:
        wrong = "neither a folder here nor a repository that can be seen; mend the name, or `hf auth login`"
    except errors.RevisionNotFoundError:
        wrong = f"the repository has no revision {revision}; name a branch, a tag or a commit of it"
    except errors.LocalEntryNotFoundError:
        wrong = (
            "no folder here, the hub cannot be reached, and nothing of it is kept; mend the network or name"
        )
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        wrong = f"the hub refused: {str(error).splitlines()[0]}; try again later, or mend the name"
    raise CheckpointError(f"{asked}: {wrong}")
