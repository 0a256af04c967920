"""`mim3d copy`: a store in, the same store in another place out."""

from mim3d.data.copying import Copied, copy_store
from mim3d.data.place import Place, place_of
from mim3d.errors import ConfigError
from mim3d.recipes.messages import say
from mim3d.recipes.progress import shown_progress


def copy(store: Place | str, target: Place | str, /, *, workers: int = 8) -> Copied:
    """Copy a store into an object store, from there, or into another folder; run again, what is missing.

    Args:
        store: A prepared store: its folder, or a URL, e.g. s3://bucket/store.
        target: Where it shall be: a URL or a folder, new or with an earlier copy of the same store.
        workers: Cases copied at a time.

    Returns:
        How many cases were copied, how many were there, and how many bytes that were.

    Raises:
        ConfigError: If `workers` is below 1.
        DamageError: If cases are not what was written; all others are copied.
        StoreError: If there is no store, or the target holds something else.
        UnreachableError: If either cannot be reached.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    source, target = place_of(store), place_of(target)
    with shown_progress("copy", "case") as on_case:
        found = copy_store(
            source, target, workers, lambda done, total, size: on_case(done, total, f", {size / 1e6:.1f} MB")
        )
    say(f"{target}: {found.cases} cases copied, {found.size / 1e6:.1f} MB; {found.kept} were there")
    return found
